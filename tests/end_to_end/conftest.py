"""The command line as a user types it, in processes of its own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

MATRIX = """
name: small
device: cpu
data: {train: "synthetic:32x24:6", val: "synthetic:32x24:6"}
defaults: {warmup_steps: 1, timed_steps: 4, timeout_s: 60}
trials:
  - backend: demo
    phase: [train, infer]
    axes: {precision: [fp32, amp], batch_size_per_gpu: [1, 2, 4], step_ms: 2.0}
"""


@pytest.fixture
def matrix(tmp_path: Path) -> Path:
    """A matrix of twelve short points."""
    path = tmp_path / "small.yaml"
    path.write_text(MATRIX)
    return path


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start `harness ARGUMENTS` in an empty folder; what still runs at the end of a test is killed."""
    processes: list[subprocess.Popen[str]] = []

    def started(*arguments: str | Path, **environment: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "harness.cli", *map(str, arguments)],
            cwd=tmp_path,
            env=os.environ | {"HARNESS_DATA_DIR": str(tmp_path / "data")} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield started
    for process in processes:
        with process:
            process.kill()


@pytest.fixture
def harness(start: Callable[..., "subprocess.Popen[str]"]) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Run `harness ARGUMENTS` to its end."""

    def ran(*arguments: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
        process = start(*arguments, **environment)
        output, errors = process.communicate(timeout=300)
        return subprocess.CompletedProcess(arguments, process.returncode, output, errors)

    return ran
