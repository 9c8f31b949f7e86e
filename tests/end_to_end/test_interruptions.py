"""A run may end at any moment; what is recorded stays, and the rest goes on."""

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

Start = Callable[..., "subprocess.Popen[str]"]
Harness = Callable[..., "subprocess.CompletedProcess[str]"]
POINTS = 12


@pytest.fixture
def matrix(matrix: Path) -> Path:
    """The small matrix with steps slow enough to be interrupted."""
    matrix.write_text(matrix.read_text().replace("step_ms: 2.0", "step_ms: 60.0"))
    return matrix


def records(folder: Path) -> dict[str, str]:
    """The text of every committed record by name."""
    return {path.name: path.read_text() for path in (folder / "results" / "small" / "trials").glob("*.json")}


def workers_of(folder: Path) -> list[psutil.Process]:
    """The worker processes themselves, not what contains them, whose assignment is under this folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if line[1:3] == ["-m", "harness.worker"] and line[3].startswith(str(folder)):
            found.append(process)
    return found


def wait_for_worker(folder: Path, runner: "subprocess.Popen[str]") -> psutil.Process:
    """The worker of the trial in flight."""
    while not (workers := workers_of(folder)):
        assert runner.poll() is None
        time.sleep(0.005)
    return workers[0]


def test_killed_runners_lose_nothing_and_repeat_at_most_one(start: Start, harness: Harness, matrix: Path) -> None:
    """After kill -9 at random moments: a finished record never changes again, and no worker outlives its runner."""
    dice = random.Random(7)
    folder = matrix.parent
    kept: dict[str, str] = {}
    for _ in range(6):
        runner = start("run", matrix)
        time.sleep(dice.uniform(0.3, 2.5))
        runner.kill()
        runner.communicate()
        now = records(folder)
        assert {name: now[name] for name in kept} == kept
        kept = now
        assert all(json.loads(text)["outcome"]["kind"] == "ok" for text in now.values())
        time.sleep(0.1)
        assert workers_of(folder) == []
    last = harness("run", matrix)
    assert last.returncode == 0, last.stderr
    final = records(folder)
    assert len(final) == POINTS
    assert {name: final[name] for name in kept} == kept
    assert last.stderr.count("images/s") == POINTS - len(kept)


def test_a_killed_worker_is_one_crashed_row(start: Start, matrix: Path) -> None:
    """A kill -9 of a worker ends its own trial only."""
    runner = start("run", matrix)
    wait_for_worker(matrix.parent, runner).kill()
    _, errors = runner.communicate(timeout=120)
    outcomes = Counter(json.loads(text)["outcome"]["kind"] for text in records(matrix.parent).values())
    assert runner.returncode == 1, errors
    assert outcomes == {"ok": POINTS - 1, "crashed": 1}
    assert "killed by SIGKILL" in errors


def test_a_second_runner_is_refused(start: Start, harness: Harness, matrix: Path) -> None:
    """In one line, with exit code 2; the first goes on."""
    first = start("run", matrix)
    wait_for_worker(matrix.parent, first)
    second = harness("run", matrix)
    assert second.returncode == 2
    assert second.stderr.count("\n") == 1
    assert f"in use by another runner (process {first.pid})" in second.stderr
    _, errors = first.communicate(timeout=120)
    assert first.returncode == 0, errors


@pytest.mark.parametrize("how", [(signal.SIGINT,), (signal.SIGTERM,), (signal.SIGHUP,), (signal.SIGINT,) * 2])
def test_ctrl_c_leaves_a_store_that_resumes(
    start: Start, harness: Harness, matrix: Path, how: tuple[signal.Signals, ...]
) -> None:
    """Also twice, by a scheduler's signal or a terminal's end: no worker left, and the same command goes on."""
    runner = start("run", matrix)
    while len(records(matrix.parent)) < 2:
        assert runner.poll() is None
        time.sleep(0.01)
    for number in how:
        os.kill(runner.pid, number)
        time.sleep(0.02)
    _, errors = runner.communicate(timeout=30)
    assert runner.returncode == 130 or (len(how) > 1 and runner.returncode == -signal.SIGINT)
    assert "run the same command again" in errors
    assert "Traceback" not in errors
    assert workers_of(matrix.parent) == []
    before = records(matrix.parent)
    again = harness("run", matrix)
    assert again.returncode == 0
    assert f"{len(before)} of {POINTS} points are in" in again.stderr
    after = records(matrix.parent)
    assert len(after) == POINTS
    assert {name: after[name] for name in before} == before


def test_a_run_under_nohup_outlives_its_terminal(start: Start, matrix: Path) -> None:
    """What ignores SIGHUP as it starts goes on ignoring it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        runner = start("run", matrix, "--only", "phase=infer precision=fp32")
    finally:
        signal.signal(signal.SIGHUP, before)
    wait_for_worker(matrix.parent, runner)
    os.kill(runner.pid, signal.SIGHUP)
    _, errors = runner.communicate(timeout=60)
    assert runner.returncode == 0, errors


