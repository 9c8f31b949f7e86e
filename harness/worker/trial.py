"""One trial on one rank: load the backend, drive its phase, turn every ending into an outcome."""

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path

from harness.errors import BackendError, UnsupportedTrialError
from harness.hookspecs import Context, Work
from harness.measure.machine import peak_memory_bytes
from harness.measure.timer import timer_cost
from harness.plugins import load_module
from harness.schema.result import Assignment, Outcome, RankRecord
from harness.worker.outcomes import outcome_of
from harness.worker.phases import PHASES
from harness.worker.record import PhaseRecord
from harness.worker.seam import require_work


def run_trial(assignment: Assignment, context: Context) -> RankRecord:
    """Run this rank's part; whatever goes wrong is in the outcome of the record, its traceback in the log."""
    record = PhaseRecord(rank=context.rank)
    try:
        drive(assignment, context, record)
        outcome = Outcome(kind="ok")
    except Exception as error:  # noqa: BLE001 - any exception of a backend is one trial's outcome
        outcome = outcome_of(error, assignment.plugin)
        if outcome.kind != "unsupported":
            traceback.print_exc()
    return RankRecord(
        rank=context.rank,
        outcome=outcome,
        windows=tuple(record.windows),
        measurements=tuple(record.measurements),
        accuracy=tuple(record.accuracy),
        device_name=record.settings.pop("device", None),
        peak_memory_bytes=record.peak_memory_bytes or peak_memory_bytes(),
        time_to_target_s=record.time_to_target_s,
        timer=record.timer,
        settings=record.settings,
        probe=record.probe,
    )


def drive(assignment: Assignment, context: Context, record: PhaseRecord) -> None:
    """Ask the backend for its work and run the phase on it.

    Raises:
        UnsupportedTrialError: the backend declines the trial.
        Exception: whatever the backend raises.
    """
    trial = assignment.trial
    hooks = load_module(trial.backend, assignment.plugin).hook
    hook = getattr(hooks, f"harness_{trial.phase}")
    work = hook(trial=trial, context=context)
    if work is None:
        raise UnsupportedTrialError(f"backend {trial.backend!r} declines this {trial.phase} trial and gives no reason")
    require_work(trial, work)
    with closing(work):
        record.timer = timer_cost(work)
        PHASES[trial.phase](work, trial, record, Path(assignment.scratch), context)
        record.settings.update(work.settings())
        if assignment.weights is not None and context.rank == 0:
            work.save(Path(assignment.weights))
    if not record.windows:
        raise BackendError(f"backend {trial.backend!r} finished without a single measured window")


@contextlib.contextmanager
def closing(work: Work) -> Iterator[None]:
    """Close the work; when the phase itself failed, an error of closing goes to the log and hides nothing."""
    try:
        yield
    except BaseException:
        try:
            work.close()
        except Exception:  # noqa: BLE001 - the first error is the outcome
            traceback.print_exc()
        raise
    work.close()
