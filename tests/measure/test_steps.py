"""The host's stretches, on a device whose clock the test owns."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
from fake_device import Device, on_its_clock
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import BackendError
from harness.measure.steps import READINGS_PER_STEP, Stretch, run_stretch, time_latency
from harness.units import NS_PER_MS


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    """A device of a hundred milliseconds a step, whose batches take seven."""
    return on_its_clock(Device(step_ms=100.0, load_ms=7.0), monkeypatch)


def test_a_window_lasts_until_the_device_is_idle(device: Device) -> None:
    """Queued steps are paid for: seven to load the first, then ten of a hundred milliseconds."""
    stretch = run_stretch(device, device.batches(), 10, training=False)
    assert stretch.elapsed_ns == 1007 * NS_PER_MS
    assert (stretch.images, stretch.steps) == (40, 10)
    assert stretch.wait_ns == [7 * NS_PER_MS] * 10


def test_a_window_starts_idle_and_together(device: Device) -> None:
    """Synchronise, meet, step, synchronise: nothing of before is in it, and one synchronisation at each end."""
    device.busy_until = 5000.0
    stretch = run_stretch(device, device.batches(), 2, training=False)
    assert device.calls == ["synchronize", "barrier", "step", "step", "synchronize"]
    assert stretch.elapsed_ns == 207 * NS_PER_MS


def test_a_latency_is_one_batch_alone(device: Device) -> None:
    """Synchronised on both sides, loading outside."""
    assert time_latency(device, device.batches(), 3).step_ns == [100 * NS_PER_MS] * 3


@pytest.mark.parametrize("measure", ["training", "inference", "latency"])
def test_a_missing_synchronisation_is_caught(measure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that does not wait is refused, not believed."""
    device = on_its_clock(Device(step_ms=100.0, deaf_after=0), monkeypatch)
    run = {
        "training": partial(run_stretch, training=True),
        "inference": partial(run_stretch, training=False),
        "latency": time_latency,
    }[measure]
    with pytest.raises(BackendError, match="before the device was done"):
        run(device, device.batches(), 10)