def test_an_interrupted_fresh_run_says_how_to_go_on(start: Start, harness: Harness, matrix: Path) -> None:
    """Without --fresh, which would begin anew: what it has done by then is kept."""
    some = ("--only", "phase=infer")
    assert harness("run", matrix, *some).returncode == 0
    old = records(matrix.parent)
    runner = start("run", matrix, *some, "--fresh")
    while not (done := records(matrix.parent)) or set(done.values()) & set(old.values()):
        assert runner.poll() is None
        time.sleep(0.01)
    os.kill(runner.pid, signal.SIGINT)
    _, errors = runner.communicate(timeout=30)
    assert errors.splitlines()[-1] == "harness: interrupted; without --fresh the same command goes on from here"
    new = records(matrix.parent)
    assert harness("run", matrix, *some).returncode == 0
    final = records(matrix.parent)
    assert final.keys() == old.keys()
    assert {name: final[name] for name in new} == new
    assert not set(final.values()) & set(old.values())


@pytest.mark.parametrize("deaf", ["stdout", "stderr", "both"])
def test_a_run_goes_on_when_nobody_reads_it(start: Start, matrix: Path, deaf: str) -> None:
    """As after `| head`: every point is recorded, the report is written, and the exit code is that of the trials."""
    matrix.write_text(matrix.read_text().replace("step_ms: 60.0", "fault: [none, raises]"))
    runner = start("run", matrix, "--only", "precision=fp32 batch_size_per_gpu=1")
    assert runner.stdout is not None
    assert runner.stderr is not None
    for stream in {"stdout": [runner.stdout], "stderr": [runner.stderr]}.get(deaf, [runner.stdout, runner.stderr]):
        stream.close()
    assert runner.wait(60) == 1
    assert Counter(json.loads(text)["outcome"]["kind"] for text in records(matrix.parent).values()) == {
        "ok": 2,
        "failed": 2,
    }
    assert (matrix.parent / "results/small/report.md").exists()


def test_fresh_runs_a_chosen_point_again_and_keeps_its_old_record(harness: Harness, matrix: Path) -> None:
    """With --only it is that point alone; another --timeout makes no new points."""
    one = ("--only", "phase=train precision=fp32 batch_size_per_gpu=1")
    assert harness("run", matrix, *one).returncode == 0
    before = records(matrix.parent)
    assert harness("run", matrix, *one, "--timeout", "20").stderr.count("images/s") == 0
    assert records(matrix.parent) == before
    assert harness("run", matrix, *one, "--fresh").stderr.count("images/s") == 1
    after = records(matrix.parent)
    assert after.keys() == before.keys()
    assert after != before
    assert [path.read_text() for path in (matrix.parent / "results/small/superseded").iterdir()] == list(
        before.values()
    )


def test_a_finished_matrix_runs_nothing_again(harness: Harness, matrix: Path) -> None:
    """The second run starts no worker and changes no record, and the plan says so."""
    assert "recorded in" not in harness("plan", matrix).stdout
    assert harness("run", matrix).returncode == 0
    told = harness("plan", matrix).stdout.splitlines()[-1]
    assert told == f"recorded in results/small: {POINTS} of these points, which `harness run` does not run again"
    before = records(matrix.parent)
    again = harness("run", matrix)
    assert again.returncode == 0
    assert "images/s" not in again.stderr
    assert records(matrix.parent) == before
