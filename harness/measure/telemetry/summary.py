"""From the raw samples of a trial and the moments of its windows to one record."""

from collections.abc import Sequence
from pathlib import Path

from harness.measure.telemetry import marks
from harness.measure.telemetry.energy import RAPL_TICK_NS, Counter, energy, unwrapped
from harness.measure.telemetry.loading import GpuSeries, Loaded, load
from harness.measure.telemetry.spans import Span, covers, extent, growth, length, longest_gap, union
from harness.schema.telemetry import Energy, GpuTelemetry, HostTelemetry, Mark, Telemetry
from harness.units import NS_PER_S

MICROJOULES = 1_000_000
NO_SPANS = "no timed window with its moments"


def summarise(path: Path, windows: Sequence[Span], sampler_cpu_s: float | None, note: str | None = None) -> Telemetry:
    """What was sampled inside the windows.

    Args:
        path: the sampler's file.
        windows: start and end of every stretch of every rank, on CLOCK_MONOTONIC in nanoseconds.
        sampler_cpu_s: what the sampler says that it took.
        note: what went wrong besides.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no file of samples.
    """
    loaded, spans = load(path), union(windows)
    interval_ns, longest_ns = loaded.header["interval_ns"], longest_gap(loaded.times, spans)
    window_s = length(spans) / NS_PER_S
    host = host_of(loaded, spans)
    gpus = [gpu_of(gpu, loaded, spans) for gpu in loaded.gpus]
    everywhere = [
        marks.gap(longest_ns, interval_ns),
        marks.foreign_cpu(host.foreign_cpu_s, window_s, loaded.header["cpus"]),
        marks.stolen_cpu(host.stolen_cpu_s, growth(loaded.times, loaded.host["busy_s"], spans), window_s),
    ]
    return Telemetry(
        interval_s=interval_ns / NS_PER_S,
        samples=inside(loaded.times, spans),
        longest_gap_s=longest_ns / NS_PER_S,
        window_s=window_s,
        sampler_cpu_s=sampler_cpu_s,
        driver=loaded.header["driver"],
        gpus=tuple(gpu for gpu, _ in gpus),
        host=host,
        marks=tuple(mark for each in (*(found for _, found in gpus), everywhere) for mark in each if mark is not None),
        note=note_of(loaded, spans, note),
    )


def note_of(loaded: Loaded, spans: Sequence[Span], note: str | None) -> str | None:
    """Why there is less than there should be."""
    notes = [note, *loaded.header["notes"]]
    notes += [None if spans else NO_SPANS, None if loaded.whole or note else "the samples end before the trial did"]
    notes += [marks.unseen(gpu, spans) for gpu in loaded.gpus]
    return "; ".join(each for each in notes if each) or None


def inside(times: Sequence[int], spans: Sequence[Span]) -> int:
    """How many moments are inside spans."""
    return sum(covers(spans, time) for time in times)


def host_of(loaded: Loaded, spans: Sequence[Span]) -> HostTelemetry:
    """The machine over the windows."""
    times, rows = loaded.times, loaded.host
    busy, own, harness = (growth(times, rows[name], spans) for name in ("busy_s", "own_s", "harness_s"))
    known = busy is not None and own is not None and harness is not None
    memory = [value for value, time in zip(rows["own_memory_bytes"], times, strict=True) if value is not None]
    return HostTelemetry(
        busy_cores=extent(times, rates(times, rows["busy_s"]), spans),
        stolen_cpu_s=growth(times, rows["stolen_s"], spans),
        own_cpu_s=own,
        # Each of the three is counted in whole ticks, so what is left of them may come out a little below nothing.
        foreign_cpu_s=max(0.0, (busy or 0) - (own or 0) - (harness or 0)) if known else None,
        runner_cpu_s=harness,
        memory_used_bytes=extent(times, rows["memory_used_bytes"], spans),
        own_memory_bytes=round(max(memory)) if memory else None,
        clock_mhz=extent(times, rows["clock_mhz"], spans),
        energy=host_energy(loaded, spans),
    )


