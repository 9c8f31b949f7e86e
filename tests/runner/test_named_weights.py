"""Weights by name through real processes of the demo backend: saved, read, digested, and missed with a reason."""

import hashlib
from pathlib import Path

import pytest
from records import MACHINE, demo_trial

from harness.results.store import Store
from harness.runner.run import Door, Run, Task
from harness.schema.result import DataPaths
from harness.schema.trial import DataNames

SAVER = demo_trial(phase="train", save_weights="small")
READER = demo_trial(options={"weights": "store:small"})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run of the demo backend into an empty store."""
    data = {DataNames(): DataPaths(train="synthetic:32x24:6", val="synthetic:32x24:7")}
    return Run("test", Store(tmp_path / "store"), {"demo": Door("demo_backend", ("local",))}, data, MACHINE, {})


def test_weights_reach_their_readers_by_name(run: Run) -> None:
    """The record has the name, not this machine's path, and the digest of the bytes that were read."""
    assert run.carry_out([Task(SAVER), Task(READER)]) == {"ok": 2}
    saved, read = run.store.load(SAVER.trial_id), run.store.load(READER.trial_id)
    assert saved.weights == "weights/small.safetensors"
    assert saved.weights_read == {}
    assert (run.store.folder / saved.weights).read_bytes() == b"learnt"
    assert read.weights_read == {"weights": hashlib.sha256(b"learnt").hexdigest()}
    assert read.trial == READER
    assert read.settings["weights"] == "store:small"


def test_a_file_of_ones_own_is_digested_too(run: Run, tmp_path: Path) -> None:
    """Whether weights are the same is decided by their bytes, wherever they lie."""
    own = tmp_path / "own.safetensors"
    own.write_bytes(b"learnt")
    trial = demo_trial(options={"weights": str(own)})
    run.carry_out([Task(trial)])
    assert run.store.load(trial.trial_id).weights_read == {"weights": hashlib.sha256(b"learnt").hexdigest()}


@pytest.mark.parametrize(("fault", "kind"), [("raises", "failed"), ("declines", "unsupported")])
def test_readers_of_weights_that_were_never_saved_are_skipped(run: Run, fault: str, kind: str) -> None:
    """With the trial that should have saved them, and how it ended; nothing half-written is left to read."""
    saver = demo_trial(phase="train", save_weights="small", options={"fault": fault})
    assert run.carry_out([Task(saver), Task(READER)]) == {kind: 1, "skipped": 1}
    outcome = run.store.load(READER.trial_id).outcome
    assert outcome.reason == f"needs weights 'small' of {saver.trial_id}, whose outcome is {kind}"
    assert run.store.weights_names() == frozenset()


def test_skipped_readers_run_once_their_weights_are_there(run: Run) -> None:
    """The next run, in which the saver is well, does not need to be told to retry them."""
    failing = demo_trial(phase="train", save_weights="small", options={"fault": "raises"})
    run.carry_out([Task(failing), Task(READER)])
    assert run.carry_out([Task(failing), Task(READER)]) == {"failed": 1, "skipped": 1}
    assert run.carry_out([Task(SAVER), Task(READER)]) == {"ok": 2}


def test_weights_of_an_earlier_run_are_read(run: Run) -> None:
    """The store has them; who saved them is not part of this run."""
    run.carry_out([Task(SAVER)])
    assert run.carry_out([Task(READER)]) == {"ok": 1}


def test_weights_that_went_missing_are_the_reason(run: Run) -> None:
    """Someone tidied up between two runs."""
    run.carry_out([Task(SAVER)])
    run.store.weights("small").unlink()
    assert run.carry_out([Task(SAVER), Task(READER)]) == {"ok": 1, "skipped": 1}
    assert "which the store does not have" in str(run.store.load(READER.trial_id).outcome.reason)


def test_a_file_that_cannot_be_read_is_its_own_trial_s_failure(run: Run) -> None:
    """The backend meets the same and says so; the points after it run."""
    unreadable, well = demo_trial(options={"weights": "/proc/self/mem"}), demo_trial()
    assert run.carry_out([Task(unreadable), Task(well)]) == {"failed": 1, "ok": 1}
    failed = run.store.load(unreadable.trial_id)
    assert failed.weights_read == {}
    assert "Input/output error" in str(failed.outcome.reason)
