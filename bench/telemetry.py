"""What sampling costs: the sampler's share of a core, without GPUs and beside eight FAKE ones, and what a trial loses.

The library of FAKE devices answers in no time; a real driver takes some more for each call.
"""

import io
import os
import subprocess
import sys
import tempfile
from contextlib import redirect_stderr
from pathlib import Path
from statistics import median

from harness.measure.machine import machine
from harness.results.store import Store
from harness.runner.observer import Observer
from harness.runner.run import Door, Run, Task
from harness.schema.result import DataPaths, TrialResult
from harness.schema.telemetry import HostTelemetry, Telemetry
from harness.schema.trial import DataNames, Trial

SOURCE = Path(__file__).parent.parent / "tests" / "measure" / "fake_nvml.c"
ROUNDS = 7


class Blind(Observer):
    """An observer that looks at nothing."""

    def begin(self, trial: Trial, scratch: Path) -> None:
        """Start nothing."""

    def end(self, records: object, scratch: Path, kept: Path) -> Telemetry:  # noqa: ARG002
        """Have seen nothing."""
        unseen = {"interval_s": 0.1, "samples": 0, "longest_gap_s": 0.0, "window_s": 0.0, "sampler_cpu_s": None}
        return Telemetry(**unseen, host=HostTelemetry())


def run_one(trial: Trial, observer: Observer) -> TrialResult:
    """Carry out one trial of the demo backend, which must be installed from tests/demo_backend.

    Raises:
        RuntimeError: it went wrong.
    """
    data = {DataNames(): DataPaths(train="synthetic", val="synthetic")}
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(io.StringIO()) as said:
        store, doors = Store(Path(folder)), {"demo": Door("demo_backend", ("local",))}
        run = Run("bench", store, doors, data, machine(), {}, observer=observer)
        if run.carry_out([Task(trial)]) != {"ok": 1}:
            raise RuntimeError(f"the demo backend's trial ended badly:\n{said.getvalue()}")
        return store.load(trial.trial_id)


def bench_share(words: str, trial: Trial) -> None:
    """Print the sampler's share of a core while a trial ran."""
    result = run_one(trial, Observer())
    telemetry = result.telemetry
    if telemetry is None or telemetry.sampler_cpu_s is None:
        raise RuntimeError(f"nothing was sampled: {telemetry and telemetry.note}")
    share = telemetry.sampler_cpu_s / result.duration_s
    missed = telemetry.window_s / telemetry.interval_s - telemetry.samples
    say(
        f"sampler, {words}: {share:.2%} of a core (bar: 2 %), {missed:.0f} samples missed in {telemetry.window_s:.1f} s"
    )


def bench_effect() -> None:
    """Print the throughput of a trial that keeps one core busy, with and without the sampler, in turns.

    Of wall clocks, so it says little on a machine that has other things to do.
    """
    trial = Trial(backend="demo", phase="infer", warmup_steps=100, timed_steps=30_000)
    ratios = []
    for _ in range(ROUNDS):
        blind, watched = (run_one(trial, observer).windows[0] for observer in (Blind(), Observer()))
        ratios.append(blind.elapsed_s / watched.elapsed_s)
    say(f"trial: {median(ratios):.3f} of its throughput beside the sampler, {min(ratios):.3f} to {max(ratios):.3f}")


def show_fake(folder: str) -> None:
    """Put eight FAKE devices on the path of every process that is started from now on."""
    target = Path(folder) / "libnvidia-ml.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(target), str(SOURCE), "-lm"], check=True)
    os.environ |= {"LD_LIBRARY_PATH": folder, "FAKE_NVML_COUNT": "8", "DEMO_MEETING_PLACE": folder}
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)


def say(line: str) -> None:
    """Print one line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Print a line for each figure."""
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    slow = {"backend": "demo", "phase": "infer", "warmup_steps": 1, "timed_steps": 200, "options": {"step_ms": 50.0}}
    bench_share("no GPU", Trial.model_validate(slow))
    bench_effect()
    with tempfile.TemporaryDirectory() as folder:
        show_fake(folder)
        bench_share("8 FAKE GPUs", Trial.model_validate(slow | {"device": "cuda", "gpus": 8}))


if __name__ == "__main__":
    main()
