"""Percentiles and averages of one latency: what cannot be, and what would take an odd distribution."""

import re
from collections.abc import Iterator, Sequence

from harness.analysis.audit.figures import LATENCY, Figure
from harness.analysis.audit.intervals import Interval, divided
from harness.analysis.audit.judging import Judged, cited, judged
from harness.analysis.audit.ledger import Ledger

_PERCENTILE = re.compile(r"p(\d+(?:\.\d+)?)")
_TRIMMED = re.compile(r"trimmed_mean_(\d+)")
HIGH = 0.9
"""An average above this percentile or a higher one is worth a question,"""
SLOW = 2.0
"""if the samples beyond the last percentile would have to be so many times slower than it."""


def check_orders(ledger: Ledger) -> Iterator[Judged]:
    """Percentiles rise with their number, trimmed means with what they keep, and the average ends the latter."""
    for row in ledger.rows():
        latencies = [figure for figure in row if figure.measure == LATENCY]
        percentiles = ranked(latencies, _PERCENTILE)
        trimmed = ranked(latencies, _TRIMMED)
        average = [figure for figure in latencies if figure.statistic == "avg"]
        yield from rising([figure for _, figure in percentiles])
        if trimmed:
            yield from rising([*(figure for _, figure in trimmed), *average[:1]])
        if percentiles and average:
            yield judge_average(average[0], percentiles)


def ranked(figures: Sequence[Figure], pattern: re.Pattern[str]) -> list[tuple[float, Figure]]:
    """The figures of one kind of statistic with their share of the samples, least first."""
    found = [(pattern.fullmatch(figure.statistic), figure) for figure in figures]
    kept = [(float(match[1]) / 100, figure) for match, figure in found if match]
    return sorted(kept, key=lambda each: each[0])


def rising(figures: Sequence[Figure]) -> Iterator[Judged]:
    """Each at least the one before; where not, the figure that contradicts most others is at fault, else the later."""
    left = list(figures)
    for _ in figures[1:]:
        against = wrong(left)
        if not against:
            yield Judged("order")
            continue
        worst = max(range(len(left)), key=lambda index: (len(against.get(index, ())), index))
        others = [left[index] for index in against[worst]]
        below = [other for other in others if left.index(other) < worst]
        low = max((other.interval.low for other in below), default=0.0)
        high = min((other.interval.high for other in others if other not in below), default=float("inf"))
        detail = "out of order with " + ", ".join(cited(other) for other in others)
        yield judged(left[worst], Interval(low, high), "order", "error", detail)
        del left[worst]


def wrong(figures: Sequence[Figure]) -> dict[int, list[int]]:
    """For each figure the others that it stands on the wrong side of, whatever the rounding."""
    found: dict[int, list[int]] = {}
    for first in range(len(figures)):
        for second in range(first + 1, len(figures)):
            lower, upper = figures[first].interval, figures[second].interval
            if lower.low > upper.high and lower.gap(upper) > 0:
                found.setdefault(first, []).append(second)
                found.setdefault(second, []).append(first)
    return found


def judge_average(average: Figure, percentiles: Sequence[tuple[float, Figure]]) -> Judged:
    """An average against percentiles of the same samples, none of which is negative.

    It is at least (1 - p) times the p-th percentile (Markov). Above a high percentile it takes a tail so slow
    that the few samples beyond the last percentile raise the whole: the finding says how slow.
    """
    least = max((1 - share) * figure.interval.low for share, figure in percentiles)
    if average.interval.high < least:
        detail = f"below what {cited(percentiles[-1][1])} alone adds to an average"
        return judged(average, Interval(least, float("inf")), "average", "error", detail)
    exceeded = [(share, figure) for share, figure in percentiles if share >= HIGH and above(average, figure)]
    share, last = percentiles[-1]
    times = divided(slowest(average, percentiles), last.interval.low)
    if not exceeded or times < SLOW:
        return Judged("average")
    pace = f"would have to average {times:.1f} times the {100 * share:g} % percentile"
    detail = f"above {cited(exceeded[-1][1])}: the slowest {100 * (1 - share):.3g} % {pace}"
    return judged(average, Interval(least, exceeded[-1][1].interval.high), "average", "implausible", detail)


def above(average: Figure, percentile: Figure) -> bool:
    """Whether it is larger, whatever the rounding."""
    return average.interval.low > percentile.interval.high


def slowest(average: Figure, percentiles: Sequence[tuple[float, Figure]]) -> float:
    """The least mean that samples beyond the last percentile can have, in seconds."""
    before, most = 0.0, 0.0
    for share, figure in percentiles:
        most += (share - before) * figure.interval.high
        before = share
    return (average.interval.low - most) / (1 - before) if before < 1 else float("inf")
