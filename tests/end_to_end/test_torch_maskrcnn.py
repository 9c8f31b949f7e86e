"""The real detector through the command line."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Harness = Callable[..., "subprocess.CompletedProcess[str]"]
pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[2]
MATRIX = """
name: ranks
device: cpu
data: {train: "coco-mini:images=16,size=64/train", val: "coco-mini:images=11,size=64/val"}
defaults: {image_size: 64, warmup_steps: 1, timed_steps: 2, timeout_s: 240, cpu_threads: 1}
trials:
  - backend: torch_maskrcnn
    phase: [train, eval]
    backbone: resnet10
    fpn_channels: 16
    norm: batch
    axes: {gpus: [1, 2]}
exclude:
  - {when: {phase: train, gpus: 1}, because: "the demo does that"}
"""


def test_ranks_score_one_set_alike(harness: Harness, tmp_path: Path) -> None:
    """Eleven images on one and on two ranks: the same 24 numbers, and training runs on two ranks too."""
    (tmp_path / "ranks.yaml").write_text(MATRIX)
    ran = harness("run", "ranks.yaml")
    assert ran.returncode == 0, ran.stderr
    results = [json.loads(path.read_text()) for path in (tmp_path / "results/ranks/trials").glob("*.json")]
    trained = by_ranks(results, "train")[2]
    assert trained["outcome"]["kind"] == "ok"
    assert [window["images"] for window in trained["windows"]] == [2, 2]
    alone, together = (by_ranks(results, "eval")[ranks] for ranks in (1, 2))
    assert alone["accuracy"][0]["images"] == 11
    assert alone["accuracy"] == together["accuracy"]
    assert sorted(window["images"] for window in together["windows"]) == [5, 6]
    assert alone["provenance"]["packages"]["torch"].startswith("2.")
    report = (tmp_path / "results/ranks/report.html").read_text()
    assert "weights=random" in report


def by_ranks(results: list[dict[str, Any]], phase: str) -> dict[int, dict[str, Any]]:
    """The results of a phase by their number of ranks."""
    return {result["trial"]["gpus"]: result for result in results if result["trial"]["phase"] == phase}


def test_a_missing_file_of_weights_is_one_line_in_the_record(harness: Harness, tmp_path: Path) -> None:
    """The trial fails with its reason, and the rest of the matrix is not harmed."""
    text = MATRIX.replace("norm: batch", "norm: batch\n    weights: nowhere.safetensors").replace("[1, 2]", "1")
    (tmp_path / "ranks.yaml").write_text(text.split("exclude:")[0])
    ran = harness("run", "ranks.yaml", "--only", "phase=eval")
    assert ran.returncode == 1
    assert "nowhere.safetensors" in ran.stderr


def test_a_corrupt_image_is_named_and_ends_its_trial_only(harness: Harness, tmp_path: Path) -> None:
    """File and id are in the record of the trial that met it."""
    text = MATRIX.replace("size=64/val", "size=64,faults=true/val").replace("images=11", "images=16")
    (tmp_path / "ranks.yaml").write_text(text.replace("[1, 2]", "1").split("exclude:")[0])
    ran = harness("run", "ranks.yaml")
    assert ran.returncode == 1
    assert "1 ok, 1 failed" in ran.stdout
    (line,) = [line for line in ran.stderr.splitlines() if "failed:" in line]
    assert "of id" in line
    assert ".jpg" in line


def test_the_demo_matrix_plans_every_phase_precision_batch_and_rank(harness: Harness) -> None:
    """What the README promises of the demo is in its plan."""
    planned = json.loads(harness("plan", ROOT / "matrices/demo.yaml", "--json").stdout)
    trials = [point["trial"] for point in planned["points"]]
    assert {trial["phase"] for trial in trials} == {"train", "eval", "infer"}
    assert {trial["precision"] for trial in trials} == {"fp32", "tf32", "amp"}
    assert {1, 2} <= {trial["batch_size_per_gpu"] for trial in trials}
    assert {trial["gpus"] for trial in trials} == {1, 2}
    reasons = {point["trial"]["precision"]: point["reason"] for point in planned["points"]}
    assert "compute capability 8.0" in reasons["tf32"]
