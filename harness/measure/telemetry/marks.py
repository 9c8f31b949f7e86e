"""What a reader of a trial's numbers must know about the machine while they were taken."""

from collections.abc import Sequence

from harness.measure.telemetry.loading import GpuSeries
from harness.measure.telemetry.spans import Span
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
"""Of them too: what a hypervisor takes comes out of the trial's own steps."""
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
    for moment, look in gpu.looks:
        if look is not None and near(moment, spans):
            names |= look["foreign"]
    listed = ", ".join(f"{name} ({pid})" for pid, name in names.items())
    return Mark(kind="foreign_process", device=gpu.before["uuid"], text=listed) if names else None


def unseen(gpu: GpuSeries, spans: Sequence[Span]) -> str | None:
    """A note of processes on the GPU that may be the trial's own or not: their ids mean nothing here."""
    ids = {pid for moment, look in gpu.looks if look is not None and near(moment, spans) for pid in look["unseen"]}
    listed = ", ".join(map(str, sorted(ids)))
    return (
        f"{gpu.before['uuid']}: processes {listed} cannot be seen from here, whose they are is unknown" if ids else None
    )


def near(moment: int, spans: Sequence[Span]) -> bool:
    """Whether a look tells of a window."""
    return any(start - BESIDE_NS <= moment <= end + BESIDE_NS for start, end in spans)


def foreign_cpu(foreign_s: float | None, window_s: float, cpus: int) -> Mark | None:
    """Others took a good part of the processors."""
    if foreign_s is None or not window_s or foreign_s / window_s < FOREIGN_SHARE * cpus:
        return None
    return Mark(kind="foreign_process", text=f"other processes took {foreign_s / window_s:.1f} of {cpus} processors")


def stolen_cpu(stolen_s: float | None, window_s: float, cpus: int) -> Mark | None:
    """The machine is a virtual one, and others on the same hardware were given its processors."""
    if stolen_s is None or not window_s or stolen_s / window_s < STOLEN_SHARE * cpus:
        return None
    taken = f"{stolen_s / window_s:.2g} of {cpus} processors"
    return Mark(kind="stolen_time", text=f"the hypervisor gave {taken} to other machines while work was waiting here")


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
    return Mark(kind="gap", text=f"no sample for {longest_ns / 1e9:.2g} s inside a window")
