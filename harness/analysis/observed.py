"""What telemetry saw of a trial: energy, power, memory of its GPUs, and marks; None where unknown, never 0."""

from collections.abc import Sequence

from harness.analysis.marks import kind_words
from harness.analysis.metrics import spread
from harness.analysis.parts import Marked, Observed
from harness.schema.result import TrialResult
from harness.schema.telemetry import GpuTelemetry, MarkKind

NOT_ON_GPUS = "the trial ran on the CPU"


def observed(results: Sequence[TrialResult]) -> Observed | None:
    """What was sampled during the trials of a point; None where nothing was."""
    if not any(result.telemetry for result in results):
        return None
    held = [device_memory(result) for result in results]
    own = bool(held) and all(each is not None and each[1] for each in held)
    return Observed(
        joules=spread([joules(result) for result in results]),
        images_per_joule=spread([images_per_joule(result) for result in results]),
        no_energy=reasons(results),
        power_w=spread([power_w(result) for result in results]),
        device_memory_bytes=max((each[0] for each in held if each is not None), default=None),
        device_memory_is_own=own if any(held) else None,
        host_joules=spread([host_joules(result) for result in results]),
        marks=marks(results),
    )


def gpus_used(result: TrialResult) -> tuple[GpuTelemetry, ...]:
    """The trial's GPUs as telemetry saw them; empty unless it saw as many as the trial has ranks."""
    seen = result.telemetry.gpus if result.telemetry and result.trial.device == "cuda" else ()
    return seen if len(seen) == result.trial.world_size else ()


def why_no_energy(result: TrialResult) -> str | None:
    """Why the energy of a trial's GPUs is unknown; None where it is known."""
    telemetry, ranks = result.telemetry, result.trial.world_size
    if result.trial.device != "cuda":
        return NOT_ON_GPUS
    if telemetry is None:
        return "nothing was sampled"
    if len(telemetry.gpus) != ranks:
        return f"telemetry of {len(telemetry.gpus)} of {ranks} GPUs" + (f": {telemetry.note}" if telemetry.note else "")
    unknown = next((gpu.energy for gpu in telemetry.gpus if gpu.energy.joules is None), None)
    if unknown is not None:
        return unknown.note or "a GPU has no energy counter"
    return None if joules(result) else "the energy counters stood still"


def reasons(results: Sequence[TrialResult]) -> str | None:
    """Why the first trial without energy has none, and how many others have another reason; None where all have one."""
    found = list(dict.fromkeys(reason for result in results if (reason := why_no_energy(result)) is not None))
    others = f" (other trials, {len(found) - 1} other reasons)" if len(found) > 1 else ""
    return found[0] + others if found else None


def joules(result: TrialResult) -> float | None:
    """Energy of the trial's GPUs over its windows, if every one of them is known."""
    return total([gpu.energy.joules for gpu in gpus_used(result)]) or None


def images_per_joule(result: TrialResult) -> float | None:
    """Images of all windows over the energy of the trial's GPUs."""
    spent, images = joules(result), sum(window.images for window in result.windows)
    return images / spent if spent and images else None


def power_w(result: TrialResult) -> float | None:
    """Mean power of the trial's GPUs together."""
    return total([gpu.power_w.mean if gpu.power_w else None for gpu in gpus_used(result)])


def total(values: Sequence[float | None]) -> float | None:
    """The sum, if there is any value and every one is known."""
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def device_memory(result: TrialResult) -> tuple[int, bool] | None:
    """Most bytes held on any of the trial's GPUs, and whether they are those of its own processes alone.

    Where the driver does not tell processes apart, they are the most that was in use on the device.
    """
    gpus = gpus_used(result)
    own = [gpu.own_memory_bytes for gpu in gpus]
    known = [held for held in own if held is not None]
    if known and len(known) == len(own):
        return max(known), True
    in_use = [gpu.memory_used_bytes.high for gpu in gpus if gpu.memory_used_bytes is not None]
    return (round(max(in_use)), False) if in_use and len(in_use) == len(gpus) else None


def host_joules(result: TrialResult) -> float | None:
    """Energy of the machine's processors over the windows, where they count it."""
    return (result.telemetry.host.energy.joules if result.telemetry else None) or None


def marks(results: Sequence[TrialResult]) -> tuple[Marked, ...]:
    """Each kind of mark with the number of trials that have it, and what the first of them says."""
    found: dict[MarkKind, list[tuple[str, str]]] = {}
    for result in results:
        for mark in result.telemetry.marks if result.telemetry else ():
            found.setdefault(mark.kind, []).append((result.trial_id, mark.text))
    return tuple(
        Marked(
            kind=kind,
            text=said[0][1],
            trials=len({trial for trial, _ in said}),
            of=len(results),
        )
        for kind, said in found.items()
    )


def marks_note(results: Sequence[TrialResult]) -> str | None:
    """The marks of some trials in words."""
    return spell_marks(marks(results))


def spell_marks(found: Sequence[Marked]) -> str | None:
    """Marks in words, None where there is none."""
    return "; ".join(map(spell_mark, found)) or None


def spell_mark(mark: Marked) -> str:
    """One mark, and in how many trials where there are several; then what stands here is of the first."""
    several = f" in {mark.trials} of {mark.of} trials" if mark.of > 1 else ""
    first = ", the first" if mark.trials > 1 else ""
    return f"{kind_words(mark.kind)}{several}{first}: {mark.text}"
