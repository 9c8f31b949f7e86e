"""A fake asynchronous device whose clock, and the host's, a test owns."""

import itertools
from collections.abc import Iterator, Mapping
from math import inf
from typing import Any

import pytest

from harness.hookspecs import Batch
from harness.measure import steps
from harness.units import NS_PER_MS
from harness.worker import judge

COMPILE_MS = 5000.0


class Device:
    """A fake asynchronous device on a fake clock: a step is handed out in `host_ms` and takes `step_ms`.

    `step_ms` may be the times of its steps one by one; `deaf_after` synchronisations it no longer waits.

    It is its own clock: a mark is the moment at which it comes to it, and cannot be read before.
    """

    def __init__(
        self,
        step_ms: float | Iterator[float],
        *,
        deaf_after: float = inf,
        load_ms: float = 0.0,
        host_ms: float = 0.0,
        compile_at: tuple[int, ...] = (),
    ) -> None:
        self.now = 0.0
        self.busy_until = 0.0
        self.times_ms = itertools.repeat(step_ms) if isinstance(step_ms, int | float) else step_ms
        self.load_ms = load_ms
        self.host_ms = host_ms
        self.readings = 0
        self.has_clock = True
        self.deaf_after = deaf_after
        self.waited = 0
        self.calls: list[str] = []
        self.compile_at = {*compile_at}
        self.loaded = 0

    def perf_counter_ns(self) -> int:
        self.readings += 1
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
        self.now += self.host_ms
        self.busy_until = max(self.busy_until, self.now) + next(self.times_ms)
        return self.busy_until

    def synchronize(self) -> None:
        self.calls.append("synchronize")
        self.waited += 1
        if self.waited <= self.deaf_after:
            self.now = max(self.now, self.busy_until)

    def device_clock(self) -> "Device | None":
        return self if self.has_clock else None

    def mark(self) -> float:
        return max(self.busy_until, self.now)

    def elapsed_ms(self, start: float, end: float) -> float:
        assert end <= self.now, "a mark was read before the device came to it"
        return end - start

    def barrier(self) -> None:
        self.calls.append("barrier")

    def read(self, output: Any) -> Mapping[str, float]:
        self.now = max(self.now, output)
        return {"loss": 1.0}

    def settings(self) -> Mapping[str, str]:
        return {}

    def close(self) -> None:
        self.calls.append("close")


def on_its_clock(device: Device, monkeypatch: pytest.MonkeyPatch) -> Device:
    """Let the host read this device's clock."""
    for module in (steps, judge):
        monkeypatch.setattr(module, "perf_counter_ns", device.perf_counter_ns)
    return device
