"""One set of weights in both frameworks, through the command line."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Harness = Callable[..., "subprocess.CompletedProcess[str]"]
pytestmark = [pytest.mark.torch, pytest.mark.tf, pytest.mark.slow]

MATRIX = """
name: frameworks
device: cpu
data: {train: "coco-mini:images=64,size=64/train", val: "coco-mini:images=8,size=64/val"}
defaults: {image_size: 64, warmup_steps: 1, timed_steps: 1, timeout_s: 240, cpu_threads: 1, backbone: resnet10,
  fpn_channels: 32, norm: batch, flavour: torchvision, rois_per_image: 32}
trials:
  - {backend: torch_maskrcnn, phase: train, batch_size_per_gpu: 8, timed_steps: 30, optimizer: adamw,
     learning_rate: 3e-3, save_weights: small}
  - {backend: torch_maskrcnn, phase: eval, weights: "store:small", probe: true}
  - {backend: tf_maskrcnn, phase: eval, weights: "store:small", probe: true}
"""
CONVERTED = MATRIX.partition("  - ")[0] + "  - {backend: tf_maskrcnn, phase: eval, weights: small-tf.safetensors}\n"


@pytest.fixture
def records(harness: Harness, tmp_path: Path) -> dict[str, dict[str, Any]]:
    """The two evaluations by framework, and a third one of the file that `weights convert` makes."""
    (tmp_path / "frameworks.yaml").write_text(MATRIX)
    ran = harness("run", "frameworks.yaml")
    assert ran.returncode == 0, ran.stderr
    store = tmp_path / "results/frameworks"
    converted = harness("weights", "convert", store / "weights/small.safetensors", "small-tf.safetensors", "--to", "tf")
    assert converted.returncode == 0, converted.stderr
    (tmp_path / "converted.yaml").write_text(CONVERTED.replace("name: frameworks", "name: converted"))
    again = harness("run", "converted.yaml")
    assert again.returncode == 0, again.stderr
    return {
        "torch": evaluation(store, "torch_maskrcnn"),
        "tensorflow": evaluation(store, "tf_maskrcnn"),
        "converted": evaluation(tmp_path / "results/converted", "tf_maskrcnn"),
        "report": json.loads((harness("report", store, "--format", "json")).stdout),
    }


def test_the_same_weights_score_alike_in_both_frameworks(records: dict[str, dict[str, Any]]) -> None:
    """All 24 numbers to 1e-3, of weights that find something, before and after conversion; tensors to 1e-5."""
    ours, theirs, converted = (numbers(records[name]) for name in ("tensorflow", "torch", "converted"))
    assert records["tensorflow"]["weights_read"] == records["torch"]["weights_read"]
    assert theirs["bbox", "ap50"] > 0.01
    assert ours == pytest.approx(theirs, abs=1e-3)
    assert converted == pytest.approx(ours, abs=1e-6)
    assert differences(records["tensorflow"]["probe"], records["torch"]["probe"]) < 1e-5
    assert records["tensorflow"]["probe"]["image_ids"] == records["torch"]["probe"]["image_ids"]
    assert "frameworks" in json.dumps(records["report"])


def evaluation(store: Path, backend: str) -> dict[str, Any]:
    """The record of a backend's only evaluation in a store."""
    (path,) = (store / "trials").glob(f"{backend}-eval-*.json")
    return dict(json.loads(path.read_text()))


def numbers(record: dict[str, Any]) -> dict[tuple[str, str], float]:
    """The twelve numbers of boxes and of masks; one that no object defines is -1."""
    return {
        (metrics["kind"], name): -1.0 if value is None else value
        for metrics in record["accuracy"][0]["metrics"]
        for name, value in metrics.items()
        if name != "kind"
    }


def differences(one: dict[str, Any], other: dict[str, Any]) -> float:
    """The largest difference of sampled values, as a share of the tensor's largest value."""
    pairs = {tensor["name"]: tensor for tensor in one["tensors"]}
    theirs = {tensor["name"]: tensor for tensor in other["tensors"]}
    assert pairs.keys() == theirs.keys()
    assert len(pairs) > 15
    return max(
        abs(left - right) / theirs[name]["largest"]
        for name, tensor in pairs.items()
        for left, right in zip(tensor["values"], theirs[name]["values"], strict=True)
    )
