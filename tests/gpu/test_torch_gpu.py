"""What only a GPU can show, through the command line: `make gpu-check` runs it, and fails where there is none."""

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
name: gpu
device: cuda
data: {train: "coco-mini:images=32,size=256/train", val: "coco-mini:images=12,size=256/val"}
defaults: {image_size: 256, warmup_steps: 5, timed_steps: 20, timeout_s: 600}
trials:
  - backend: torch_maskrcnn
    phase: [train, infer]
    axes: {precision: [fp32, tf32, amp], flavour: [nvidia, torchvision]}
  - {backend: torch_maskrcnn, phase: eval, axes: {precision: [fp32, amp]}}
  - {backend: torch_maskrcnn, phase: train, precision: amp, half: bf16}
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The records of a small matrix on the GPU."""
    folder = tmp_path_factory.mktemp("gpu")
    (folder / "gpu.yaml").write_text(MATRIX)
    command = [sys.executable, "-m", "harness.cli", "run", "gpu.yaml", "--results", "store"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return [json.loads(path.read_text()) for path in (folder / "store/trials").glob("*.json")]


def test_there_is_a_gpu() -> None:
    """Asking for the GPU checks on a machine without one is a failure, not a pass."""
    assert GPUS, machine().gpu_note


def test_every_point_runs_or_says_why(results: list[dict[str, Any]]) -> None:
    """On a device of capability 8.0 and newer all is ok; on an older one tf32 says what it needs."""
    for result in results:
        outcome = result["outcome"]
        assert outcome["kind"] == "ok" or (outcome["kind"] == "unsupported" and "8.0" in outcome["reason"]), outcome


def test_the_device_is_named_and_fp16_is_scaled(results: list[dict[str, Any]]) -> None:
    """What ran is the GPU, in the half type that was asked for."""
    ran = [result for result in results if result["outcome"]["kind"] == "ok"]
    assert {result["device_name"] for result in ran} == {GPUS[0].name}
    halves = {
        result["trial"]["options"]["half"]: result["settings"]["half"]
        for result in ran
        if result["trial"]["precision"] == "amp" and result["trial"]["phase"] == "train"
    }
    assert halves["auto"].startswith("fp16")
    assert halves["bf16"].startswith("bf16")


def test_precisions_agree_on_the_first_loss(results: list[dict[str, Any]]) -> None:
    """The same seed and data: reduced precision moves the first loss by little."""
    first: dict[tuple[str, str], float] = {}
    for result in results:
        if result["trial"]["phase"] == "train" and result["outcome"]["kind"] == "ok":
            losses = next(series for series in result["measurements"] if series["name"] == "loss")
            trial = result["trial"]
            first.setdefault((trial["options"]["flavour"], trial["precision"]), losses["warmup_values"][0])
    assert first
    for (flavour, _), loss in first.items():
        assert loss == pytest.approx(first[flavour, "fp32"], rel=0.02)


def test_the_device_times_every_step_within_the_host_s_window(results: list[dict[str, Any]]) -> None:
    """CUDA events beside the host's clock: one time a step, together no more than the window, but for two clocks."""
    for result in results:
        if result["outcome"]["kind"] != "ok":
            continue
        (window,) = result["windows"]
        series = {each["name"]: each["values"] for each in result["measurements"]}
        assert len(series["device_ms"]) == window["steps"]
        assert 0 < sum(series["device_ms"]) / 1000 <= window["device_s"] * 1.001
        assert window["device_s"] <= window["elapsed_s"] * 1.01
        assert result["timer"]["mark_ns"] > 0
        if result["trial"]["phase"] != "train":
            assert len(series["latency_device_ms"]) == len(series["latency_ms"])
