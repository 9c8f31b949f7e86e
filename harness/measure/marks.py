"""Times by the device's own clock, where it has one: marks in its queue, read when they have all passed."""

from typing import Any

from harness.hookspecs import DeviceClock, Work
from harness.units import MS_PER_S


class Marks:
    """Two marks around each step of a stretch. Setting one waits for nothing; they are read after the stretch.

    The time between two marks is the device's: from when it came to the first to when it came to the second, with what
    it waited in between for the host to hand it more.
    """

    def __init__(self, work: Work) -> None:
        self._clock: DeviceClock | None = work.device_clock()
        self._pairs: list[tuple[Any, Any]] = []
        self._begun: Any = None

    def begin(self) -> None:
        """Mark where a step begins."""
        if self._clock is not None:
            self._begun = self._clock.mark()

    def end(self) -> None:
        """Mark where it ends."""
        if self._clock is not None:
            self._pairs.append((self._begun, self._clock.mark()))

    def steps_ms(self) -> list[float]:
        """Milliseconds of each step; empty where the device has no clock. All marks must have passed."""
        if self._clock is None:
            return []
        return [self._clock.elapsed_ms(begun, ended) for begun, ended in self._pairs]

    def span_s(self) -> float | None:
        """Seconds from the first mark to the last; None where the device has no clock, or nothing was marked."""
        if self._clock is None or not self._pairs:
            return None
        return self._clock.elapsed_ms(self._pairs[0][0], self._pairs[-1][1]) / MS_PER_S
