"""What the host itself costs in CPU time: its help, a trial in which nothing happens, watching a trial.

CPU time depends on how busy a machine is, so whatever is compared is measured in turns.
"""

import io
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stderr
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median

from harness.measure.machine import machine
from harness.results.store import Store
from harness.runner.run import Door, Run, Task
from harness.schema.result import DataPaths
from harness.schema.trial import DataNames, Trial

HELP = (sys.executable, "-m", "harness.cli", "--help")
HEAVY = ("pydantic", "numpy", "pandas", "matplotlib", "cv2", "PIL", "pycocotools", "torch", "torchvision", "tensorflow")
ROUNDS = 5
TRIALS = 10


def children_s() -> float:
    """CPU seconds of all children, and theirs, that have been waited for."""
    usage = getrusage(RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def cpu_of(command: tuple[str, ...]) -> float:
    """CPU seconds of one command."""
    before = children_s()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return children_s() - before


def bench_help() -> None:
    """Print the CPU time of `harness --help`, and what it imports that it should not."""
    used_ms = 1000 * median(cpu_of(HELP) for _ in range(9))
    say(f"harness --help: {used_ms:.0f} ms CPU (bar: 150 ms)")
    listing = subprocess.run(
        [sys.executable, "-X", "importtime", *HELP[1:]], capture_output=True, text=True, check=True
    ).stderr
    imported = {name.partition(".")[0] for name in re.findall(r"\|\s+([\w.]+)$", listing, re.MULTILINE)}
    heavy = sorted(imported.intersection(HEAVY))
    say(f"harness --help: imports {', '.join(heavy) or 'nothing heavy'} (bar: none of {', '.join(HEAVY)})")


def run_in(folder: str) -> Run:
    """A run of the demo backend, which must be installed from tests/demo_backend."""
    data = {DataNames(): DataPaths(train="synthetic", val="synthetic")}
    return Run("bench", Store(Path(folder)), {"demo": Door("demo_backend", ("local",))}, data, machine(), {})


def carry_out(trials: list[Trial]) -> tuple[float, float]:
    """CPU seconds of parent and of workers together, and of the parent alone, in a run of these trials.

    Raises:
        RuntimeError: a trial went wrong.
    """
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(io.StringIO()) as said:
        run = run_in(folder)
        workers, parent = children_s(), time.process_time()
        outcomes = run.carry_out([Task(trial) for trial in trials])
        parent_s = time.process_time() - parent
    if outcomes != {"ok": len(trials)}:
        raise RuntimeError(f"the demo backend's trials ended badly:\n{said.getvalue()}")
    return parent_s + children_s() - workers, parent_s


def no_op(count: int) -> list[Trial]:
    """Trials in which nothing happens."""
    return [Trial(backend="demo", phase="infer", warmup_steps=1, timed_steps=1, seed=seed) for seed in range(count)]


def bench_no_op() -> None:
    """Print the CPU time of a trial in which nothing happens, and what a run's first worker costs besides.

    The first worker of a run is dear: it is forked by a process that must import the host first. The figure to be
    held to the bar has its share of that; the second line tells the two apart.
    """
    carry_out(no_op(1))  # whatever the parent does only once
    shares, marginals, firsts = [], [], []
    for _ in range(ROUNDS):
        bare_s = sum(cpu_of((sys.executable, "-c", "pass")) for _ in range(TRIALS)) / TRIALS
        one_s, _ = carry_out(no_op(1))
        many_s, _ = carry_out(no_op(TRIALS))
        marginals.append((many_s - one_s) / (TRIALS - 1))
        firsts.append(one_s - marginals[-1])
        shares.append(many_s / TRIALS - bare_s)
    share_ms, marginal_ms, first_ms = (1000 * median(values) for values in (shares, marginals, firsts))
    say(f"no-op trial: {share_ms:.0f} ms CPU beyond a bare interpreter, in a run of {TRIALS} (bar: 100 ms)")
    say(f"no-op trial: {marginal_ms:.0f} ms CPU for one more, {first_ms:.0f} ms once a run (no bar)")


def bench_parent() -> None:
    """Print the share of a core that the parent takes while a trial runs."""
    options = {"step_ms": 100.0}
    trial = Trial(backend="demo", phase="infer", warmup_steps=0, timed_steps=25, options=options)
    start = time.monotonic()
    _, parent_s = carry_out([trial])
    elapsed_s = time.monotonic() - start
    say(f"parent: {parent_s / elapsed_s:.2%} of a core during a trial of {elapsed_s:.1f} s (bar: 1 %)")


def say(line: str) -> None:
    """Print one line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Print a line for each figure."""
    # As the runner does for its workers, for the parent that is measured here.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    bench_help()
    bench_no_op()
    bench_parent()


if __name__ == "__main__":
    main()
