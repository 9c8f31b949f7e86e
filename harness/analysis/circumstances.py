"""Outcomes, provenance and the summary: what ran, where, when, and how it ended."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta

from harness.analysis.accuracy import PHASES
from harness.analysis.details import framework_versions, setup_facts
from harness.analysis.metrics import compiling, compiling_note, imported
from harness.analysis.observed import marks, marks_note
from harness.analysis.points import KERNELS, Group, machine_label, points
from harness.analysis.rows import FELL_BACK, Fact, FactGroup, OutcomeRow, Point, Summary
from harness.analysis.simulated import has_numbers, simulated_devices, why_simulated
from harness.schema.causes import Cause
from harness.schema.result import OutcomeKind, TrialResult


def outcome_rows(results: Sequence[TrialResult]) -> tuple[OutcomeRow, ...]:
    """One row per point, kind of outcome and reason."""
    return tuple(row for phase in PHASES for group, point in points(results, phase) for row in outcomes(group, point))


def outcomes(group: Group, point: Point) -> list[OutcomeRow]:
    """How the trials of one point ended."""
    found: dict[tuple[OutcomeKind, Cause | None, str | None], list[TrialResult]] = {}
    for result in group.results:
        ended = result.outcome
        found.setdefault((ended.kind, ended.cause, ended.reason), []).append(result)
    return [
        OutcomeRow(
            point=point,
            kind=kind,
            cause=cause,
            reason=reason,
            note=outcome_note(members) if kind == "ok" else None,
            evidence=members[0].outcome.evidence,
            peak_memory_bytes=None if kind == "ok" else most_held(members),
            trials=len(members),
            duration_s=sum(member.duration_s for member in members),
            trial_ids=tuple(member.trial_id for member in members),
        )
        for (kind, cause, reason), members in found.items()
    ]


def outcome_note(members: Sequence[TrialResult]) -> str | None:
    """What a reader of these trials' numbers must know."""
    fallbacks = dict.fromkeys(words for member in members if FELL_BACK in (words := member.settings.get(KERNELS, "")))
    simulated = Counter(name for member in members if (name := why_simulated(member)))
    real = [member for member in members if not why_simulated(member)]
    notes = [
        *(f"{name}{some_of(count, members)}: no numbers" for name, count in simulated.items()),
        compiling_note(compiling(real)),
        *(f"kernels: {words}" for words in fallbacks),
        marks_note(real),
        *imported(members),
    ]
    return "; ".join(note for note in notes if note) or None


def most_held(members: Sequence[TrialResult]) -> int | None:
    """Most that a process of any of these trials is known to have held."""
    return max((held for each in members if (held := each.outcome.peak_memory_bytes) is not None), default=None)


def some_of(count: int, members: Sequence[TrialResult]) -> str:
    """How many of some trials, where it is not all."""
    return "" if count == len(members) else f" in {count} of {len(members)} trials"


def provenance_facts(results: Sequence[TrialResult]) -> tuple[Fact, ...]:
    """Every circumstance that results depend on, with the number of trials behind each value."""
    found: dict[tuple[FactGroup, str], Counter[str]] = {}
    for result in results:
        for group, name, value in facts(result):
            found.setdefault((group, name), Counter())[value] += 1
    order = list(dict.fromkeys(group for group, _ in found))
    return tuple(
        Fact(group=group, name=name, values=dict(values), mixed=len(values) > 1 and must_agree(group, name))
        for (group, name), values in sorted(found.items(), key=lambda item: order.index(item[0][0]))
    )


def must_agree(group: FactGroup, name: str) -> bool:
    """Whether differing values make trials hard to compare: seeds, dates and what backends chose may differ."""
    return group != "backend" and (group, name) not in {("run", "seed"), ("run", "date"), ("run", "command")}


def facts(result: TrialResult) -> Iterable[tuple[FactGroup, str, str]]:
    """Group, name and value of each circumstance of one trial; unknown ones are left out."""
    yield from (("run", name, value) for name, value in run_facts(result))
    yield from (("machine", name, value) for name, value in machine_facts(result))
    source = result.provenance
    if source is not None:
        yield from (("software", name, value) for name, value in source.packages.items())
        yield from (("software", name, value) for name, value in framework_versions(source))
        yield from (("environment", name, value) for name, value in source.environment.items())
        yield from (("data", f"SHA-256 of {role}", value) for role, value in source.data_fingerprints.items())
    yield "data", f"{result.trial.phase} set", data_set(result)
    yield from (("backend", f"{result.trial.backend}: {name}", value) for name, value in result.settings.items())


def data_set(result: TrialResult) -> str:
    """The set that a trial works on."""
    return result.trial.data.train if result.trial.phase == "train" else result.trial.data.val


def run_facts(result: TrialResult) -> Iterable[tuple[str, str]]:
    """When and from what a trial was started."""
    yield "matrix", result.matrix_name
    yield "date", result.started_at.date().isoformat()
    yield "seed", str(result.trial.seed)
    source = result.provenance
    if source is not None:
        state = {True: ", with uncommitted changes", False: "", None: ", state unknown"}[source.git_dirty]
        yield "harness version", source.harness_version
        yield "git commit", "unknown" if source.git_commit is None else source.git_commit + state
        yield "command", " ".join(source.command)
        yield "containment", source.containment


def machine_facts(result: TrialResult) -> Iterable[tuple[str, str]]:
    """Where a trial ran."""
    machine = result.machine
    yield "host", machine.hostname
    yield "system", f"{machine.os}, kernel {machine.kernel}, {machine.architecture}"
    yield "processor", f"{machine.cpu_model or 'unknown'}, {machine.cpu_cores or 'unknown'} cores"
    if machine.memory_bytes is not None:
        yield "memory", f"{machine.memory_bytes / 2**30:.1f} GiB"
    yield "python", machine.python
    yield "GPUs", gpu_list(result)
    if machine.gpu_driver is not None:
        yield "GPU driver", machine.gpu_driver
    yield from setup_facts(machine, result.provenance)


def gpu_list(result: TrialResult) -> str:
    """The GPUs of a machine, or why there is none."""
    counts = Counter(gpu.name for gpu in result.machine.gpus)
    listed = ", ".join(f"{number} × {name}" for name, number in counts.items())
    return listed or f"none ({result.machine.gpu_note or 'no reason recorded'})"


def summary(results: Sequence[TrialResult], provenance: Sequence[Fact]) -> Summary:
    """What a reader wants to know first."""
    return Summary(
        matrices=tuple(dict.fromkeys(result.matrix_name for result in results)),
        backends=tuple(dict.fromkeys(result.trial.backend for result in results)),
        phases=tuple(phase for phase in PHASES if any(result.trial.phase == phase for result in results)),
        machines=tuple(dict.fromkeys(machine_label(result.machine) for result in results)),
        started_at=min((result.started_at for result in results), default=None),
        ended_at=max((result.started_at + timedelta(seconds=result.duration_s) for result in results), default=None),
        trials=len(results),
        outcomes=dict(Counter(result.outcome.kind for result in results)),
        duration_s=sum(result.duration_s for result in results),
        mixed=tuple(fact.name for fact in provenance if fact.mixed),
        rehearsed=sum(result.trial.rehearsal for result in results),
        fell_back=sum(FELL_BACK in result.settings.get(KERNELS, "") for result in results),
        marked={mark.kind: mark.trials for mark in marks([result for result in results if has_numbers(result)])},
        fake_devices=tuple(sorted({name for result in results for name in simulated_devices(result)})),
    )
