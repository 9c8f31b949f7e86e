"""From a matrix file to a run that can be carried out on this machine."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.data import fingerprint, resolve
from harness.errors import BackendError, MatrixError
from harness.matrix.loading import matrix_of, read_matrix
from harness.matrix.model import AfterOutOfMemory
from harness.matrix.plan import Plan, Point, expand
from harness.matrix.rehearse import rehearsed
from harness.matrix.select import select
from harness.matrix.weights import check_weights
from harness.measure.details import with_details
from harness.measure.machine import machine
from harness.measure.provenance import MatrixFile
from harness.plugins import BrokenBackend, backend_entry_points, describe_all
from harness.results.store import Store
from harness.runner.progress import Estimates
from harness.runner.provenance import provenance_of, shared_provenance
from harness.runner.run import Door, Run, Task
from harness.schema.backend import BackendInfo
from harness.schema.record import spelled_out
from harness.schema.result import DataPaths, Outcome
from harness.schema.system import Machine
from harness.schema.trial import DataNames, Trial


@dataclass(frozen=True)
class Prepared:
    """A plan and what it was made from."""

    name: str
    plan: Plan
    backends: Mapping[str, BackendInfo]
    machine: Machine
    matrix_path: Path
    matrix_data: bytes
    """What the file held when it was read."""
    after_out_of_memory: AfterOutOfMemory = "skip"

    @property
    def matrix_file(self) -> MatrixFile:
        """The file's name and digest."""
        return MatrixFile(self.matrix_path.name, hashlib.sha256(self.matrix_data).hexdigest())


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
    data = read_matrix(matrix_path)
    matrix = matrix_of(data, matrix_path)
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
    name = f"{matrix.name}-rehearsal" if rehearse else matrix.name
    return Prepared(name, plan, backends, here, matrix_path, data, matrix.after_out_of_memory)


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


def make_run(prepared: Prepared, store: Store, *, try_larger: bool = False) -> tuple[Run, list[Task]]:
    """Everything the trials share: doors to the backends, data on the disk, provenance.

    Args:
        prepared: the plan.
        store: where the results go.
        try_larger: whether points no smaller than one that ran out of memory are tried, whatever the matrix says.

    Raises:
        DataError: a data set is missing or cannot be generated.
        MatrixError: a trial reads weights that will not be there, or a path is not UTF-8.
        StoreError: the store cannot keep the matrix.
    """
    check_weights(prepared.plan, store.weights_names())
    tasks = [task_of(point) for point in prepared.plan.points]
    trials = [task.work for task in tasks if task.declined is None]
    data = resolve_data(trials)
    refuse_odd_paths(store.folder.resolve(), *(path for each in data.values() for path in (each.train, each.val)))
    entry_points = backend_entry_points()
    names = {task.trial.backend for task in tasks}
    doors = {name: Door(entry_points[name].value, prepared.backends[name].launchers) for name in names}
    here = prepared.machine
    shared = shared_provenance(fingerprints_of(data), prepared.matrix_file, cuda=bool(here.gpus))
    records = {name: provenance_of(prepared.backends[name], shared, doors[name].plugin) for name in names}
    store.open()
    store.keep_matrix(prepared.matrix_data)
    run = Run(prepared.name, store, doors, data, with_details(here), records)
    run.ceilings.rule = "run" if try_larger else prepared.after_out_of_memory
    return run, tasks


def task_of(point: Point) -> Task:
    """What to do about a point."""
    if point.dropped_by is not None:
        return Task(point.trial, Outcome(kind="skipped", cause="excluded", reason=point.dropped_by))
    if point.unsupported is not None:
        return Task(point.trial, Outcome(kind="unsupported", cause="infeasible", reason=point.unsupported))
    return Task(point.trial, stand_in=point.stand_in)


def resolve_data(trials: Iterable[Trial]) -> dict[DataNames, DataPaths]:
    """Resolve every name of data once, before the first trial; coco-mini is generated here, outside any clock.

    A set that a phase does not read is resolved all the same: a typo is better known before the first hour of training.
    """
    names = dict.fromkeys(trial.data for trial in trials)
    return {name: DataPaths(train=resolve(name.train), val=resolve(name.val)) for name in names}


def refuse_odd_paths(*paths: str | Path) -> None:
    """Refuse paths that workers cannot be told of: what they are told is JSON.

    Raises:
        MatrixError: one of the paths is not UTF-8.
    """
    for path in map(str, paths):
        if spelled_out(path) != path:
            raise MatrixError(f"{spelled_out(path)}: a folder's name is not UTF-8; run in folders whose names are")


def fingerprints_of(data: Mapping[DataNames, DataPaths]) -> dict[str, str]:
    """SHA-256 of every annotation file, by the set's name in the matrix."""
    references: dict[str, str] = {}
    for names, paths in data.items():
        references |= {names.train: paths.train, names.val: paths.val}
    return {name: fingerprint(path) for name, path in sorted(references.items())}


def known_estimates(store: Store) -> Estimates:
    """Durations of the trials that a store has; an empty one knows nothing, nor does a record that cannot be read."""
    estimates = Estimates()
    for result in store.load_sound()[0]:
        estimates.add(result)
    return estimates
