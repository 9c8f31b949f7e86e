"""Telemetry made by hand: what a sampler leaves in a record, without a GPU."""

from typing import Any

from made_results import make_result

from harness.schema.measurement import TimerCost, Window
from harness.schema.result import TrialResult
from harness.schema.telemetry import Energy, Extent, GpuTelemetry, HostTelemetry, Mark, Telemetry

COUNTER = "nvmlDeviceGetTotalEnergyConsumption"
TIMER = TimerCost(resolution_ns=40.0, clock_ns=60.0, synchronize_ns=2500.0, mark_ns=1800.0, readings_per_step=4)


def make_extent(mean: float, reach: float = 0.1) -> Extent:
    """A hundred samples around a mean."""
    return Extent(mean=mean, low=mean * (1 - reach), high=mean * (1 + reach), samples=100)


def make_gpu(number: int = 0, joules: float | None = 5000.0, **changes: Any) -> GpuTelemetry:
    """One GPU that has told everything; without joules it says why."""
    note = None if joules is not None else "the device has no energy counter that can be read"
    fields: dict[str, Any] = {
        "uuid": f"GPU-{number}",
        "name": "Some GPU",
        "samples": 100,
        "energy": Energy(joules=joules, source=COUNTER, readings=90, uncertainty=0.004, note=note),
        "power_w": make_extent(400.0),
        "power_source": "NVML_FI_DEV_POWER_INSTANT",
        "power_limit_w": 700.0,
        "sm_clock_mhz": make_extent(1980.0, 0.0),
        "temperature_c": make_extent(60.0),
        "utilization_fraction": make_extent(0.8),
        "memory_used_bytes": make_extent(30 * 2**30, 0.0),
        "own_memory_bytes": 20 * 2**30,
        "event_reasons": ("SW_POWER_CAP",),
        "pcie_sent_bytes": 2.0**20,
        "ecc_corrected": 0,
        "mig": False,
    }
    return GpuTelemetry(**(fields | changes))


def make_telemetry(*gpus: GpuTelemetry, **changes: Any) -> Telemetry:
    """Ten seconds of windows at 10 Hz."""
    fields: dict[str, Any] = {
        "interval_s": 0.1,
        "samples": 100,
        "longest_gap_s": 0.11,
        "window_s": 10.0,
        "sampler_cpu_s": 0.05,
        "gpus": gpus,
        "host": HostTelemetry(busy_cores=make_extent(1.5), own_cpu_s=9.5, own_memory_bytes=2**30),
    }
    return Telemetry(**(fields | changes))


def on_gpus(*gpus: GpuTelemetry, **given: Any) -> TrialResult:
    """A trial on these GPUs, 400 images a rank in 10 s; `marks`, `note` and `host` are those of its telemetry."""
    own = {name: given.pop(name) for name in ("marks", "note", "host") if name in given}
    rates = given.pop("rates", [(400, 10.0)] * max(1, len(gpus)))
    telemetry = make_telemetry(*gpus, **own)
    fields = {"device": "cuda", "device_name": "Some GPU", "telemetry": telemetry}
    return make_result(rates=rates, **(fields | given))


def make_mark(kind: Any = "throttled", text: str = "held down by SW_POWER_CAP", device: str | None = "GPU-0") -> Mark:
    """One mark."""
    return Mark(kind=kind, text=text, device=device)


def make_window(**changes: Any) -> Window:
    """A window of five stretches of two seconds."""
    spans = tuple((2_000_000_000 * n, 2_000_000_000 * (n + 1)) for n in range(5))
    fields: dict[str, Any] = {
        "rank": 0,
        "images": 400,
        "steps": 100,
        "elapsed_s": 10.0,
        "warmup_steps": 20,
        "warmup_s": 3.0,
        "spans_ns": spans,
        "stretch_images": (80,) * 5,
        "device_s": 9.8,
        "ended_by": "interval",
        "interval": 0.012,
        "warmup_steady": True,
    }
    return Window(**(fields | changes))
