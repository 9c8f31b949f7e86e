"""What was seen of the machine from outside the timed processes, while their windows ran; None where unknown."""

from typing import Literal

from pydantic import Field

from harness.schema.record import Record

MarkKind = Literal[
    "throttled",
    "foreign_process",
    "stolen_time",
    "ecc",
    "clock_change",
    "power_limit_change",
    "device_lost",
    "counter",
    "gap",
]


class Extent(Record):
    """Samples of one quantity inside the windows: their mean, weighted by time, the lowest and the highest."""

    mean: float
    low: float
    high: float
    samples: int


class Mark(Record):
    """Something that a reader of the numbers must know."""

    kind: MarkKind
    device: str | None = None
    """UUID of the GPU; None of the machine."""
    text: str
    """How much, or which; what that means is the kind's."""


class Energy(Record):
    """Energy over the windows; `joules` is None where it cannot be known, and `note` says why."""

    joules: float | None
    source: str | None = None
    """Which counter."""
    readings: int = 0
    """Distinct readings of the counter inside the windows."""
    uncertainty: float | None = None
    """By which share the energy may be off because the moments of the counter's steps are not known better."""
    note: str | None = None


class GpuTelemetry(Record):
    """One GPU over the windows of a trial."""

    uuid: str
    name: str
    samples: int
    energy: Energy
    power_w: Extent | None = None
    power_source: str | None = None
    """Which of the driver's averages."""
    power_limit_w: float | None = None
    """Enforced."""
    sm_clock_mhz: Extent | None = None
    memory_clock_mhz: Extent | None = None
    temperature_c: Extent | None = None
    memory_temperature_c: Extent | None = None
    utilization_fraction: Extent | None = None
    """Share of the time in which some kernel ran; not occupancy."""
    memory_used_bytes: Extent | None = None
    own_memory_bytes: int | None = None
    """Most that the trial's own processes held."""
    event_reasons: tuple[str, ...] | None = None
    """Why clocks were held down at any sample, in NVML's words."""
    pcie_sent_bytes: float | None = None
    pcie_received_bytes: float | None = None
    nvlink_sent_bytes: float | None = None
    nvlink_received_bytes: float | None = None
    ecc_corrected: int | None = None
    """Errors that came during the trial."""
    ecc_uncorrected: int | None = None
    remapped_rows: int | None = None
    mig: bool | None = None
    persistence: bool | None = None


class HostTelemetry(Record):
    """The machine itself over the windows of a trial."""

    busy_cores: Extent | None = None
    """CPU time of all processes per second."""
    own_cpu_s: float | None = None
    """Of the trial's processes."""
    stolen_cpu_s: float | None = None
    """That a hypervisor gave to other machines while something was ready to run here."""
    foreign_cpu_s: float | None = None
    """Of everything but the trial, the harness and the kernel's idling."""
    runner_cpu_s: float | None = None
    """Of the runner and the sampler."""
    memory_used_bytes: Extent | None = None
    own_memory_bytes: int | None = None
    """Most resident memory of the trial's processes together; what they share counts in each."""
    clock_mhz: Extent | None = None
    energy: Energy = Field(default_factory=lambda: Energy(joules=None, note="not sampled"))


class Telemetry(Record):
    """One trial's windows as sampled by a process of its own."""

    interval_s: float
    samples: int
    longest_gap_s: float
    """The longest time inside one stretch without a sample."""
    window_s: float
    """Length of the windows of all ranks together, overlaps once."""
    sampler_cpu_s: float | None
    """CPU time of the sampler from the trial's begin to its end; None of a sampler that did not tell."""
    driver: str | None = None
    gpus: tuple[GpuTelemetry, ...] = ()
    """Those of the trial, in CUDA's order: the first of the visible ones, as many as it has ranks; none on the CPU."""
    host: HostTelemetry
    marks: tuple[Mark, ...] = ()
    note: str | None = None
    """Why there is less than there should be."""
    samples_file: str | None = None
    """The raw samples, as a path in the store."""