@pytest.mark.parametrize("good", range(1, 10))
def test_a_wait_that_goes_missing_between_latencies_is_caught_by_the_device_s_clock(
    good: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any of them, not the last alone, which is the only one whose output is fetched."""
    device = on_its_clock(Device(step_ms=100.0), monkeypatch)
    waits = iter(range(100))
    wait = device.synchronize
    monkeypatch.setattr(device, "synchronize", lambda: wait() if next(waits) != 2 * good - 1 else None)
    with pytest.raises(
        BackendError, match=f"step {good} took the device 100 ms and synchronize.. let go of it after 0"
    ):
        time_latency(device, device.batches(), 10)


def test_a_host_that_is_held_up_once_is_no_fault(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """One slow fetch where steps can be repeated is not taken for a missing synchronisation."""
    delays = iter([5000.0])

    def held_up(output: Any) -> Mapping[str, float]:
        device.now += next(delays, 0.0)
        return {"loss": 1.0}

    monkeypatch.setattr(device, "read", held_up)
    assert run_stretch(device, device.batches(), 3, training=False).steps == 3


def test_a_step_that_compiles_is_timed_on_its_own_and_stays_in_its_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Synchronised on both sides: what was queued before it is not in its time, and the window hides nothing."""
    device = on_its_clock(Device(step_ms=100.0, compile_at=(3,)), monkeypatch)
    stretch = run_stretch(device, device.batches(), 4, training=True)
    assert stretch.compile_ns == [5100 * NS_PER_MS]
    assert stretch.step_ns == [0, 0, 5100 * NS_PER_MS, 0]
    assert stretch.elapsed_ns == 5400 * NS_PER_MS
    assert stretch.drain_ns == (200 + 100) * NS_PER_MS
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
    device = on_its_clock(Device(step_ms=100.0, deaf_after=0, compile_at=(1,)), monkeypatch)
    with pytest.raises(BackendError, match="before the device was done"):
        run_stretch(device, device.batches(), 10, training=True)


def test_outputs_are_kept_only_when_asked(device: Device) -> None:
    """A long window of large outputs takes the memory of one."""
    assert len(run_stretch(device, device.batches(), 5, training=False).outputs) == 1
    assert len(run_stretch(device, device.batches(), 5, training=True).outputs) == 5


def test_batches_that_end_are_an_error(device: Device) -> None:
    """A window never counts steps that were not taken."""
    with pytest.raises(BackendError, match="ended after 3 steps"):
        run_stretch(device, device.batches(3), 5, training=False)


def test_a_window_of_no_steps_is_empty(device: Device) -> None:
    """No warm-up asks for nothing of the device's output."""
    assert run_stretch(device, device.batches(), 0, training=True).images == 0


def parts_of(stretch: Stretch) -> int:
    """What is told of where its time went, in nanoseconds."""
    return sum(stretch.wait_ns) + sum(stretch.step_ns) + stretch.drain_ns


milliseconds = st.integers(0, 300)


@settings(max_examples=100)
@given(step_ms=milliseconds, host_ms=milliseconds, load_ms=milliseconds, count=st.integers(1, 12))
def test_waiting_handing_out_and_draining_make_up_a_stretch(
    step_ms: int, host_ms: int, load_ms: int, count: int
) -> None:
    """Whatever bounds it, loader, host or device, no time is in two of them and none is lost; the device's is apart."""
    device = Device(step_ms, host_ms=host_ms, load_ms=load_ms)
    with pytest.MonkeyPatch.context() as patch:
        stretch = run_stretch(on_its_clock(device, patch), device.batches(), count, training=False)
    assert stretch.elapsed_ns == parts_of(stretch)
    assert stretch.wait_ns == [load_ms * NS_PER_MS] * count
    assert stretch.step_ns == [host_ms * NS_PER_MS] * count
    bound_ms = max(step_ms, host_ms + load_ms)
    assert stretch.elapsed_ns == (load_ms + host_ms + (count - 1) * bound_ms + step_ms) * NS_PER_MS


@settings(max_examples=100)
@given(
    times_ms=st.lists(milliseconds, min_size=1, max_size=12),
    host_ms=milliseconds,
    load_ms=milliseconds,
    compile_at=st.sets(st.integers(1, 12)),
    training=st.booleans(),
)
def test_compiling_inside_a_stretch_loses_no_time(
    times_ms: list[int], host_ms: int, load_ms: int, compile_at: set[int], training: bool
) -> None:
    """The wait for what was queued before a step that compiles is a wait for the device like that at the end."""
    device = Device(iter(map(float, times_ms)), host_ms=host_ms, load_ms=load_ms, compile_at=tuple(compile_at))
    count = len(times_ms)
    with pytest.MonkeyPatch.context() as patch:
        stretch = run_stretch(on_its_clock(device, patch), device.batches(), count, training=training)
    compiled = [step for step in range(1, count + 1) if step in compile_at]
    assert stretch.elapsed_ns == parts_of(stretch)
    assert stretch.compile_ns == [stretch.step_ns[step - 1] for step in compiled]
    assert sorted(stretch.step_ns) == sorted([*stretch.compile_ns, *[host_ms * NS_PER_MS] * (count - len(compiled))])


def test_the_device_times_its_own_steps(device: Device) -> None:
    """Beside the host's clock: each step, and from the first mark to the last, without the first wait for data."""
    stretch = run_stretch(device, device.batches(), 10, training=True)
    assert stretch.device_ms == [100.0] * 10
    assert stretch.device_s == 1.0
    assert time_latency(device, device.batches(), 3).device_ms == [100.0] * 3


def test_a_device_that_waits_for_its_host_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where handing a step out takes longer than the step, the device's time between its marks has the gap."""
    device = on_its_clock(Device(step_ms=10.0, host_ms=30.0), monkeypatch)
    assert run_stretch(device, device.batches(), 3, training=True).device_ms == [40.0, 30.0, 30.0]


def test_a_device_without_a_clock_has_no_times(device: Device) -> None:
    """Unknown, and not nothing."""
    device.has_clock = False
    stretch = run_stretch(device, device.batches(), 3, training=True)
    assert (stretch.device_ms, stretch.device_s) == ([], None)
    assert time_latency(device, device.batches(), 3).device_ms == []


def test_a_step_costs_as_many_readings_of_the_clock_as_are_recorded(device: Device) -> None:
    """Whoever knows what one reading takes can say what the host's clock adds to a window."""
    readings = []
    for count in (3, 13):
        device.readings = 0
        run_stretch(device, device.batches(), count, training=True)
        readings.append(device.readings)
    assert readings[1] - readings[0] == 10 * READINGS_PER_STEP
