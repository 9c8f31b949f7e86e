"""Energy over windows from a counter that steps now and then and is read now and then.

A step is seen at the first reading that shows it; it came between the reading before and that one, and at most a tick
before that one. Its moment is taken as the middle of that time, and half of the time is what it may be off. In each
stretch of the windows the energy is what the counter grew between a step just after its start and one just before its
end, and at the two ends, where it says nothing finer, the power of the second beside them. Of the outermost three
steps on a side the first one counts whose moment is known well: a busy machine reads late now and then. What lies
outside a stretch is never used: load begins and ends there.

Yang, Adamek and Armour (arXiv 2312.02741) found that sensors of data-centre GPUs see about a quarter of the time; no
arithmetic on the counter recovers what the sensor did not see, see docs/telemetry.md.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.measure.telemetry.spans import Span, length, union
from harness.schema.telemetry import Energy
from harness.units import NS_PER_S

GPU_TICK_NS = 100_000_000
"""NVML's counter steps about every 100 ms."""
RAPL_TICK_NS = 1_000_000
SHORTEST_TICKS = 50
FEWEST_READINGS = 10
LARGEST_UNCERTAINTY = 0.01
SMALLEST_COVER = 0.9
"""Of a stretch, between the first step of the counter in it and the last."""
BESIDE_NS = 1_000_000_000
"""The power at an end of a stretch is the mean over this time beside it."""
OUTERMOST = 3
"""Steps at either end of a stretch of which the one with the best known moment counts."""
WELL_NS = 20_000_000
"""A moment that is known better than by this is as good as any."""


@dataclass(frozen=True)
class Step:
    """The counter took this value about then."""

    moment: float
    off: float
    """It may have been so many nanoseconds earlier or later."""
    value: float


@dataclass(frozen=True)
class Stretch:
    """Energy of one stretch, in the counter's unit."""

    energy: float
    off: float
    """By which the moments of its steps may falsify it."""


@dataclass(frozen=True)
class Counter:
    """What is known of a counter."""

    source: str | None
    """Its name; None where there is none."""
    tick_ns: int = GPU_TICK_NS
    """The longest time between two steps of a counter that counts."""
    per_joule: float = 1000
    """Of its unit."""


def energy(
    times: Sequence[int], counts: Sequence[float | None], spans: Sequence[Span], counter: Counter
) -> tuple[Energy, str | None]:
    """Energy over spans, or why it is not known; and what is wrong with the counter, if anything.

    Args:
        times: of the readings, in order, in nanoseconds.
        counts: the readings, None where there was none.
        spans: the windows, as `union` gives them.
        counter: what was read.
    """
    source, tick_ns = counter.source, counter.tick_ns
    known = [(time, count) for time, count in zip(times, counts, strict=True) if count is not None]
    if not known or source is None:
        return Energy(joules=None, note="the device has no energy counter that can be read"), None
    stretches = union(spans, tick_ns)
    inside = steps_inside(steps_of(known, tick_ns), stretches)
    readings = sum(map(len, inside))
    fault = why_broken(known, stretches)
    reason = fault or why_short(length(stretches), readings, tick_ns) or why_uncovered(inside, stretches)
    if reason is not None:
        return Energy(joules=None, source=source, readings=readings, note=reason), fault
    parts = [measured(steps, span) for steps, span in zip(inside, stretches, strict=True)]
    total = sum(part.energy for part in parts)
    uncertainty = sum(part.off for part in parts) / total if total else 0.0
    if uncertainty > LARGEST_UNCERTAINTY:
        note = f"the moments of the counter's steps are known too roughly: {uncertainty:.1%} of the energy"
        return Energy(joules=None, source=source, readings=readings, uncertainty=uncertainty, note=note), None
    joules = total / counter.per_joule * length(spans) / length(stretches)
    return Energy(joules=joules, source=source, readings=readings, uncertainty=uncertainty), None


def steps_of(known: Sequence[tuple[int, float]], tick_ns: int) -> list[Step]:
    """Every change of the counter and when it came, in order."""
    return [
        Step(moment=(early + late) / 2, off=(late - early) / 2, value=value)
        for (since, before), (late, value) in pairwise(known)
        if value != before and (early := max(since, late - tick_ns)) <= late
    ]


