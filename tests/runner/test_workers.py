"""What a trial's record says when its processes could not do their part, and time-outs of any length."""

import subprocess
import sys
from pathlib import Path

import pytest
from records import MACHINE, demo_trial

from harness.results.store import Store
from harness.runner.process import Ending, run_command
from harness.runner.run import Door, Run, Task
from harness.schema.result import DataPaths
from harness.schema.trial import DataNames


def test_workers_that_cannot_be_started_are_crashed_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reason in the record; a trial afterwards, in an environment that works, is well."""
    (tmp_path / "pluggy.py").write_text("raise ImportError('this pluggy is broken')")
    data = {DataNames(): DataPaths(train="synthetic", val="synthetic")}
    run = Run("test", Store(tmp_path / "store"), {"demo": Door("demo_backend", ("local",))}, data, MACHINE, {})
    first, second = demo_trial(seed=1), demo_trial(seed=2)
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        run.carry_out([Task(first)])
    outcome = run.store.load(first.trial_id).outcome
    assert (outcome.kind, outcome.reason) == ("crashed", "the process that starts workers ended, exit code 1")
    assert outcome.log_tail[-1] == "ImportError: this pluggy is broken"
    assert run.carry_out([Task(second)]) == {"ok": 1}


@pytest.mark.parametrize(
    ("timeout_s", "ending"),
    [(1e12, Ending(3, None, timed_out=False)), (0.1, Ending(None, None, timed_out=True))],
)
def test_a_command_ends_by_itself_or_by_the_time_out(tmp_path: Path, timeout_s: float, ending: Ending) -> None:
    """Also where the time-out is longer than a system call can wait."""
    seconds = 0.3 if timeout_s > 1 else 60
    command = [sys.executable, "-c", f"import sys, time; time.sleep({seconds}); sys.exit(3)"]
    with (tmp_path / "log").open("wb") as log:
        assert run_command(command, {}, log, timeout_s) == ending


RANKS = """
import subprocess, sys
from harness.runner import ranks
ranks.start = lambda place, assignment: subprocess.Popen([sys.executable, "-c", sys.argv[1]])
sys.exit(ranks.run_ranks(1, "", lambda rank: {}))
"""


@pytest.mark.parametrize(
    ("does", "code"),
    [
        ("pass", 0),
        ("import os; os._exit(7)", 7),
        ("import os; os._exit(137)", 137),
        ("import os; os.kill(os.getpid(), 11)", 139),
        ("import os; os.kill(os.getpid(), 34)", 162),
    ],
)
def test_a_rank_s_end_is_its_launcher_s(does: str, code: int) -> None:
    """Its exit code, whatever that is, or 128 more than the signal's number."""
    assert subprocess.run([sys.executable, "-c", RANKS, does], check=False, timeout=60).returncode == code
