"""What a reader of a trial's numbers must know about the machine while they were taken."""

from collections.abc import Iterator, Sequence
from typing import Any

from harness.measure.telemetry.loading import GpuSeries
from harness.measure.telemetry.spans import Span, covers, union
from harness.schema.telemetry import Mark

REASONS = {
    0x1: "idle",
    0x2: "application clocks",
    0x4: "software power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
    0x100: "display clocks",
}
"""Of NVML's nvmlClocksEventReasons."""
NO_THROTTLING = 0x1 | 0x2 | 0x100
"""Somebody's choice of clocks, or nothing to do."""
BESIDE_NS = 1_000_000_000
"""Processes are looked at so often: the look nearest to a window may be so far outside."""
FOREIGN_SHARE = 0.1
"""Of the machine's processors."""
STOLEN_SHARE = 0.02
"""Of the processor time that work here wanted, however many processors there are: a trial may use one of many."""
STOLEN_LEAST = 0.01
"""Of the windows: what was stolen of all processors together lengthened them by no more, were it all on one path."""
LONGEST_GAP = 3
"""Of intervals."""
CLOCKS = {
    "max_sm_mhz": "highest SM clock",
    "max_memory_mhz": "highest memory clock",
    "application_sm_mhz": "SM clock of applications",
    "application_memory_mhz": "memory clock of applications",
}
ERRORS = {
    "ecc_corrected": "corrected ECC errors",
    "ecc_uncorrected": "uncorrected ECC errors",
    "remapped_rows": "remapped rows",
}


def spelled(reasons: int) -> list[str]:
    """Event reasons in words."""
    bits = [1 << place for place in range(reasons.bit_length()) if reasons >> place & 1]
    return [REASONS.get(bit, f"reason {bit:#x}") for bit in bits]


def throttled(uuid: str, reasons: Sequence[int]) -> Mark | None:
    """Clocks were held down, with the share of samples that show it."""
    held = [each & ~NO_THROTTLING for each in reasons]
    seen = 0
    for each in held:
        seen |= each
    if not seen:
        return None
    share = sum(map(bool, held)) / len(held)
    return Mark(kind="throttled", device=uuid, text=f"{', '.join(spelled(seen))} in {share:.0%} of the samples")


def foreign(gpu: GpuSeries, spans: Sequence[Span]) -> Mark | None:
    """Processes that are not the trial's held memory on the GPU."""
    names: dict[str, str] = {}
    for look in looks_near(gpu, spans):
        names |= look["foreign"]
    listed = ", ".join(f"{name} ({pid})" for pid, name in names.items())
    return Mark(kind="foreign_process", device=gpu.before["uuid"], text=listed) if names else None


def unseen(gpu: GpuSeries, spans: Sequence[Span]) -> str | None:
    """A note of processes on the GPU that may be the trial's own or not: their ids mean nothing here."""
    ids = {pid for look in looks_near(gpu, spans) for pid in look["unseen"]}
    listed = ", ".join(map(str, sorted(ids)))
    return (
        f"{gpu.before['uuid']}: processes {listed} cannot be seen from here, whose they are is unknown" if ids else None
    )


def looks_near(gpu: GpuSeries, spans: Sequence[Span]) -> Iterator[dict[str, Any]]:
    """The looks at a GPU's processes that tell of a window."""
    wide = union((start - BESIDE_NS, end + BESIDE_NS) for start, end in spans)
    return (look for moment, look in gpu.looks if look is not None and covers(wide, moment))


def foreign_cpu(foreign_s: float | None, window_s: float, cpus: int) -> Mark | None:
    """Others took a good part of the processors."""
    if foreign_s is None or not window_s or foreign_s / window_s < FOREIGN_SHARE * cpus:
        return None
    return Mark(kind="foreign_process", text=f"{foreign_s / window_s:.1f} of {cpus} processors")


def stolen_cpu(stolen_s: float | None, worked_s: float | None, window_s: float) -> Mark | None:
    """The machine is a virtual one, and others on the same hardware were given its processors.

    Args:
        stolen_s: processor time in which something was ready to run here and did not; the kernel does not say what.
        worked_s: processor time in which something ran here.
        window_s: how long both were counted.
    """
    if stolen_s is None or worked_s is None or stolen_s < STOLEN_LEAST * window_s:
        return None
    wanted_s = worked_s + stolen_s
    if stolen_s < STOLEN_SHARE * wanted_s or not wanted_s:
        return None
    return Mark(kind="stolen_time", text=f"{stolen_s / wanted_s:.1%} of the wanted processor time")


def changes(gpu: GpuSeries) -> list[Mark]:
    """What differs between the trial's begin and its end, or was lost on the way."""
    uuid, marks = gpu.before["uuid"], []
    if gpu.after.get("lost"):
        marks.append(Mark(kind="device_lost", device=uuid, text=gpu.after["lost"]))
    clocks = [f"{words} {was} to {now} MHz" for name, words in CLOCKS.items() for was, now in differing(gpu, name)]
    if clocks:
        marks.append(Mark(kind="clock_change", device=uuid, text="; ".join(clocks)))
    for was, now in differing(gpu, "power_limit_mw"):
        marks.append(Mark(kind="power_limit_change", device=uuid, text=f"{was / 1000:g} to {now / 1000:g} W"))
    errors = [f"{now - was} {words}" for name, words in ERRORS.items() for was, now in differing(gpu, name)]
    if errors:
        marks.append(Mark(kind="ecc", device=uuid, text=", ".join(errors)))
    return marks


def differing(gpu: GpuSeries, name: str) -> list[tuple[int, int]]:
    """A setting or count at begin and end, where both are known and not the same."""
    was, now = gpu.before.get(name), gpu.after.get(name)
    return [] if was is None or now is None or was == now else [(was, now)]


def gap(longest_ns: int, interval_ns: int) -> Mark | None:
    """Nothing was sampled for too long inside a window."""
    if longest_ns <= LONGEST_GAP * interval_ns:
        return None
    return Mark(kind="gap", text=f"{longest_ns / 1e9:.2g} s")
