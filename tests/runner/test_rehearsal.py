"""A rehearsal runs each stand-in once, and every point has a record that says so."""

from pathlib import Path

import pytest
from records import MACHINE, demo_trial

from harness.results.store import Store
from harness.runner.run import Door, Run, Task
from harness.schema.result import DataPaths, Outcome
from harness.schema.trial import DataNames, Trial

SMALL = demo_trial(options={"step_ms": 1.0})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run into an empty store."""
    return run_in(tmp_path / "store")


def run_in(folder: Path) -> Run:
    """A run of the demo backend on made-up data."""
    data = {DataNames(): DataPaths(train="synthetic:32x24:6", val="synthetic:32x24:7")}
    return Run("m-rehearsal", Store(folder), {"demo": Door("demo_backend", ("local",))}, data, MACHINE, {})


def point(gpus: int, small: Trial = SMALL) -> Task:
    """A point of many GPUs and large batches, with its stand-in."""
    big = demo_trial(device="cuda", gpus=gpus, batch_size_per_gpu=64, warmup_steps=100, timed_steps=500, rehearsal=True)
    return Task(big, stand_in=small)


def test_points_with_one_stand_in_share_its_run(run: Run) -> None:
    """The first point's workers run; the second gets the same numbers, no time, and the first one's name."""
    first, second, other = point(4), point(8), point(8, SMALL.model_copy(update={"seed": 2}))
    other = Task(other.trial.model_copy(update={"seed": 2}), stand_in=other.stand_in)
    assert run.carry_out([first, second, other]) == {"ok": 3}
    made, shared, own = (run.store.load(task.trial.trial_id) for task in (first, second, other))
    assert (made.trial, shared.trial) == (first.trial, second.trial)
    assert made.rehearsal is not None
    assert made.rehearsal.stand_in == SMALL
    assert made.rehearsal.run_for == first.trial.trial_id
    assert shared.rehearsal == made.rehearsal
    assert own.rehearsal is not None
    assert own.rehearsal.run_for == other.trial.trial_id
    assert (shared.windows, shared.measurements) == (made.windows, made.measurements)
    assert shared.windows[0].steps == SMALL.timed_steps
    assert (made.duration_s > 0, shared.duration_s) == (True, 0.0)
    assert run.store.log(SMALL.trial_id).exists()
    assert not run.store.log(second.trial.trial_id).exists()


def test_a_rehearsal_goes_on_where_it_was_left(run: Run, tmp_path: Path) -> None:
    """A later run takes the stand-in's numbers from the store; it runs nothing again."""
    run.carry_out([point(4)])
    run.store.log(SMALL.trial_id).unlink()
    later = run_in(tmp_path / "store")
    assert later.carry_out([point(8)]) == {"ok": 1}
    assert not later.store.log(SMALL.trial_id).exists()
    shared = later.store.load(point(8).trial.trial_id).rehearsal
    assert shared is not None
    assert shared.run_for == point(4).trial.trial_id


def test_what_goes_wrong_in_a_rehearsal_is_said_of_every_point(run: Run) -> None:
    """Each has the outcome of its stand-in, and runs again when asked, once for all."""
    bad = SMALL.model_copy(update={"options": {"fault": "raises"}})
    tasks = [point(4, bad), point(8, bad)]
    assert run.carry_out(tasks) == {"failed": 2}
    reasons = {run.store.load(task.trial.trial_id).outcome.reason for task in tasks}
    assert reasons == {"ValueError: boom over two lines"}
    again = run_in(run.store.folder)
    assert again.carry_out(tasks, redo=frozenset({"failed"})) == {"failed": 2}
    durations = [again.store.load(task.trial.trial_id).duration_s for task in tasks]
    assert (durations[0] > 0, durations[1]) == (True, 0.0)


def test_a_declined_point_is_not_rehearsed(run: Run) -> None:
    """What a rule drops has its reason and no stand-in in its record."""
    task = Task(point(4).trial, Outcome(kind="skipped", reason="not published"))
    assert run.carry_out([task]) == {"skipped": 1}
    assert run.store.load(task.trial.trial_id).rehearsal is None
