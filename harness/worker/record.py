"""What a phase has recorded so far."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain

from harness.measure.steps import Stretch
from harness.schema.measurement import Accuracy, Ending, Measurement, Probe, TimerCost, Window
from harness.units import Unit, ns_to_ms, ns_to_s


@dataclass(frozen=True)
class WarmUp:
    """The steps before a window: one stretch, and more of them where they go on until steps are steady."""

    stretches: Sequence[Stretch]
    steady: bool | None = None
    """Whether they were in the end; None where nothing waited for it."""

    @property
    def steps(self) -> int:
        """How many there were."""
        return sum(stretch.steps for stretch in self.stretches)


@dataclass
class PhaseRecord:
    """What has been recorded so far; it survives a phase that fails half-way."""

    rank: int
    windows: list[Window] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    accuracy: list[Accuracy] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    time_to_target_s: float | None = None
    timer: TimerCost | None = None
    probe: Probe | None = None
    peak_memory_bytes: int | None = None
    """Where it was read before the end."""

    def add(self, name: str, unit: Unit, values: Sequence[float], warmup_values: Sequence[float] = ()) -> None:
        """Record one raw series of this rank."""
        self.measurements.append(
            Measurement(name=name, unit=unit, values=tuple(values), warmup_values=tuple(warmup_values), rank=self.rank)
        )

    def add_window(
        self, warmup: WarmUp, timed: Sequence[Stretch], ended_by: Ending, interval: float | None = None
    ) -> None:
        """Record a window, its times by step, and the warm-up before it."""
        device_s = [stretch.device_s for stretch in timed if stretch.device_s is not None]
        self.windows.append(
            Window(
                rank=self.rank,
                images=sum(stretch.images for stretch in timed),
                steps=sum(stretch.steps for stretch in timed),
                elapsed_s=ns_to_s(sum(stretch.elapsed_ns for stretch in timed)),
                warmup_steps=warmup.steps,
                warmup_s=ns_to_s(sum(stretch.elapsed_ns for stretch in warmup.stretches)),
                spans_ns=tuple((stretch.start_ns, stretch.start_ns + stretch.elapsed_ns) for stretch in timed),
                stretch_images=tuple(stretch.images for stretch in timed),
                device_s=sum(device_s) if len(device_s) == len(timed) else None,
                ended_by=ended_by,
                interval=interval,
                warmup_steady=warmup.steady,
            )
        )
        self.add_times(warmup.stretches, timed)

    def add_times(self, before: Sequence[Stretch], timed: Sequence[Stretch]) -> None:
        """Record where the time of the steps went: host, data, and the waits for the device."""
        self.add("step_ms", "ms", hand_outs_ms(timed), hand_outs_ms(before))
        self.add("data_wait_ms", "ms", waits_ms(timed), waits_ms(before))
        self.add("drain_ms", "ms", drains_ms(timed), drains_ms(before))
        device_ms = devices_ms(timed)
        if device_ms:
            self.add("device_ms", "ms", device_ms, devices_ms(before))

    def add_latencies(self, latencies_ms: Sequence[float], device_ms: Sequence[float]) -> None:
        """Record single steps by the host's clock and, where it has one, by the device's."""
        self.add("latency_ms", "ms", latencies_ms)
        if device_ms:
            self.add("latency_device_ms", "ms", device_ms)

    def add_compiling(self, timed: Iterable[Stretch], outside: Iterable[Stretch]) -> None:
        """Record the steps that compiled first, if any did: those of the timed window, and those outside it."""
        inside_ns = [step_ns for stretch in timed for step_ns in stretch.compile_ns]
        outside_ns = [step_ns for stretch in outside for step_ns in stretch.compile_ns]
        if inside_ns or outside_ns:
            self.add("compile_ms", "ms", list(map(ns_to_ms, inside_ns)), list(map(ns_to_ms, outside_ns)))


def hand_outs_ms(stretches: Iterable[Stretch]) -> list[float]:
    """Host milliseconds to hand out each step."""
    return list(map(ns_to_ms, chain.from_iterable(stretch.step_ns for stretch in stretches)))


def waits_ms(stretches: Iterable[Stretch]) -> list[float]:
    """Host milliseconds of the wait for each batch."""
    return list(map(ns_to_ms, chain.from_iterable(stretch.wait_ns for stretch in stretches)))


def drains_ms(stretches: Iterable[Stretch]) -> list[float]:
    """Host milliseconds of each stretch's waits for the device beside its steps."""
    return [ns_to_ms(stretch.drain_ns) for stretch in stretches]


def devices_ms(stretches: Iterable[Stretch]) -> list[float]:
    """Device milliseconds of each step."""
    return list(chain.from_iterable(stretch.device_ms for stretch in stretches))
