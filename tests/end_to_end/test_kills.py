"""kill -9 at random moments, again and again: nothing that is recorded is lost, and the end is that of a quiet run.

HARNESS_KILLS says how often (200 is the figure of docs/outcomes.md; `make kills`), HARNESS_KILLS_SEED repeats a run.
"""

import json
import os
import random
import re
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

KILLS = int(os.environ.get("HARNESS_KILLS", "15"))
SEED = int(os.environ.get("HARNESS_KILLS_SEED", str(random.SystemRandom().randrange(1 << 16))))
TRIALS = 100
EARLY = 0.25
"""Share of the kills that strike at any moment of a run's start, the others among its trials."""
MATRIX = f"""
name: many
device: cpu
data: {{train: "synthetic:32x24:6", val: "synthetic:32x24:6"}}
defaults: {{warmup_steps: 1, timed_steps: 3, timeout_s: 60, step_ms: 1.0}}
trials:
  - {{backend: demo, phase: [train, infer], axes: {{seed: {list(range(TRIALS // 2))}}}}}
"""
STARTED = re.compile(r"^\[\d+/\d+\] .* …", re.MULTILINE)
MEASURED = frozenset(
    {
        *("started_at", "started_ns", "duration_s", "telemetry", "timer", "peak_memory_bytes", "windows"),
        *("measurements", "machine", "provenance", "probe"),
    }
)
"""What time, or the state of the machine, has a part in; of windows and series what remains is compared by itself."""


def finished(store: Path) -> dict[str, str]:
    """The text of every committed record that is ok, by the file's name."""
    found = {}
    for path in (store / "trials").glob("*.json"):
        text = path.read_text()
        if json.loads(text)["outcome"]["kind"] == "ok":
            found[path.name] = text
    return found


def without_times(text: str) -> dict[str, Any]:
    """A record less all that is measured: its windows' work and its series' names and lengths remain."""
    record = json.loads(text)
    outcome = {name: value for name, value in record["outcome"].items() if name != "peak_memory_bytes"}
    return {name: value for name, value in record.items() if name not in MEASURED} | {
        "outcome": outcome,
        "ranks": len(record["peak_memory_bytes"]),
        "work": [(window["images"], window["steps"], window["warmup_steps"]) for window in record["windows"]],
        "series": [
            (series["name"], series["rank"], len(series["values"]), len(series["warmup_values"]))
            for series in record["measurements"]
        ],
        "losses": [series["values"] for series in record["measurements"] if series["name"] == "loss"],
    }


class Run:
    """One `harness run` of the matrix; what a kill left as crashed is tried again."""

    def __init__(self, folder: Path, store: str) -> None:
        self.said = folder / "said.txt"
        command = [sys.executable, "-m", "harness.cli", "run", "many.yaml", "--results", store, "--retry"]
        with self.said.open("w") as said:
            environment = os.environ | {"HARNESS_DATA_DIR": str(folder / "data")}
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=said
            )

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    @property
    def starts(self) -> int:
        """How many trials it has begun."""
        return len(STARTED.findall(self.said.read_text()))

    def wait_for_starts(self, wanted: int, longest_s: float = 600.0) -> None:
        """Until so many trials have begun, or it ends, or so much time has passed."""
        end = time.monotonic() + longest_s
        while self.alive and self.starts < wanted and (left_s := end - time.monotonic()) > 0:
            time.sleep(min(0.005, left_s))


def strike(runner: "subprocess.Popen[bytes]", dice: random.Random) -> bool:
    """Kill the runner alone, with all its descendants, or one of those; whether it was the runner."""
    how, family = dice.choice(["runner", "all", "descendant"]), descendants(runner.pid)
    if how == "descendant" and family:
        kill(dice.choice(family))
        return False
    runner.kill()
    for process in family if how == "all" else []:
        kill(process)
    return True


def kill(process: psutil.Process) -> None:
    """Kill it, if it is still there."""
    with suppress(psutil.NoSuchProcess):
        process.kill()


def descendants(pid: int) -> list[psutil.Process]:
    """All that a process has started, directly or not."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


@dataclass(frozen=True)
class Pace:
    """How long an undisturbed run takes: to its first trial, for that, which starts other processes, for any other."""

    start_s: float
    first_s: float
    trial_s: float


def undisturbed(folder: Path) -> Pace:
    """Run the matrix once in peace, into the store `quiet`."""
    moments = [time.monotonic()]
    quiet = Run(folder, "quiet")
    for wanted in (1, 2, TRIALS):
        quiet.wait_for_starts(wanted)
        moments.append(time.monotonic())
    assert quiet.process.wait(600) == 0, quiet.said.read_text()
    start_s, first_s, rest_s = (after - before for before, after in pairwise(moments))
    return Pace(start_s, first_s, rest_s / (TRIALS - 2))


class Siege:
    """A matrix that is run again and again, and killed at random moments."""

    def __init__(self, folder: Path, pace: "Pace") -> None:
        self.folder = folder
        self.pace = pace
        self.dice = random.Random(SEED)
        self.kept: dict[str, str] = {}
        self.starts = self.kills = 0
        self.busy = 0
        """Kills that struck while trials were left."""

    def wait(self, run: Run) -> None:
        """Until some moment: one of the run's start, or of a trial, some trials on from here.

        They are as many as will be left for each kill, so that the matrix is done about when the kills are.
        """
        if self.dice.random() < EARLY:
            run.wait_for_starts(run.starts + 1, self.dice.uniform(0.0, self.pace.start_s))
            return
        share = max(1, TRIALS - len(self.kept) - run.starts) / (KILLS - self.kills)
        wanted = max(1, run.starts) + round(self.dice.expovariate(1 / (share / (1 - EARLY))))
        run.wait_for_starts(wanted)
        run.wait_for_starts(wanted + 1, self.dice.uniform(0.0, self.pace.first_s if wanted == 1 else self.pace.trial_s))

    def run(self) -> int:
        """Run the matrix once, until it ends or is killed; its exit code."""
        run = Run(self.folder, "store")
        while self.kills < KILLS and run.alive:
            self.wait(run)
            if run.alive:
                self.kills += 1
                self.busy += len(self.kept) + run.starts < TRIALS
                if strike(run.process, self.dice):
                    break
        code = run.process.wait(600)
        self.starts += run.starts
        now = finished(self.folder / "store")
        assert {name: now.get(name) for name in self.kept} == self.kept
        self.kept = now
        return code


@pytest.mark.slow
def test_any_number_of_kills_loses_nothing_and_repeats_at_most_one_trial_each(tmp_path: Path) -> None:
    """Finished records never change again, and the final store is that of an undisturbed run but for times."""
    (tmp_path / "many.yaml").write_text(MATRIX)
    siege = Siege(tmp_path, undisturbed(tmp_path))
    while siege.run() != 0 or siege.kills < KILLS:
        pass
    found = f"{siege.kills} kills, {siege.busy} of them while trials were left, {siege.starts - TRIALS} begun again"
    sys.stdout.write(f"seed {SEED}: {found}, none lost\n")
    assert len(siege.kept) == TRIALS
    assert siege.starts <= TRIALS + siege.kills
    expected = {name: without_times(text) for name, text in finished(tmp_path / "quiet").items()}
    assert {name: without_times(text) for name, text in siege.kept.items()} == expected