def host_energy(loaded: Loaded, spans: Sequence[Span]) -> Energy:
    """Energy of the processors' packages."""
    if loaded.header["no_energy"] is not None:
        return Energy(joules=None, note=loaded.header["no_energy"])
    counts = unwrapped(loaded.packages, loaded.header["wraps_uj"])
    source = f"RAPL, {len(loaded.header['wraps_uj'])} packages"
    return energy(loaded.times, counts, spans, Counter(source, RAPL_TICK_NS, MICROJOULES))[0]


def rates(times: Sequence[int], counts: Sequence[float | None]) -> list[float | None]:
    """How fast a count in seconds grew up to each sample, per second."""
    found: list[float | None] = [None] if times else []
    for at in range(1, len(times)):
        before, after, took = counts[at - 1], counts[at], (times[at] - times[at - 1]) / NS_PER_S
        found.append(None if before is None or after is None or after < before else (after - before) / took)
    return found


def gpu_of(gpu: GpuSeries, loaded: Loaded, spans: Sequence[Span]) -> tuple[GpuTelemetry, list[Mark | None]]:
    """One GPU over the windows, and its marks."""
    times, rows, uuid = loaded.times, gpu.rows, gpu.before["uuid"]
    sources = gpu.after.get("sources", {})
    spent, fault = energy(loaded.beats, gpu.energy["mj"], spans, Counter(sources.get("energy")))
    shown = zip(times, rows["reasons"], strict=True)
    reasons = [int(value) for time, value in shown if value is not None and covers(spans, time)]
    answers = zip(times, rows["energy_mj"], rows["power_mw"], rows["temperature_c"], strict=True)
    answered = [time for time, *values in answers if values != [None, None, None]]
    kept = {name: extent(times, rows[column], spans, scale) for name, (column, scale) in EXTENTS.items()}
    telemetry = GpuTelemetry(
        uuid=uuid,
        name=gpu.before["name"],
        samples=inside(answered, spans),
        energy=spent,
        power_source=sources.get("power"),
        power_limit_w=None if (limit := gpu.before.get("power_limit_mw")) is None else limit / 1000,
        own_memory_bytes=own_memory(gpu),
        event_reasons=tuple(marks.spelled(union_of(reasons))) if reasons else None,
        mig=gpu.before.get("mig"),
        persistence=None if (mode := gpu.before.get("persistence")) is None else bool(mode),
        **kept,
        **{name: growth(times, rows[name], spans) for name in COUNTERS},
        **{name: came(gpu, name) for name in marks.ERRORS},
    )
    broken = Mark(kind="counter", device=uuid, text=fault) if fault else None
    return telemetry, [marks.throttled(uuid, reasons), marks.foreign(gpu, spans), broken, *marks.changes(gpu)]


EXTENTS = {
    "power_w": ("power_mw", 1e-3),
    "sm_clock_mhz": ("sm_clock_mhz", 1.0),
    "memory_clock_mhz": ("memory_clock_mhz", 1.0),
    "temperature_c": ("temperature_c", 1.0),
    "memory_temperature_c": ("memory_temperature_c", 1.0),
    "utilization_fraction": ("utilization_percent", 1e-2),
    "memory_used_bytes": ("memory_used_bytes", 1.0),
}
"""The column and its scale, by field."""
COUNTERS = ("pcie_sent_bytes", "pcie_received_bytes", "nvlink_sent_bytes", "nvlink_received_bytes")


def union_of(reasons: Sequence[int]) -> int:
    """All reasons that any sample shows."""
    seen = 0
    for each in reasons:
        seen |= each
    return seen


def own_memory(gpu: GpuSeries) -> int | None:
    """Most that the trial's processes held on the GPU at any look; None where no look tells."""
    held = [look["own"] for _, look in gpu.looks if look is not None and look["own"] is not None]
    return max(held) if held else None


def came(gpu: GpuSeries, name: str) -> int | None:
    """How many errors came during the trial."""
    was, now = gpu.before.get(name), gpu.after.get(name)
    return None if was is None or now is None else now - was
