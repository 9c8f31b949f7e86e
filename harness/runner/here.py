"""Whether a recorded trial could run here and now, without running it."""

from collections.abc import Iterator
from pathlib import Path

from harness.data import fingerprint, resolve
from harness.errors import HarnessError
from harness.measure.details import with_details
from harness.measure.machine import machine
from harness.plugins import backend_entry_points, describe_all
from harness.runner.prepare import prepare
from harness.runner.provenance import provenance_of, shared_provenance
from harness.schema.result import TrialResult
from harness.schema.system import Machine, Provenance

GENERATED, CATALOGUE = ("synthetic", "coco-mini"), ("coco2017/", "coco2014/")


def here_for(result: TrialResult, matrix: Path) -> tuple[Machine, Provenance, tuple[str, ...]]:
    """This machine, the provenance that the trial would have, and what stands in its way, a line each.

    Args:
        result: the record.
        matrix: the matrix file that it was run from.
    """
    now = machine()
    shared = shared_provenance({}, None, cuda=bool(now.gpus))
    infos, _ = describe_all()
    name = result.trial.backend
    found = provenance_of(infos[name], shared, backend_entry_points()[name].value) if name in infos else shared
    return with_details(now), found, (*obstacles(result, matrix), *lost_data(result))


def obstacles(result: TrialResult, matrix: Path) -> Iterator[str]:
    """Why the matrix does not give this trial here, or why this machine cannot run it."""
    try:
        plan = prepare(matrix, f"trial_id={result.trial_id}", rehearse=result.trial.rehearsal).plan
    except HarnessError as error:
        yield f"not to be run here: {error}"
        return
    for point in plan.points:
        if reason := point.dropped_by or point.unsupported:
            yield f"not to be run here: {reason}"


def lost_data(result: TrialResult) -> Iterator[str]:
    """Sets that are not here or whose annotations are others; generated ones are what their names say."""
    trial, source = result.trial, result.provenance
    if source is None or trial.rehearsal:
        return
    for name in dict.fromkeys((trial.data.train, trial.data.val)):
        if name.startswith(GENERATED):
            continue
        try:
            found = fingerprint(resolve(placed(name, source.working_directory)))
        except HarnessError as error:
            yield f"data: {error}"
            continue
        if found != source.data_fingerprints.get(name, found):
            yield f"data: the annotations of {name} are not those of the record"


def placed(name: str, folder: str | None) -> str:
    """A set's name, or its path from where the recorded run was started."""
    return name if name.startswith(CATALOGUE) else str(Path(folder or ".").expanduser() / Path(name).expanduser())
