"""When things happened in a trial: moments of CLOCK_MONOTONIC as dates."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate

from harness.schema.measurement import Window
from harness.schema.result import TrialResult
from harness.units import NS_PER_MS

NS_PER_US = 1000


@dataclass(frozen=True)
class Clock:
    """Tells the date of any moment of one trial."""

    started_at: datetime
    started_ns: int

    def at(self, moment_ns: int) -> datetime:
        """The date of a moment."""
        return self.started_at + timedelta(microseconds=(moment_ns - self.started_ns) / NS_PER_US)

    def ms(self, moment_ns: int) -> int:
        """The moment in milliseconds since 1970, as MLLOG has it."""
        return round(self.at(moment_ns).timestamp() * 1000)


def clock_of(result: TrialResult) -> Clock | None:
    """The clock of a trial; None where its record does not say when its windows were."""
    spans = any(window.spans_ns for window in result.windows)
    return None if result.started_ns is None or not spans else Clock(result.started_at, result.started_ns)


def whole_window(result: TrialResult) -> Window | None:
    """The window of all ranks: that of the lowest, each stretch as long as its slowest rank's.

    Ranks meet at the start of every stretch, and throughput is reckoned so.
    """
    first = min(result.windows, key=lambda window: window.rank, default=None)
    if first is None or not first.spans_ns or len({len(window.spans_ns) for window in result.windows}) != 1:
        return first
    spans = [window.spans_ns for window in result.windows]
    longest = [max(end - start for start, end in ranks) for ranks in zip(*spans, strict=True)]
    starts = [start for start, _ in first.spans_ns]
    # Clocks of several nodes may differ a little; a stretch still ends before the next begins.
    limits = [*starts[1:], None]
    ends = [
        start + lasted if limit is None else min(start + lasted, limit)
        for start, lasted, limit in zip(starts, longest, limits, strict=True)
    ]
    return first.model_copy(update={"spans_ns": tuple(zip(starts, ends, strict=True))})


def stretch_steps(window: Window) -> list[int]:
    """Steps of each stretch, shared out by its images."""
    images = sum(window.stretch_images)
    return [round(window.steps * count / images) if images else 0 for count in window.stretch_images]


def steps_done(window: Window) -> list[int]:
    """Steps from the first of the warm-up to the end of each stretch."""
    return [window.warmup_steps + done for done in accumulate(stretch_steps(window))]


def warmup_start_ns(window: Window) -> int:
    """When the first step of the warm-up began, as far as the record tells: so long before the first stretch."""
    return window.spans_ns[0][0] - round(window.warmup_s * 1000 * NS_PER_MS)