def steps_inside(steps: Sequence[Step], stretches: Sequence[Span]) -> list[Sequence[Step]]:
    """The steps of each stretch; a trial may have thousands of both."""
    moments = [step.moment for step in steps]
    return [steps[bisect_left(moments, start) : bisect_right(moments, end)] for start, end in stretches]


def why_broken(known: Sequence[tuple[int, float]], stretches: Sequence[Span]) -> str | None:
    """What is wrong with the counter while the windows ran; None where nothing is seen."""
    if not stretches:
        return None
    start, end = stretches[0][0], stretches[-1][1]
    for (since, before), (until, after) in pairwise(known):
        if after < before and until > start and since < end:
            return f"the counter went back from {before:g} to {after:g}: it wrapped or was reset"
    return None


def why_short(covered_ns: int, readings: int, tick_ns: int) -> str | None:
    """Why windows do not suffice for any energy; None where they do."""
    if covered_ns == 0:
        return "no timed window with its moments"
    if covered_ns < SHORTEST_TICKS * tick_ns:
        shortest_s = SHORTEST_TICKS * tick_ns / NS_PER_S
        needed = f"{SHORTEST_TICKS} ticks of the counter, {shortest_s:g} s, are needed"
        return f"windows of {covered_ns / NS_PER_S:.2g} s; {needed}"
    if readings < FEWEST_READINGS:
        return f"{readings} distinct readings of the counter in the windows; {FEWEST_READINGS} are needed"
    return None


def why_uncovered(inside: Sequence[Sequence[Step]], stretches: Sequence[Span]) -> str | None:
    """Why the counter's steps do not span the stretches; None where they do."""
    covered = sum(steps[-1].moment - steps[0].moment for steps in inside if steps)
    if min(map(len, inside)) < 2 or covered < SMALLEST_COVER * length(stretches):
        parts = f" in {len(stretches)} stretches" if len(stretches) > 1 else ""
        return f"the counter's steps cover {covered / length(stretches):.0%} of the windows{parts}"
    return None


def measured(steps: Sequence[Step], span: Span) -> Stretch:
    """Energy of one stretch that has two steps or more."""
    first, last = ends_of(steps)
    begin, end = first.moment - span[0], span[1] - last.moment
    head = power([step for step in steps if step.moment <= steps[0].moment + BESIDE_NS], steps)
    tail = power([step for step in steps if step.moment >= steps[-1].moment - BESIDE_NS], steps)
    grown = last.value - first.value + begin * head.energy + end * tail.energy
    return Stretch(grown, first.off * head.energy + last.off * tail.energy + begin * head.off + end * tail.off)


def power(beside: Sequence[Step], steps: Sequence[Step]) -> Stretch:
    """Energy of one nanosecond at the mean power over some steps; over all where they are too few."""
    first, last = ends_of(beside if len(beside) > 2 else steps)
    took = last.moment - first.moment
    mean = (last.value - first.value) / took
    return Stretch(mean, mean * (first.off + last.off) / took)


def ends_of(steps: Sequence[Step]) -> tuple[Step, Step]:
    """A step near the first and one near the last of two or more, whose moments are known well if any are."""
    first, last = sharpest(steps[:OUTERMOST]), sharpest(steps[: -OUTERMOST - 1 : -1])
    return (first, last) if first.moment < last.moment else (steps[0], steps[-1])


def sharpest(steps: Sequence[Step]) -> Step:
    """The first step whose moment is known well, or the one that is known best."""
    return min(steps, key=lambda step: max(step.off, WELL_NS))


def unwrapped(counts: Sequence[Sequence[int] | None], wraps: Sequence[int]) -> list[float | None]:
    """Counters of several packages as one that goes on where any of them wraps at its known range."""
    turns, last = [0] * len(wraps), [0] * len(wraps)
    found: list[float | None] = []
    for values in counts:
        if values is None:
            found.append(None)
            continue
        turns = [turn + (value < before) for turn, value, before in zip(turns, values, last, strict=True)]
        last = list(values)
        found.append(float(sum(value + turn * wrap for value, turn, wrap in zip(values, turns, wraps, strict=True))))
    return found
