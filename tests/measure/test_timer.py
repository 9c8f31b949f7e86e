"""What timing costs is measured on a clock and a device whose costs the test sets."""

from collections.abc import Iterator

import pytest

from harness.measure import timer
from harness.measure.timer import timer_cost

RESOLUTION_NS = 25
READING_NS = 40


class Idle:
    """A device with nothing to do, on a fake clock that moves in steps of 25 ns; every fifth call takes far longer."""

    def __init__(self, synchronize_ns: int, mark_ns: int | None) -> None:
        self.now = 0
        self.calls = 0
        self.synchronize_ns = synchronize_ns
        self.mark_ns = mark_ns
        self.queued = 0

    def perf_counter_ns(self) -> int:
        self.now += READING_NS
        return self.now // RESOLUTION_NS * RESOLUTION_NS

    def spend(self, cost_ns: int) -> None:
        self.calls += 1
        self.now += 50 * cost_ns if self.calls % 50 == 0 else cost_ns

    def synchronize(self) -> None:
        self.queued = 0
        self.spend(self.synchronize_ns)

    def device_clock(self) -> "Idle | None":
        return None if self.mark_ns is None else self

    def mark(self) -> int:
        assert self.mark_ns is not None
        assert self.queued < timer.MARKS, "the queue grew while it was measured"
        self.queued += 1
        self.spend(self.mark_ns)
        return self.now


@pytest.fixture(params=[(9000, 3000), (700, None)])
def idle(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Idle]:
    """One device with a clock of its own, and one without."""
    device = Idle(*request.param)
    monkeypatch.setattr(timer, "perf_counter_ns", device.perf_counter_ns)
    return device


def test_costs_are_medians_of_calls_on_an_idle_device(idle: Idle) -> None:
    """A call that is held up now and then moves none of them; a missing clock has no cost, not that of nothing."""
    cost = timer_cost(idle)  # type: ignore[arg-type]
    assert cost.resolution_ns == RESOLUTION_NS
    assert cost.clock_ns == pytest.approx(READING_NS, rel=0.05)
    assert cost.synchronize_ns == pytest.approx(idle.synchronize_ns + READING_NS, abs=RESOLUTION_NS)
    if idle.mark_ns is None:
        assert cost.mark_ns is None
    else:
        assert cost.mark_ns == pytest.approx(idle.mark_ns, rel=0.01)
