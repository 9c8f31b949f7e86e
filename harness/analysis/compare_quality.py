"""AP of two groups of processes: a difference of means, its interval by Welch, a verdict."""

from collections.abc import Sequence
from math import isfinite, sqrt
from statistics import NormalDist, fmean, variance
from typing import Literal, NamedTuple, get_args

from harness.analysis.compare_rows import QualityRow, QualityVerdict
from harness.analysis.compare_speed import BOTH_SIDES, Terms, as_far, in_percent, processes_needed
from harness.analysis.metrics import ap, last_accuracy, spread
from harness.schema.result import TrialResult
from harness.statistics.comparing import MAX_CHANCE
from harness.statistics.student import t_cdf, t_quantile

Kind = Literal["bbox", "segm"]
Results = Sequence[TrialResult]
Sides = tuple[list[float], list[float]]
NORMAL = NormalDist()
LEAST_SEEDS = 5
"""Runs a side that MLPerf's training rules ask of detection; two are the least that have a spread."""


class Welch(NamedTuple):
    """A difference of means: its interval, and in how many comparisons of equal ones it would be as large."""

    low: float
    high: float
    chance: float


class Judged(NamedTuple):
    """A verdict, why there is none, and how many processes a side would tell."""

    verdict: QualityVerdict
    reason: str | None = None
    needed: int | None = None


def quality_rows(base: Results, other: Results, terms: Terms) -> tuple[QualityRow, ...]:
    """Each kind of AP that both sides have."""
    rows = (quality_row(kind, base, other, terms) for kind in get_args(Kind))
    return tuple(row for row in rows if row is not None)


def quality_row(kind: Kind, base: Results, other: Results, terms: Terms) -> QualityRow | None:
    """Judge one kind; None where a side has none."""
    sides = aps(base, kind), aps(other, kind)
    spreads = spread(sides[0]), spread(sides[1])
    if spreads[0] is None or spreads[1] is None:
        return None
    found = welch(*sides, terms.confidence)
    steps = scored_after(base), scored_after(other)
    difference = spreads[1].mean - spreads[0].mean
    tested = steps[0] == steps[1] and not without_chance(base, other, sides)
    if steps[0] != steps[1]:
        judged = Judged("inconclusive", f"scored after {steps[0]} steps against {steps[1]}")
    else:
        judged = judge(sides, found if tested else Welch(difference, difference, 0.0), terms)
    return QualityRow(
        kind=kind,
        base=spreads[0],
        other=spreads[1],
        difference=difference,
        low=found and found.low,
        high=found and found.high,
        chance=found and found.chance if tested else None,
        verdict=judged.verdict,
        decides=steps[0] == steps[1],
        reason=judged.reason,
        needed=judged.needed,
    )


def aps(results: Results, kind: str) -> list[float]:
    """AP of the last scoring of each process that has one."""
    found = [ap(last_accuracy(result), kind) for result in results]
    return [value for value in found if value is not None and isfinite(value)]


def scored_after(results: Results) -> str:
    """After how many training steps the last scorings were."""
    scorings = [scored for result in results if (scored := last_accuracy(result))]
    found = {scored.after_steps for scored in scorings if scored.after_steps is not None}
    return ", ".join(map(str, sorted(found))) or "no"


def without_chance(base: Results, other: Results, sides: Sides) -> bool:
    """Whether another run would give the same: equal weights evaluated, always to one value on a side."""
    digests = {tuple(sorted(result.weights_read.items())) for result in (*base, *other)}
    evaluated = all(result.trial.phase == "eval" for result in (*base, *other))
    return evaluated and len(digests) == 1 and digests != {()} and all(len(set(side)) == 1 for side in sides)


def welch(base: Sequence[float], other: Sequence[float], confidence: float) -> Welch | None:
    """The difference of means, unequal variances allowed; None where a side has one value alone.

    Welch, 1947; degrees of freedom by Satterthwaite, rounded down.
    """
    if min(len(base), len(other)) < 2:
        return None
    difference = fmean(other) - fmean(base)
    parts = [variance(side) / len(side) for side in (base, other)]
    error = sqrt(sum(parts))
    if not error:
        return Welch(difference, difference, 0.0 if difference else 1.0)
    shares = [part**2 / (len(side) - 1) for part, side in zip(parts, (base, other), strict=True)]
    freedom = int(sum(parts) ** 2 / sum(shares)) if sum(shares) else min(len(base), len(other)) - 1
    half = t_quantile((1 + confidence) / 2, max(1, freedom)) * error
    chance = max(0.0, 2 * t_cdf(-abs(difference) / error, max(1, freedom)))
    return Welch(difference - half, difference + half, chance)


def judge(sides: Sides, found: Welch | None, terms: Terms) -> Judged:
    """Better or worse where the interval lies wholly outside the tolerance and chance is rare, same where inside."""
    if sorted(sides[0]) == sorted(sides[1]):
        return Judged("same")
    if found is None:
        return Judged("inconclusive", "one value on a side: how far another run would lie is unknown", LEAST_SEEDS)
    low, high, chance = found
    if -terms.ap_tolerance <= low and high <= terms.ap_tolerance:
        return Judged("same")
    fewer, half = min(map(len, sides)), (high - low) / 2
    if low <= terms.ap_tolerance and high >= -terms.ap_tolerance:
        gap = abs(abs(low + high) / 2 - terms.ap_tolerance)
        return Judged("inconclusive", BOTH_SIDES, processes_needed(fewer, half, gap))
    if chance > MAX_CHANCE:
        rarer = half * widening(MAX_CHANCE, terms.confidence)
        needed = processes_needed(fewer, rarer, abs(low + high) / 2)
        return Judged("inconclusive", f"{as_far(chance)}, and at most {in_percent(MAX_CHANCE)} counts", needed)
    return Judged("better" if low > 0 else "worse")


def widening(chance: float, confidence: float) -> float:
    """By how much an interval of many processes is wider where it leaves out so much instead of 1 - confidence."""
    return NORMAL.inv_cdf(1 - chance / 2) / NORMAL.inv_cdf((1 + confidence) / 2)
