"""One pass over a val set, on a device whose clock the test owns: where its time goes, and whether it waits."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from fake_device import Device, on_its_clock
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import BackendError
from harness.hookspecs import Batch, Context, Detections
from harness.units import ns_to_ms
from harness.worker.judge import Judge, Pass

CONTEXT = Context(rank=0, local_rank=0, world_size=1, train="", val="")


class Set(Device):
    """A device with a val set of so many batches, whose detections take a while to bring home."""

    count = 5
    encode_ms = 0.0

    def batches(self, count: int | None = None) -> Iterator[Batch]:
        return super().batches(self.count if count is None else count)

    def detections(self, output: Any) -> Sequence[Detections]:
        self.now = max(self.now, output) + self.encode_ms
        return ()


def collected(device: Set) -> Pass:
    """One pass."""
    with pytest.MonkeyPatch.context() as patch:
        return Judge(Path(), CONTEXT, "pycocotools").collect(on_its_clock(device, patch))  # type: ignore[arg-type]


milliseconds = st.integers(0, 300)


@settings(max_examples=100)
@given(
    times_ms=st.lists(milliseconds, max_size=8),
    load_ms=milliseconds,
    encode_ms=milliseconds,
    compile_at=st.sets(st.integers(1, 8)),
    has_clock=st.booleans(),
)
def test_loading_steps_encoding_and_waiting_make_up_a_pass(
    times_ms: list[int], load_ms: int, encode_ms: int, compile_at: set[int], has_clock: bool
) -> None:
    """Compiling included; the batch that is taken once more is no part of it. A step that compiled is no latency."""
    device = Set(iter([*map(float, times_ms), 1.0]), load_ms=load_ms, compile_at=tuple(compile_at))
    device.count, device.encode_ms, device.has_clock = len(times_ms), encode_ms, has_clock
    taken = collected(device)
    stretch = taken.stretch
    known_ns = sum(stretch.wait_ns) + sum(stretch.step_ns) + stretch.drain_ns
    assert ns_to_ms(stretch.elapsed_ns - known_ns) == pytest.approx(sum(taken.encodings_ms))
    assert stretch.steps == len(times_ms) == len(taken.compiled)
    assert len(taken.latencies_ms) == len(times_ms) - len(stretch.compile_ns)
    assert taken.latencies_device_ms == (pytest.approx(taken.latencies_ms) if has_clock else [])


@pytest.mark.parametrize("has_clock", [True, False])
@pytest.mark.parametrize("good", range(11))
def test_a_wait_that_goes_missing_in_the_middle_of_a_pass_is_caught(good: int, has_clock: bool) -> None:
    """After the first step too, by the device's clock or by the last batch, which is taken again after the window."""
    device = Set(step_ms=100.0, deaf_after=good)
    device.has_clock = has_clock
    with pytest.raises(BackendError, match="before the device was done"):
        collected(device)


def test_one_wait_of_a_pass_that_goes_missing_is_seen_by_the_device_s_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is none, one latency is wrong and nobody knows."""
    device = Set(step_ms=100.0)
    waits, wait = iter(range(100)), device.synchronize
    monkeypatch.setattr(device, "synchronize", lambda: wait() if next(waits) != 6 else None)
    with pytest.raises(
        BackendError, match=r"step 3 took the device 100 ms and synchronize\(\) let go of it after 0 ms"
    ):
        collected(device)


@pytest.mark.parametrize(("has_clock", "steps"), [(True, 5), (False, 6)])
def test_only_a_device_without_a_clock_takes_a_batch_again(has_clock: bool, steps: int) -> None:
    """With one, every step was held to it already."""
    device = Set(step_ms=100.0)
    device.has_clock = has_clock
    assert collected(device).stretch.steps == 5
    assert device.calls.count("step") == steps


def test_a_shard_without_images_is_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """More ranks than images: nothing to take, nothing to hold against anybody."""
    device = Set(step_ms=100.0)
    monkeypatch.setattr(device, "count", 0)
    assert collected(device).stretch.steps == 0
