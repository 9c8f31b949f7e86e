"""Compares a printed figure with what its inputs allow, and names the difference."""

import math
from dataclasses import dataclass

from harness.analysis.audit.figures import Figure
from harness.analysis.audit.findings import CheckName, Finding, Verdict
from harness.analysis.audit.intervals import Interval

SLIPS = (1000.0, 100.0, 10.0)
"""Milliseconds for seconds, per cent for fractions, a digit too many;"""
NEAR = 0.01
"""so near, since what slipped was rounded before or after."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One judgement: a finding, or none, and then perhaps a remark on how it passed."""

    check: CheckName
    finding: Finding | None = None
    remark: str = ""


def compare(figure: Figure, allowed: Interval, check: CheckName, inputs: str) -> Judged:
    """Judge a figure against the interval that its inputs allow, which `inputs` spells out.

    Outside by no more than one unit of its last digit, or only because of zeros filled in, it was rounded otherwise.
    """
    gap = figure.interval.gap(allowed)
    if gap == 0:
        return Judged(check)
    if gap <= figure.printed.quantum * figure.scale * (1 + 1e-6):
        return judged(figure, allowed, check, "rounding", f"{inputs}; within one more unit of the last digit printed")
    if figure.printed.loose.scaled(figure.scale).gap(allowed) == 0:
        return judged(figure, allowed, check, "rounding", f"{inputs}; its last zeros are filled in")
    return beside(figure, allowed, check, "error", inputs)


def beside(figure: Figure, allowed: Interval, check: CheckName, verdict: Verdict, inputs: str) -> Judged:
    """Judge a figure against an interval that holds a tolerance already, so that no rounding explains it.

    At a power of ten from where it should be, its unit slipped; else `verdict` is said.
    """
    if figure.interval.gap(allowed) == 0:
        return Judged(check)
    factor = slipped(figure.interval, allowed)
    if factor is not None:
        return judged(figure, allowed, "unit", "error", f"{inputs}; off by a factor of {factor:g}")
    return judged(figure, allowed, check, verdict, inputs)


def slipped(printed: Interval, allowed: Interval) -> float | None:
    """The power of ten by which a figure is too large (or too small, below 1), if that explains it."""
    for factor in SLIPS:
        for each in (factor, 1 / factor):
            if printed.scaled(1 / each).stretched(1 - NEAR, 1 + NEAR).gap(allowed) == 0:
                return each
    return None


def judged(figure: Figure, allowed: Interval | None, check: CheckName, verdict: Verdict, detail: str) -> Judged:
    """A finding about a figure; `allowed` is in seconds, fractions or its own unit."""
    own = None if allowed is None else allowed.scaled(1 / figure.scale)
    finding = Finding(
        file=figure.file,
        table=figure.table,
        row=figure.row,
        column=figure.column,
        line=figure.line,
        check=check,
        verdict=verdict,
        printed=figure.text,
        recomputed=own and finite(own.value),
        low=own and finite(own.low),
        high=own and finite(own.high),
        unit=figure.unit,
        detail=detail,
    )
    return Judged(check, finding)


def finite(value: float | None) -> float | None:
    """A bound, or None where there is none."""
    return value if value is not None and math.isfinite(value) else None


def cited(figure: Figure) -> str:
    """A figure as an input: 145 (TF32, line 549)."""
    line = "" if figure.line is None else f", line {figure.line}"
    return f"{figure.text} ({figure.column}{line})"
