"""What samples say about stretches of time."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import inf

from harness.schema.telemetry import Extent

Span = tuple[int, int]
"""Start and end, in nanoseconds on CLOCK_MONOTONIC."""


def union(spans: Iterable[Span], gap_ns: int = 0) -> list[Span]:
    """The same time as spans that are in order and do not touch, what lies closer than `gap_ns` as one."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if end <= start:
            continue
        if merged and start <= merged[-1][1] + gap_ns:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def covers(spans: Sequence[Span], moment: float) -> bool:
    """Whether a moment lies in one of spans, as `union` gives them; their ends are theirs."""
    place = bisect_right(spans, (moment, inf)) - 1
    return place >= 0 and moment <= spans[place][1]


def length(spans: Iterable[Span]) -> int:
    """Nanoseconds that spans which do not overlap take together."""
    return sum(end - start for start, end in spans)


def extent(
    times: Sequence[int], values: Sequence[float | None], spans: Sequence[Span], scale: float = 1
) -> Extent | None:
    """Mean, lowest and highest of the samples inside spans; None where none is.

    Each sample stands for the time that is nearer to it than to another one of the same span.

    Args:
        times: in order.
        values: one for each time, None where unknown.
        spans: as `union` gives them.
        scale: what the values are multiplied by.
    """
    known = [(time, value * scale) for time, value in zip(times, values, strict=True) if value is not None]
    moments = [time for time, _ in known]
    weights, inside = [], []
    for start, end in spans:
        found = known[bisect_left(moments, start) : bisect_right(moments, end)]
        edges = [start, *((one + two) / 2 for (one, _), (two, _) in pairwise(found)), end]
        weights += [until - since for since, until in pairwise(edges)] if found else []
        inside += [value for _, value in found]
    if not inside:
        return None
    low, high = min(inside), max(inside)
    mean = sum(weight * value for weight, value in zip(weights, inside, strict=True)) / sum(weights)
    return Extent(mean=min(max(mean, low), high), low=low, high=high, samples=len(inside))


def longest_gap(times: Sequence[int], spans: Sequence[Span]) -> int:
    """The longest time inside one span without a sample."""
    longest = 0
    for start, end in spans:
        moments = [start, *times[bisect_left(times, start) : bisect_right(times, end)], end]
        longest = max(longest, *(two - one for one, two in pairwise(moments)))
    return longest


def growth(times: Sequence[int], counts: Sequence[float | None], spans: Sequence[Span]) -> float | None:
    """How much a count that only grows grew inside spans, taken as even between two samples.

    None where it is unknown at an end, or where it went back: whatever it went back to, what it had counted is lost.
    """
    known = [(time, count) for time, count in zip(times, counts, strict=True) if count is not None]
    moments = [time for time, _ in known]
    total = 0.0
    for start, end in spans:
        first, last = bisect_right(moments, start) - 1, bisect_left(moments, end)
        if first < 0 or last >= len(known):
            return None
        used = known[first : last + 1]
        if any(two < one for (_, one), (_, two) in pairwise(used)):
            return None
        total += between(used[-2:], end) - between(used[:2], start)
    return total if spans else None


def between(pair: Sequence[tuple[int, float]], moment: int) -> float:
    """The count at a moment between two samples, or at the only one."""
    (since, low), (until, high) = pair[0], pair[-1]
    return low if until == since else low + (high - low) * (moment - since) / (until - since)
