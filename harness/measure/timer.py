"""What measuring takes: the host's clock, a synchronisation, a mark, each on a device that has nothing to do."""

from collections.abc import Callable
from itertools import pairwise
from statistics import median
from time import perf_counter_ns

from harness.hookspecs import Work
from harness.measure.steps import READINGS_PER_STEP
from harness.schema.measurement import TimerCost

REPEATS = 21
"""Odd, so that a median is one of them; the first ones, which warm caches, do not move it."""
READINGS = 200
MARKS = 10
"""In one go: a reading takes less time than it tells, and a mark hardly more."""


def timer_cost(work: Work) -> TimerCost:
    """Measure a rank's timers before its first step.

    Args:
        work: whose device has been handed nothing yet, or has done it all.
    """
    clock = work.device_clock()
    work.synchronize()
    mark_ns = None if clock is None else cost_ns(clock.mark, MARKS, after=work.synchronize)
    return TimerCost(
        resolution_ns=smallest_tick_ns(),
        clock_ns=cost_ns(perf_counter_ns, READINGS),
        synchronize_ns=cost_ns(work.synchronize, 1),
        mark_ns=mark_ns,
        readings_per_step=READINGS_PER_STEP,
    )


def smallest_tick_ns() -> int:
    """The smallest difference of two readings in a row that differ."""
    ticks: list[int] = []
    while not ticks:
        readings = [perf_counter_ns() for _ in range(REPEATS * READINGS)]
        ticks = [later - earlier for earlier, later in pairwise(readings) if later > earlier]
    return min(ticks)


def cost_ns(call: Callable[[], object], times: int, after: Callable[[], object] | None = None) -> float:
    """Median nanoseconds of one call, of runs of so many in a row; `after` each run something that is not counted."""
    runs = []
    for _ in range(REPEATS):
        start = perf_counter_ns()
        for _ in range(times):
            call()
        runs.append((perf_counter_ns() - start) / times)
        if after is not None:
            after()
    return median(runs)
