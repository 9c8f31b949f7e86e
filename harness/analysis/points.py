"""Trials that belong to one row, and how rows are told apart."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.analysis.rows import Point
from harness.analysis.simulated import has_numbers, why_no_numbers
from harness.schema.result import TrialResult
from harness.schema.system import Machine
from harness.schema.trial import Phase, Trial

REPLICATION = frozenset({"seed", "repeat"})
WITHOUT_EFFECT = frozenset({"timeout_s", "save_weights", "probe"})
OF_TRAINING: dict[str, Any] = {"evaluate": True, "evaluate_every_steps": True, "target": True, "data": {"train"}}
"""Settings that other phases do not read."""
NESTED = frozenset({"data.train", "data.val", "target.bbox_ap", "target.segm_ap"})
KERNELS = "kernels"
"""An option of backends, and what they say that they ran on."""
OWN_COLUMN = frozenset(
    {
        "backend",
        "phase",
        "device",
        "gpus",
        "nodes",
        "batch_size_per_gpu",
        "precision",
        "xla",
        "gradient_accumulation_steps",
        KERNELS,
    }
)

IN_SUMMARY = frozenset({"matrix", "machine", "rehearsal"})


def machine_label(machine: Machine) -> str:
    """A machine in brief: GPUs with their number, and the processor."""
    counts = Counter(gpu.name for gpu in machine.gpus)
    return ", ".join([*(f"{number} × {name}" for name, number in counts.items()), processor(machine)])


def machine_kind(machine: Machine) -> str:
    """What makes two machines alike: how many of its GPUs are visible may differ from trial to trial."""
    return ", ".join([*sorted({gpu.name for gpu in machine.gpus}), processor(machine)])


def processor(machine: Machine) -> str:
    """Processor and number of its cores."""
    if machine.cpu_cores is None:
        return f"{machine.hostname}, not described"
    return f"{machine.cpu_model or machine.architecture}, {machine.cpu_cores} cores"


@dataclass(frozen=True)
class Group:
    """The trials of one point: equal but for seed and repeat, on one kind of machine."""

    results: tuple[TrialResult, ...]

    @property
    def trial(self) -> Trial:
        """The trial that stands for all."""
        return self.results[0].trial

    @cached_property
    def ok(self) -> tuple[TrialResult, ...]:
        """The trials that have numbers: they went well, on real devices."""
        return tuple(result for result in self.results if has_numbers(result))

    @cached_property
    def settings(self) -> dict[str, str]:
        """All that identifies the point, flat, as text."""
        return identity(self.results[0])

    def without(self, *names: str) -> str:
        """The identity less some settings: equal for groups that differ in nothing else."""
        return json.dumps({name: value for name, value in self.settings.items() if name not in names}, sort_keys=True)


def identity(result: TrialResult) -> dict[str, str]:
    """Name and value of every setting that makes a trial another point."""
    unread = {} if result.trial.phase == "train" else OF_TRAINING
    fields = result.trial.model_dump(exclude={**dict.fromkeys(REPLICATION | WITHOUT_EFFECT, True), **unread})
    flat = {name: as_text(value) for name, value in flatten(fields)}
    return flat | {"matrix": result.matrix_name, "machine": machine_kind(result.machine)}


def flatten(fields: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    """Nested fields as dotted names, options under their own name; unset ones are left out."""
    for name, value in fields.items():
        if isinstance(value, dict):
            prefix = "" if name == "options" else f"{name}."
            yield from ((prefix + inner, inner_value) for inner, inner_value in flatten(value))
        elif value is not None:
            yield name, value


def as_text(value: Any) -> str:
    """Spell a setting as a matrix file does."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def group(results: Iterable[TrialResult], phase: Phase) -> tuple[Group, ...]:
    """Put the trials of a phase into groups: those of one model together, of one backend together, then as they came.

    Models, backends and groups stand in the order in which they first appear.
    """
    found: dict[str, list[TrialResult]] = {}
    order: dict[str, dict[str, None]] = {}
    for result in results:
        order.setdefault(model_of(result), {}).setdefault(result.trial.backend)
        if result.trial.phase == phase:
            found.setdefault(json.dumps(identity(result), sort_keys=True), []).append(result)
    places = {name: place for place, name in enumerate(name for names in order.values() for name in names)}
    groups = [Group(tuple(members)) for members in found.values()]
    return tuple(sorted(groups, key=lambda each: places[each.trial.backend]))


