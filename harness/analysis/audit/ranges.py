"""Values that their unit does not allow."""

from collections.abc import Iterator
from statistics import median

from harness.analysis.audit.figures import ACCURACY, Figure, Unit
from harness.analysis.audit.intervals import Interval
from harness.analysis.audit.judging import Judged, judged
from harness.analysis.audit.ledger import Ledger

ENDS: dict[Unit, Interval] = {"fraction": Interval(0.0, 1.0), "percent": Interval(0.0, 1.0)}
ANYTHING = Interval(0.0, float("inf"))
NEAR = 1.25
"""A fraction among per cent is one if a hundred of it is so near to the median of its column."""


def check_ranges(ledger: Ledger) -> Iterator[Judged]:
    """Nothing measured is negative, a rate or a time is not zero, an accuracy lies between 0 and 1."""
    for figure in ledger.figures:
        yield judge_range(figure)
        if figure.stored is not None:
            yield judge_transcript(figure, figure.stored)
    yield from mixed_units(ledger)


def judge_range(figure: Figure) -> Judged:
    """One figure against the ends of its unit; efficiencies beyond 1 are for scaling above linear to judge."""
    bounded = figure.measure.startswith(ACCURACY) or figure.measure == "share"
    ends = ENDS.get(figure.unit, ANYTHING) if bounded else ANYTHING
    value = figure.printed.value * figure.scale
    if ends.low <= value <= ends.high and (value > 0 or may_be_zero(figure)):
        return Judged("range")
    if figure.unit == "fraction" and 2 < value <= 100:
        return judged(figure, ends, "unit", "error", "a fraction is at most 1; this looks like per cent")
    what = "cannot be negative" if value < 0 else "cannot be zero" if value == 0 else f"is at most {ends.high:g}"
    return judged(figure, ends, "range", "error", f"{figure.measure} {what}")


def may_be_zero(figure: Figure) -> bool:
    """Whether nothing at all is a value: of an accuracy, a deviation, a share, and of what was rounded to 0."""
    return figure.measure.startswith(ACCURACY) or figure.measure == "share" or figure.interval.high > 0


def judge_transcript(figure: Figure, stored: float) -> Judged:
    """The value that a record holds against the text that it says was printed."""
    if abs(stored - figure.printed.value) <= 1e-9 * abs(figure.printed.value):
        return Judged("transcript")
    value = Interval(figure.printed.value, figure.printed.value).scaled(figure.scale)
    return judged(figure, value, "transcript", "error", f"the record holds {stored:g} beside this text")


def mixed_units(ledger: Ledger) -> Iterator[Judged]:
    """A fraction in a column of per cent."""
    columns: dict[tuple[str, str], list[Figure]] = {}
    for figure in ledger.figures:
        if figure.unit == "percent" and figure.measure.startswith(ACCURACY) and figure.statistic != "std":
            columns.setdefault((figure.table, figure.measure), []).append(figure)
    for column in columns.values():
        middle = median(figure.printed.value for figure in column)
        for figure in column:
            value = 100 * figure.printed.value
            if figure.printed.value <= 1 and middle / NEAR <= value <= middle * NEAR:
                yield judged(figure, None, "unit", "error", "a fraction among per cent")
