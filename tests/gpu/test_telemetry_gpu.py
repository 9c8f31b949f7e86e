"""The sensors of a real GPU, which the library of FAKE devices cannot vouch for."""

import os
import time
from pathlib import Path

import pytest
from records import demo_trial

from harness.measure.machine import machine
from harness.runner.observer import SAMPLES_FILE, Observer
from harness.schema.measurement import Window
from harness.schema.result import Outcome, RankRecord

GPUS = machine().gpus
pytestmark = pytest.mark.skipif(
    not GPUS and "HARNESS_REQUIRE_GPU" not in os.environ, reason="needs a GPU; `make gpu-check` runs this"
)
WINDOW_S = 10.0


def test_a_gpus_counter_agrees_with_its_power(tmp_path: Path) -> None:
    """Ten seconds of a GPU that nothing changes at: energy is power times time, to a fifth; all is of that device."""
    (tmp_path / "scratch").mkdir()
    with Observer() as observer:
        observer.begin(demo_trial(device="cuda"), tmp_path / "scratch")
        deadline = time.monotonic() + 60
        while not (tmp_path / "scratch" / SAMPLES_FILE).exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1.0)
        start = time.monotonic_ns()
        time.sleep(WINDOW_S)
        spans = ((start, time.monotonic_ns()),)
        fields = {"rank": 0, "images": 1, "steps": 1, "elapsed_s": WINDOW_S, "warmup_steps": 0, "warmup_s": 0.0}
        window = Window.model_validate(fields | {"spans_ns": spans})
        record = RankRecord(rank=0, outcome=Outcome(kind="ok"), windows=(window,), peak_memory_bytes=1)
        telemetry = observer.end([record], tmp_path / "scratch", tmp_path / "kept" / "samples.jsonl.gz")
    (gpu,) = telemetry.gpus
    assert (gpu.uuid, gpu.name) == (GPUS[0].uuid, GPUS[0].name)
    assert gpu.power_w is not None
    assert gpu.power_w.low > 0
    assert gpu.temperature_c is not None
    assert 5 < gpu.temperature_c.mean < 110
    assert gpu.samples > 80
    if gpu.energy.source is not None:
        assert gpu.energy.joules == pytest.approx(gpu.power_w.mean * telemetry.window_s, rel=0.2), gpu.energy