def model_of(result: TrialResult) -> str:
    """The model of a trial's backend; one that does not tell is a model of its own."""
    source = result.provenance
    return source.model if source and source.model else result.trial.backend


def varying(groups: Sequence[Group]) -> dict[str, frozenset[str]]:
    """By backend, the settings without a column that tell its rows from others.

    A backend's own options are compared among its rows only; what every trial has is compared among all rows.
    """
    shared = set(Trial.model_fields) | {"matrix", "machine"} | NESTED
    over_all = differing(groups) & shared
    backends = dict.fromkeys(each.trial.backend for each in groups)
    return {
        backend: frozenset(
            (over_all | differing([each for each in groups if each.trial.backend == backend])) - OWN_COLUMN
        )
        for backend in backends
    }


def differing(groups: Sequence[Group]) -> set[str]:
    """Names of settings that do not have one value in all groups."""
    names = {name for each in groups for name in each.settings}
    return {name for name in names if len({each.settings.get(name) for each in groups}) > 1}


def common_settings(groups: Sequence[Group]) -> dict[str, str]:
    """Settings without a column that all rows share; one that not every backend has stands as `backend: name`."""
    names = varying(groups)
    found: dict[str, str] = {}
    for backend, varied in names.items():
        mine = [each for each in groups if each.trial.backend == backend]
        in_columns = OWN_COLUMN - {KERNELS} | differing(mine)
        for name, value in sorted(mine[0].settings.items()):
            if name not in varied | in_columns | IN_SUMMARY:
                everywhere = all(each.settings.get(name) == value for each in groups)
                found[name if everywhere else f"{backend}: {name}"] = value
    return found


def describe(each: Group, names: frozenset[str]) -> Point:
    """Describe a group as a row shows it; `names` are the settings that vary."""
    trial = each.trial
    devices = sorted({result.device_name for result in each.results if result.device_name})
    return Point(
        backend=trial.backend,
        framework=next((source.framework for result in each.results if (source := result.provenance)), None),
        phase=trial.phase,
        device=trial.device,
        device_name=", ".join(devices) or None,
        nodes=trial.nodes,
        ranks=trial.world_size,
        batch_size_per_gpu=trial.batch_size_per_gpu,
        global_batch_size=trial.global_batch_size,
        gradient_accumulation_steps=trial.gradient_accumulation_steps,
        effective_batch_size=trial.global_batch_size * trial.gradient_accumulation_steps,
        precision=trial.precision,
        xla=trial.xla,
        kernels=kernels_of(each),
        variant={name: each.settings[name] for name in sorted(names) if name in each.settings} | rehearsed(each),
        outcomes=dict(Counter(result.outcome.kind for result in each.results)),
        reason=next((why_no_numbers(result) for result in each.results if not has_numbers(result)), None),
        simulated=sum(result.outcome.kind == "ok" for result in each.results) - len(each.ok),
        trial_ids=tuple(result.trial_id for result in each.results),
    )


def kernels_of(each: Group) -> str | None:
    """What the trials of a point ran on; as long as none has said so, what they ask for."""
    said = dict.fromkeys(result.settings[KERNELS] for result in each.ok or each.results if KERNELS in result.settings)
    return "; ".join(said) or each.settings.get(KERNELS)


def rehearsed(each: Group) -> dict[str, str]:
    """What marks a row as a rehearsal: what ran in its place, and for which other trial, where it ran for one."""
    first = each.results[0]
    if not first.trial.rehearsal:
        return {}
    if first.rehearsal is None:
        return {"rehearsal": "nothing ran"}
    shared = "" if first.rehearsal.run_for == first.trial_id else f", run for {first.rehearsal.run_for[-10:]}"
    return {"rehearsal": f"{first.rehearsal.stand_in.size}{shared}"}


def points(results: Iterable[TrialResult], phase: Phase) -> list[tuple[Group, Point]]:
    """Every group of a phase with its description."""
    groups = group(results, phase)
    names = varying(groups)
    return [(each, describe(each, names[each.trial.backend])) for each in groups]
