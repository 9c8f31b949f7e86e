"""From a matrix file to a run that can be carried out on this machine."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.data import fingerprint, resolve
from harness.errors import BackendError, MatrixError
from harness.matrix.loading import load_matrix
from harness.matrix.plan import Plan, Point, expand
from harness.matrix.rehearse import rehearsed
from harness.matrix.select import select
from harness.matrix.weights import check_weights
from harness.measure.machine import machine
from harness.measure.provenance import provenance
from harness.plugins import BrokenBackend, backend_entry_points, describe_all
from harness.results.store import Store
from harness.runner.containment import best_containment
from harness.runner.progress import Estimates
from harness.runner.run import Door, Run, Task
from harness.schema.backend import BackendInfo
from harness.schema.result import DataPaths, Outcome
from harness.schema.system import Machine, Provenance
from harness.schema.trial import DataNames, Trial


@dataclass(frozen=True)
class Prepared:
    """A plan and what it was made from."""

    name: str
    plan: Plan
    backends: Mapping[str, BackendInfo]
    machine: Machine


def prepare(
    matrix_path: Path, only: str | None = None, timeout_s: float | None = None, *, rehearse: bool = False
) -> Prepared:
    """Read a matrix, ask the backends and look at the machine.

    Args:
        matrix_path: the matrix file.
        only: an expression that selects points.
        timeout_s: overrides that of each trial.
        rehearse: a small stand-in for each point, under a name of its own.

    Raises:
        MatrixError: the file, or the selection, is wrong.
        BackendError: the matrix names a backend that is installed and broken.
    """
    matrix = load_matrix(matrix_path)
    backends, broken = describe_all()
    refuse_broken({block.backend for block in matrix.trials}, broken)
    here = machine()
    plan = expand(matrix, backends, here)
    if rehearse:
        plan = rehearsed(plan, backends, here)
    if only is not None:
        plan = select(plan, only)
    if timeout_s is not None:
        plan = Plan(tuple(with_timeout(point, timeout_s) for point in plan.points))
    if not plan.points:
        raise MatrixError(f"{matrix_path}: the matrix has no points")
    return Prepared(f"{matrix.name}-rehearsal" if rehearse else matrix.name, plan, backends, here)


def with_timeout(point: Point, timeout_s: float) -> Point:
    """The same point with another time-out."""
    update = {"timeout_s": timeout_s}
    stand_in = point.stand_in and point.stand_in.model_copy(update=update)
    return point._replace(trial=point.trial.model_copy(update=update), stand_in=stand_in)


def refuse_broken(wanted: Iterable[str], broken: Iterable[BrokenBackend]) -> None:
    """A broken backend harms only the matrices that name it.

    Raises:
        BackendError: one of the wanted backends is broken.
    """
    wanted = set(wanted)
    for backend in broken:
        if backend.name in wanted:
            raise BackendError(backend.reason)


def make_run(prepared: Prepared, store: Store) -> tuple[Run, list[Task]]:
    """Everything the trials share: doors to the backends, data on the disk, provenance.

    Raises:
        DataError: a data set is missing or cannot be generated.
        MatrixError: a trial reads weights that will not be there.
    """
    check_weights(prepared.plan, store.weights_names())
    tasks = [task_of(point) for point in prepared.plan.points]
    trials = [task.work for task in tasks if task.declined is None]
    data = resolve_data(trials)
    entry_points = backend_entry_points()
    names = {task.trial.backend for task in tasks}
    doors = {name: Door(entry_points[name].value, prepared.backends[name].launchers) for name in names}
    fingerprints = fingerprints_of(data)
    records = {name: provenance_of(prepared.backends[name], fingerprints) for name in names}
    return Run(prepared.name, store, doors, data, prepared.machine, records), tasks


def provenance_of(info: BackendInfo, fingerprints: Mapping[str, str]) -> Provenance:
    """What the results of one backend depend on besides their trials."""
    command = ("harness", *sys.argv[1:])
    found = provenance(info.distributions, command, best_containment().name, fingerprints)
    return found.model_copy(update={"framework": info.framework, "model": info.model})


def task_of(point: Point) -> Task:
    """What to do about a point."""
    if point.dropped_by is not None:
        return Task(point.trial, Outcome(kind="skipped", reason=point.dropped_by))
    if point.unsupported is not None:
        return Task(point.trial, Outcome(kind="unsupported", reason=point.unsupported))
    return Task(point.trial, stand_in=point.stand_in)


def resolve_data(trials: Iterable[Trial]) -> dict[DataNames, DataPaths]:
    """Resolve every name of data once, before the first trial; coco-mini is generated here, outside any clock.

    A set that a phase does not read is resolved all the same: a typo is better known before the first hour of training.
    """
    names = dict.fromkeys(trial.data for trial in trials)
    return {name: DataPaths(train=resolve(name.train), val=resolve(name.val)) for name in names}


def fingerprints_of(data: Mapping[DataNames, DataPaths]) -> dict[str, str]:
    """SHA-256 of every annotation file, by the set's name in the matrix."""
    references: dict[str, str] = {}
    for names, paths in data.items():
        references |= {names.train: paths.train, names.val: paths.val}
    return {name: fingerprint(path) for name, path in sorted(references.items())}


def known_estimates(store: Store) -> Estimates:
    """Durations of the trials that a store has; an empty one knows nothing."""
    estimates = Estimates()
    for result in store.load_all():
        estimates.add(result)
    return estimates
