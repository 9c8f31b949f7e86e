"""`--rehearse` from the matrix to the report."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from harness.runner.launchers import LAUNCHERS

Harness = Callable[..., "subprocess.CompletedProcess[str]"]

MATRIX = """
name: large
device: cuda
requires: {gpus: 64, gpu_memory_gib: 999.0}
data: {train: nowhere/train, val: nowhere/val}
trials:
  - backend: demo
    phase: infer
    launcher: LAUNCHER
    axes: {batch_size_per_gpu: [1, 16, 256], precision: [fp32, amp]}
"""


def test_any_matrix_is_rehearsed(harness: Harness, tmp_path: Path) -> None:
    """Whatever it requires and wherever its data are: each point has its row, in a store of its own."""
    (tmp_path / "large.yaml").write_text(MATRIX.replace("LAUNCHER", "local"))
    planned = harness("plan", "large.yaml", "--rehearse")
    assert planned.stdout.startswith("will run: 6 of 6 points, rehearsed by 4 small trials")
    ran = harness("run", "large.yaml", "--rehearse")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("6 ok\n")
    folder = tmp_path / "results" / "large-rehearsal"
    results = [json.loads(path.read_text()) for path in (folder / "trials").glob("*.json")]
    assert sorted(result["trial"]["batch_size_per_gpu"] for result in results) == [1, 1, 16, 16, 256, 256]
    assert {result["trial"]["device"] for result in results} == {"cuda"}
    assert {result["matrix_name"] for result in results} == {"large-rehearsal"}
    assert "these numbers are no measurement" in (folder / "report.md").read_text()
    assert harness("report", folder, "--update", tmp_path / "large.yaml").stderr.endswith(
        "6 of the trials are rehearsals; only measurements are published\n"
    )


def test_without_it_the_same_matrix_cannot_run_here(harness: Harness, tmp_path: Path) -> None:
    """The rehearsal is asked for, never a fallback."""
    (tmp_path / "large.yaml").write_text(MATRIX.replace("LAUNCHER", "local"))
    ran = harness("run", "large.yaml")
    assert ran.stdout.startswith("6 unsupported\n")


def test_every_launcher_can_be_written_in_a_matrix(harness: Harness, tmp_path: Path) -> None:
    """One that the backend does not have makes its points unsupported, with the reason."""
    for launcher in LAUNCHERS:
        (tmp_path / "large.yaml").write_text(MATRIX.replace("LAUNCHER", launcher))
        planned = harness("plan", "large.yaml", "--rehearse").stdout
        refused = f"demo has no launcher {launcher}; it has local" in planned
        assert refused is (launcher != "local")
