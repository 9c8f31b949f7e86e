"""Trials whose ranks Horovod joins end well, or within seconds with the right outcome, and leave nothing behind."""

import os
import threading
import time
from pathlib import Path

import psutil
import pytest
from records import MACHINE

from harness.results.store import Store
from harness.runner.run import Door, Run, Task
from harness.schema.result import DataPaths
from harness.schema.trial import DataNames, Trial

pytestmark = pytest.mark.torch
TESTS = Path(__file__).parents[1]
SECONDS = 60.0
"""Far above what starting two ranks takes here, far below Horovod's own patience."""


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Workers find the backend of these tests, and take one thread each."""
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def ended(folder, fault="none", seed=1, timeout_s=SECONDS):
    """The record of a trial of two ranks."""
    trial = Trial(
        backend="meeting",
        phase="train",
        gpus=2,
        seed=seed,
        warmup_steps=1,
        timed_steps=5,
        timeout_s=timeout_s,
        options={"fault": fault},
    )
    data = {DataNames(): DataPaths(train="synthetic:8x8:2", val="synthetic:8x8:2")}
    run = Run("test", Store(folder), {"meeting": Door("torch_meeting", ("horovod",))}, data, MACHINE, {})
    run.carry_out([Task(trial)])
    return run.store.load(trial.trial_id)


@pytest.mark.parametrize(
    ("fault", "kind", "reason"),
    [
        ("raises", "failed", "rank 1: ValueError: boom"),
        ("declines", "unsupported", "rank 1 cannot do this"),
        ("killed", "crashed", "killed by SIGKILL"),
    ],
)
def test_a_rank_that_dies_ends_the_trial(tmp_path, fault, kind, reason):
    """The outcome is that of the rank that went wrong, not that of the one which then waits in vain."""
    before = time.monotonic()
    outcome = ended(tmp_path / "store", fault).outcome
    assert (outcome.kind, outcome.reason) == (kind, reason)
    assert time.monotonic() - before < SECONDS
    assert left_behind(tmp_path) == []


def test_a_rank_that_hangs_meets_the_time_out(tmp_path):
    """Horovod would wait for it forever; the runner does not."""
    assert ended(tmp_path / "store", "hangs", timeout_s=25.0).outcome.kind == "timeout"
    assert left_behind(tmp_path) == []


def test_trials_beside_each_other_do_not_meet(tmp_path):
    """Two runs at once on one machine have a port each, and each the mean over its own two ranks."""
    found = {}

    def run(name, seed):
        found[name] = ended(tmp_path / name, seed=seed)

    threads = [threading.Thread(target=run, args=(name, seed)) for seed, name in enumerate(("one", "other"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.outcome.kind for result in found.values()] == ["ok", "ok"]
    assert len({result.settings["place"] for result in found.values()}) == 2
    losses = {
        value
        for result in found.values()
        for each in result.measurements
        if each.name == "loss"
        for value in each.values
    }
    assert losses == {0.5}


def left_behind(folder):
    """Processes whose command line names the folder."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if process.pid != os.getpid() and any(str(folder) in part for part in process.info["cmdline"] or [])
    ]
