"""`harness run` on FAKE GPUs: what the store has of them."""

import gzip
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from nvml_library import environment

Harness = Callable[..., "subprocess.CompletedProcess[str]"]

MATRIX = """
name: watched
device: cuda
data: {train: "synthetic:32x24:6", val: "synthetic:32x24:6"}
defaults: {warmup_steps: 1, timed_steps: 60, timeout_s: 60}
trials:
  - backend: demo
    phase: infer
    axes: {gpus: 1, seed: [1, 2], step_ms: 10.0}
"""
SCENARIO = """
0 reasons 0 4
0 process {foreign} 1048576
1 lost 0
"""


def test_telemetry_is_in_the_record(harness: Harness, tmp_path: Path) -> None:
    """Of the trial's GPU alone, with its marks; the energy of a short window is null with the reason, never 0."""
    (tmp_path / "watched.yaml").write_text(MATRIX)
    fake = environment(tmp_path / "scenario", SCENARIO.format(foreign=os.getpid()), 3)
    ran = harness("run", "watched.yaml", CUDA_VISIBLE_DEVICES="0,2", **fake)
    assert (ran.returncode, ran.stdout.splitlines()[0]) == (0, "2 ok"), ran.stderr
    store = tmp_path / "results" / "watched"
    for path in (store / "trials").glob("*.json"):
        telemetry = json.loads(path.read_text())["telemetry"]
        assert [gpu["uuid"] for gpu in telemetry["gpus"]] == ["GPU-00000000-fake"]
        energy = telemetry["gpus"][0]["energy"]
        assert (energy["joules"], energy["source"]) == (None, "nvmlDeviceGetTotalEnergyConsumption")
        assert energy["note"].endswith("; 50 ticks of the counter, 5 s, are needed")
        assert telemetry["gpus"][0]["power_w"]["mean"] == 250
        marks = {mark["kind"]: mark["text"] for mark in telemetry["marks"] if mark["device"]}
        assert set(marks) == {"throttled", "foreign_process"}
        assert marks["throttled"] == "software power cap in 100% of the samples"
        assert marks["foreign_process"].endswith(f"({os.getpid()})")
        assert 0.5 < telemetry["window_s"] < 5
        assert telemetry["note"] is None
        lines = gzip.decompress((store / telemetry["samples_file"]).read_bytes()).splitlines()
        assert len(lines) > telemetry["samples"] > 2


def test_a_run_on_no_gpu_has_the_host(harness: Harness, matrix: Path, tmp_path: Path) -> None:
    """Its CPU time is told apart; a point that runs again keeps the samples of its older record beside."""
    assert harness("run", matrix, "--only", "phase=infer batch_size_per_gpu=1 precision=fp32").returncode == 0
    store = tmp_path / "results" / "small"
    (record,) = (json.loads(path.read_text()) for path in (store / "trials").glob("*.json"))
    assert record["telemetry"]["gpus"] == []
    assert record["telemetry"]["sampler_cpu_s"] > 0
    assert record["telemetry"]["host"]["energy"]["joules"] != 0
    assert (
        harness("run", matrix, "--fresh", "--only", "phase=infer batch_size_per_gpu=1 precision=fp32").returncode == 0
    )
    names = sorted(path.name for path in (store / "telemetry").iterdir())
    assert names == [f"{record['trial_id']}.0.jsonl.gz", f"{record['trial_id']}.jsonl.gz"]
