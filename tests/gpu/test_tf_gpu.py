"""TensorFlow on a GPU, through the command line: `make gpu-check` runs it, and fails where there is none."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from harness.measure.machine import machine

GPUS = machine().gpus
pytestmark = pytest.mark.skipif(
    not GPUS and "HARNESS_REQUIRE_GPU" not in os.environ, reason="needs a GPU; `make gpu-check` runs this"
)

MATRIX = """
name: tf-gpu
device: cuda
data: {train: "coco-mini:images=32,size=256/train", val: "coco-mini:images=12,size=256/val"}
defaults: {image_size: 256, warmup_steps: 5, timed_steps: 20, timeout_s: 900, batch_size_per_gpu: 2}
trials:
  - backend: tf_maskrcnn
    phase: [train, infer]
    canvas: fixed
    axes: {precision: [fp32, tf32, amp], xla: [false, true]}
  - backend: tf_efficientdet_d0
    phase: [train, infer]
    axes: {precision: [fp32, tf32, amp], xla: [false, true]}
  - {backend: tf_maskrcnn, phase: eval, axes: {precision: [fp32, amp]}}
  - {backend: tf_efficientdet_d0, phase: eval, axes: {precision: [fp32, amp]}}
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The records of a small matrix on the GPU."""
    folder = tmp_path_factory.mktemp("tf-gpu")
    (folder / "gpu.yaml").write_text(MATRIX)
    command = [sys.executable, "-m", "harness.cli", "run", "gpu.yaml", "--results", "store"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return [json.loads(path.read_text()) for path in (folder / "store/trials").glob("*.json")]


def test_tensorflow_runs_every_point_or_says_why(results: list[dict[str, Any]]) -> None:
    """On a device of capability 8.0 and newer all is ok; on an older one tf32 says what it needs."""
    for result in results:
        outcome = result["outcome"]
        assert outcome["kind"] == "ok" or (outcome["kind"] == "unsupported" and "8.0" in outcome["reason"]), outcome


def test_tensorflow_ran_on_the_gpu_as_asked(results: list[dict[str, Any]]) -> None:
    """The device is the GPU, tf32 is on where it was asked for and nowhere else, and amp is float16."""
    ran = [result for result in results if result["outcome"]["kind"] == "ok"]
    assert {result["device_name"] for result in ran} == {GPUS[0].name}
    for result in ran:
        precision = result["trial"]["precision"]
        assert result["settings"]["tf32"] == str(precision == "tf32").lower()
        assert ("float16" in result["settings"]["half"]) == (precision == "amp")
