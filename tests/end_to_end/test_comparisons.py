"""Stores that real runs made, compared through the command line."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

Harness = Callable[..., "subprocess.CompletedProcess[str]"]

MATRIX = """
name: turns
device: cpu
data: {train: "synthetic:32x24:6", val: "synthetic:32x24:6"}
defaults: {warmup_steps: 1, timed_steps: 12, timeout_s: 60, repeats: 5}
trials:
  - {backend: demo, phase: infer, axes: {step_ms: [1.0, 20.0]}}
"""


def test_two_stores_by_turns_are_comparable(harness: Harness, tmp_path: Path) -> None:
    """What a run records of this machine agrees with what the next one does; one process a side is no verdict."""
    matrix = tmp_path / "turns.yaml"
    matrix.write_text(MATRIX)
    for store in ("a", "b"):
        assert harness("run", matrix, "--results", store, "--only", "repeat=0").returncode == 0
    ran = harness("compare", "a", "b", "--json")
    assert ran.returncode == 2, ran.stdout + ran.stderr
    found = json.loads(ran.stdout)["stores"][0]
    assert found["counts"] == {"inconclusive": 2}
    assert [pair["base_outcomes"] for pair in found["pairs"]] == [{"ok": 1}] * 2


def test_values_of_an_axis_take_turns_in_one_run(harness: Harness, tmp_path: Path) -> None:
    """Twenty times the device time is slower, whichever value is the base, and no order in time is complained of."""
    matrix = tmp_path / "turns.yaml"
    matrix.write_text(MATRIX)
    assert harness("run", matrix, "--results", "one").returncode == 0
    ran = harness("compare", "one", "--by", "step_ms")
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "slower" in ran.stdout
    assert "ran before" not in ran.stdout
    assert harness("compare", "one", "--by", "step_ms", "--base", "20.0").returncode == 0
