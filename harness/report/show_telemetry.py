"""One trial's telemetry in plain text: energy, power, clocks, memory of each GPU and of the host, and marks."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from harness.analysis.marks import MEANINGS, kind_words
from harness.analysis.observed import images_per_joule, why_no_energy
from harness.report import format as spell
from harness.schema.result import TrialResult
from harness.schema.telemetry import Energy, Extent, GpuTelemetry, HostTelemetry, Telemetry
from harness.units import format_bytes

Lines = Iterable[tuple[str, str]]
T = TypeVar("T")


def telemetry_lines(result: TrialResult) -> Lines:
    """How it was sampled, marks, energy efficiency, each GPU, the host; what is unknown is left out."""
    telemetry = result.telemetry
    if telemetry is None:
        return
    yield from sampling_lines(telemetry)
    for mark in telemetry.marks:
        device = f" ({mark.device})" if mark.device else ""
        yield f"mark: {kind_words(mark.kind)}", f"{mark.text}{device}: {MEANINGS[mark.kind]}"
    if result.trial.device == "cuda":
        found = images_per_joule(result)
        why = f"unknown: {why_no_energy(result) or 'no image was counted'}"
        yield "images per joule", why if found is None else spell.significant(found)
    for number, gpu in enumerate(telemetry.gpus):
        yield from ((f"GPU {number}: {name}" if name else f"GPU {number}", text) for name, text in gpu_lines(gpu))
    yield from ((f"host: {name}", text) for name, text in host_lines(telemetry.host))


def sampling_lines(telemetry: Telemetry) -> Lines:
    """When samples were taken, what that took, and why there is less than there should be."""
    taken = f"{telemetry.samples} in {spell.significant(telemetry.window_s)} s of windows, "
    yield (
        "samples",
        f"{taken}every {telemetry.interval_s:g} s, longest gap {spell.significant(telemetry.longest_gap_s)} s",
    )
    if telemetry.sampler_cpu_s is not None:
        yield "sampling took", f"{spell.significant(telemetry.sampler_cpu_s)} s of CPU time"
    if telemetry.driver:
        yield "driver", telemetry.driver
    if telemetry.samples_file:
        yield "raw samples", telemetry.samples_file
    if telemetry.note:
        yield "note", telemetry.note


def gpu_lines(gpu: GpuTelemetry) -> Lines:
    """All that one GPU told; names without the GPU's number, the first is empty."""
    yield "", f"{gpu.name}, {gpu.uuid}, {gpu.samples} samples"
    yield "energy", spell_energy(gpu.energy)
    yield from quantity("power, W", gpu.power_w, and_then=gpu.power_source)
    yield from known("power limit, W", gpu.power_limit_w, spell.significant)
    yield from quantity("SM clock, MHz", gpu.sm_clock_mhz)
    yield from quantity("memory clock, MHz", gpu.memory_clock_mhz)
    yield from quantity("temperature, °C", gpu.temperature_c)
    yield from quantity("memory temperature, °C", gpu.memory_temperature_c)
    if gpu.utilization_fraction is not None:
        yield "some kernel ran", f"{spell.percent(gpu.utilization_fraction.mean)} % of the time"
    yield from quantity("memory in use", gpu.memory_used_bytes, spelled=format_bytes)
    yield from known("memory of its own", gpu.own_memory_bytes, format_bytes)
    if gpu.event_reasons is not None:
        yield "clocks held down by", ", ".join(gpu.event_reasons) or "nothing"
    yield from traffic("PCIe", gpu.pcie_sent_bytes, gpu.pcie_received_bytes)
    yield from traffic("NVLink", gpu.nvlink_sent_bytes, gpu.nvlink_received_bytes)
    for name, count in (("corrected", gpu.ecc_corrected), ("uncorrected", gpu.ecc_uncorrected)):
        yield from known(f"{name} ECC errors", count, str)
    yield from known("remapped rows", gpu.remapped_rows, str)
    yield from known("MIG", gpu.mig, spell.yes_no)
    yield from known("persistence", gpu.persistence, spell.yes_no)


def host_lines(host: HostTelemetry) -> Lines:
    """All that the machine itself told."""
    yield "energy", spell_energy(host.energy)
    yield from quantity("busy cores", host.busy_cores)
    for name, spent_s in (
        ("CPU time of the trial", host.own_cpu_s),
        ("CPU time of runner and sampler", host.runner_cpu_s),
        ("CPU time of all else", host.foreign_cpu_s),
        ("stolen CPU time", host.stolen_cpu_s),
    ):
        yield from known(name, spent_s, lambda value: f"{spell.significant(value)} s")
    yield from quantity("memory in use", host.memory_used_bytes, spelled=format_bytes)
    yield from known("memory of the trial", host.own_memory_bytes, format_bytes)
    yield from quantity("clock, MHz", host.clock_mhz)


def spell_energy(energy: Energy) -> str:
    """Joules and where they are from, or why they are unknown."""
    if energy.joules is None:
        return f"unknown: {energy.note or 'no reason recorded'}"
    off = "" if energy.uncertainty is None else f" ± {100 * energy.uncertainty:.2g} %"
    source = f" by {energy.source}" if energy.source else ""
    note = f"; {energy.note}" if energy.note else ""
    return f"{spell.significant(energy.joules)} J{off}{source}, {energy.readings} readings{note}"


def quantity(
    name: str,
    extent: Extent | None,
    *,
    spelled: Callable[[float], str] = spell.significant,
    and_then: str | None = None,
) -> Lines:
    """Mean, lowest and highest; nothing where it is unknown."""
    if extent is not None:
        added = f"; {and_then}" if and_then else ""
        yield name, f"{spelled(extent.mean)} ({spelled(extent.low)} to {spelled(extent.high)}){added}"


def known(name: str, value: T | None, spelled: Callable[[T], str]) -> Lines:
    """One value; nothing where it is unknown."""
    if value is not None:
        yield name, spelled(value)


def traffic(name: str, sent: float | None, received: float | None) -> Lines:
    """Bytes both ways."""
    parts = [
        f"{format_bytes(size)} {way}" for size, way in ((sent, "sent"), (received, "received")) if size is not None
    ]
    if parts:
        yield name, ", ".join(parts)
