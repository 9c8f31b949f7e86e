"""The host's windows, on a device whose clock the test owns."""

import itertools
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import pytest

from harness.errors import BackendError
from harness.hookspecs import Batch
from harness.measure import steps
from harness.measure.steps import run_window, time_latency
from harness.units import NS_PER_MS

COMPILE_MS = 5000.0


class Device:
    """A fake asynchronous device on a fake clock: a step is queued in no time and takes `step_ms`."""

    def __init__(
        self, step_ms: float, *, synchronizes: bool = True, load_ms: float = 0.0, compile_at: tuple[int, ...] = ()
    ) -> None:
        self.now = 0.0
        self.busy_until = 0.0
        self.step_ms = step_ms
        self.load_ms = load_ms
        self.synchronizes = synchronizes
        self.calls: list[str] = []
        self.compile_at = {*compile_at}
        self.loaded = 0

    def perf_counter_ns(self) -> int:
        return round(self.now * NS_PER_MS)

    def batches(self, count: int | None = None) -> Iterator[Batch]:
        for _ in itertools.count() if count is None else range(count):
            self.now += self.load_ms
            self.loaded += 1
            yield Batch(images=4, payload=self.loaded)

    def compiles(self, batch: Batch) -> bool:
        return batch.payload in self.compile_at

    def step(self, batch: Batch) -> float:
        self.calls.append("step")
        if self.compiles(batch):
            self.compile_at.remove(batch.payload)
            self.now += COMPILE_MS
        self.busy_until = max(self.busy_until, self.now) + self.step_ms
        return self.busy_until

    def synchronize(self) -> None:
        self.calls.append("synchronize")
        if self.synchronizes:
            self.now = max(self.now, self.busy_until)

    def barrier(self) -> None:
        self.calls.append("barrier")

    def read(self, output: Any) -> Mapping[str, float]:
        self.now = max(self.now, output)
        return {"loss": 1.0}

    def settings(self) -> Mapping[str, str]:
        return {}

    def close(self) -> None:
        self.calls.append("close")


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    """A device of a hundred milliseconds a step, whose batches take seven."""
    return on_its_clock(Device(step_ms=100.0, load_ms=7.0), monkeypatch)


def on_its_clock(device: Device, monkeypatch: pytest.MonkeyPatch) -> Device:
    """Let the host read this device's clock."""
    monkeypatch.setattr(steps, "perf_counter_ns", device.perf_counter_ns)
    return device


def test_a_window_lasts_until_the_device_is_idle(device: Device) -> None:
    """Queued steps are paid for: seven to load the first, then ten of a hundred milliseconds."""
    window = run_window(device, device.batches(), 10, training=False)
    assert window.elapsed_ns == 1007 * NS_PER_MS
    assert (window.images, window.steps) == (40, 10)
    assert window.wait_ns == [7 * NS_PER_MS] * 10


def test_a_window_starts_idle_and_together(device: Device) -> None:
    """Synchronise, meet, step, synchronise: nothing of before is in it, and one synchronisation at each end."""
    device.busy_until = 5000.0
    window = run_window(device, device.batches(), 2, training=False)
    assert device.calls == ["synchronize", "barrier", "step", "step", "synchronize"]
    assert window.elapsed_ns == 207 * NS_PER_MS


def test_a_latency_is_one_batch_alone(device: Device) -> None:
    """Synchronised on both sides, loading outside."""
    assert time_latency(device, device.batches(), 3).step_ns == [100 * NS_PER_MS] * 3


@pytest.mark.parametrize("measure", ["training", "inference", "latency"])
def test_a_missing_synchronisation_is_caught(measure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that does not wait is refused, not believed."""
    device = on_its_clock(Device(step_ms=100.0, synchronizes=False), monkeypatch)
    run = {
        "training": partial(run_window, training=True),
        "inference": partial(run_window, training=False),
        "latency": time_latency,
    }[measure]
    with pytest.raises(BackendError, match="before the device was done"):
        run(device, device.batches(), 10)


def test_a_host_that_is_held_up_once_is_no_fault(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """One slow fetch where steps can be repeated is not taken for a missing synchronisation."""
    delays = iter([5000.0])

    def held_up(output: Any) -> Mapping[str, float]:
        device.now += next(delays, 0.0)
        return {"loss": 1.0}

    monkeypatch.setattr(device, "read", held_up)
    assert run_window(device, device.batches(), 3, training=False).steps == 3


def test_a_step_that_compiles_is_timed_on_its_own_and_stays_in_its_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Synchronised on both sides: what was queued before it is not in its time, and the window hides nothing."""
    device = on_its_clock(Device(step_ms=100.0, compile_at=(3,)), monkeypatch)
    window = run_window(device, device.batches(), 4, training=True)
    assert window.compile_ns == [5100 * NS_PER_MS]
    assert window.step_ns == [0, 0, 5100 * NS_PER_MS, 0]
    assert window.elapsed_ns == 5400 * NS_PER_MS
    before, alone, after = ["synchronize", "barrier", "step", "step"], ["synchronize", "step"], ["synchronize", "step"]
    assert device.calls == [*before, *alone, *after, "synchronize"]


def test_a_latency_holds_no_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch that compiled is taken once more; every latency is there, and none is out of line."""
    device = on_its_clock(Device(step_ms=100.0, compile_at=(1, 3)), monkeypatch)
    stretch = time_latency(device, device.batches(), 3)
    assert stretch.step_ns == [100 * NS_PER_MS] * 3
    assert stretch.compile_ns == [5100 * NS_PER_MS] * 2


def test_compiling_does_not_excuse_a_missing_synchronisation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long window is long for its compiling, not for the steps whose queue is still full."""
    device = on_its_clock(Device(step_ms=100.0, synchronizes=False, compile_at=(1,)), monkeypatch)
    with pytest.raises(BackendError, match="before the device was done"):
        run_window(device, device.batches(), 10, training=True)


def test_outputs_are_kept_only_when_asked(device: Device) -> None:
    """A long window of large outputs takes the memory of one."""
    assert len(run_window(device, device.batches(), 5, training=False).outputs) == 1
    assert len(run_window(device, device.batches(), 5, training=True).outputs) == 5


def test_batches_that_end_are_an_error(device: Device) -> None:
    """A window never counts steps that were not taken."""
    with pytest.raises(BackendError, match="ended after 3 steps"):
        run_window(device, device.batches(3), 5, training=False)


def test_a_window_of_no_steps_is_empty(device: Device) -> None:
    """No warm-up asks for nothing of the device's output."""
    assert run_window(device, device.batches(), 0, training=True).images == 0
