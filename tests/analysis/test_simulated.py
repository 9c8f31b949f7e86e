"""A simulated device has outcomes and no numbers, wherever its name stands."""

import pytest
from made_results import make_accuracy, make_machine, make_result, make_series
from made_telemetry import make_gpu, make_telemetry, on_gpus

from harness.analysis.frame import MEASURED, trial_frame
from harness.analysis.points import group
from harness.analysis.ratios import Comparisons
from harness.analysis.simulated import has_numbers, simulated_devices
from harness.analysis.tables import analyse
from harness.schema.system import GpuDevice

FAKE_GPU = GpuDevice(uuid="GPU-9", name="FAKE A100", memory_bytes=None, compute_capability="8.0")
PLACES = {
    "device": {"device_name": "FAKE A100"},
    "machine": {"machine": make_machine(gpus=1).model_copy(update={"gpus": (FAKE_GPU,)})},
    "telemetry": {"telemetry": make_telemetry(make_gpu(name="FAKE A100"))},
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("phase", ["train", "infer", "eval"])
def test_no_table_has_its_numbers(place, phase):
    """The row of its outcome stands, and says why there is nothing else."""
    result = make_result(
        phase=phase,
        device="cuda",
        measurements=(make_series("latency_ms", [1.0] * 100), make_series("loss", [1.0])),
        accuracy=(make_accuracy(0.4, 0.3, after_steps=9 if phase == "train" else None),),
        peak_memory_bytes=(7,),
        **({"evaluate": True} if phase == "train" else {}),
        **PLACES[place],
    )
    found = analyse([result, result.model_copy(update={"trial_id": "again"})], legacy=True)
    for row in (*found.training, *found.inference, *found.evaluation):
        assert row.throughput_images_per_s is None
        assert row.observed is None
        assert (row.point.ok, row.point.simulated, row.point.reason) == (0, 2, "simulated device FAKE A100")
    assert all(row.latency is None and row.peak_memory_bytes is None for row in found.inference)
    assert all(row.bbox is None for row in (*found.evaluation, *found.training_accuracy))
    assert (found.stability, found.frameworks, found.legacy) == ((), (), ())
    assert [(row.kind, row.note) for row in found.outcomes] == [("ok", "simulated device FAKE A100: no numbers")]
    assert found.summary.fake_devices == ("FAKE A100",)
    assert not has_numbers(result)


def test_the_table_of_trials_has_a_reason_instead():
    """Every measured cell is empty."""
    row = trial_frame([on_gpus(make_gpu(), device_name="FAKE A100")], legacy=True).iloc[0]
    assert (row["outcome"], row["reason"]) == ("ok", "simulated device FAKE A100")
    assert [row[name] for name in MEASURED] == [None] * len(MEASURED)
    assert row["legacy_trimmed_mean_90"] is None


def test_no_ratio_has_it_on_either_side():
    """Speed-up, scaling and XLA of a real row over it, or of it over a real one, are unknown with that reason."""
    fake = {"device": "cuda", "device_name": "FAKE A100"}
    results = [
        make_result(device="cuda", precision="amp"),
        make_result(**fake),
        make_result(**fake, rates=[(80, 10.0)] * 2, precision="amp"),
        make_result(**fake, xla=True),
    ]
    groups = group(results, "train")
    compared = Comparisons(groups)
    speedup = compared.speedup(groups[0], "fp32")
    assert (speedup.value, speedup.reason) == (None, "fp32 at batch size 1 ran on a simulated device")
    scaling = compared.scaling(groups[2])
    assert (scaling.factor.value, scaling.factor.reason) == (None, "2 ranks ran on a simulated device")
    assert scaling.efficiency is None
    by_xla = compared.speedup_of_xla(groups[3])
    assert (by_xla.value, by_xla.reason) == (None, "with XLA ran on a simulated device")
    one = compared.scaling(groups[1])
    assert one.factor.value is None


def test_a_real_repeat_beside_a_simulated_one_keeps_its_number():
    """And the point says how many have none."""
    results = [make_result(device="cuda"), make_result(device="cuda", repeat=1, device_name="FAKE A100")]
    (row,) = analyse(results).training
    assert row.throughput_images_per_s.values == (4.0,)
    assert (row.point.ok, row.point.simulated) == (1, 1)
    assert [(each.trials, each.note) for each in analyse(results).outcomes] == [
        (2, "simulated device FAKE A100 in 1 of 2 trials: no numbers")
    ]


@pytest.mark.parametrize("name", ["fake clock", "Fake H100", "NVIDIA FAKE", None])
def test_other_names_are_real(name):
    """Only the prefix of the simulator counts: the demo backend's device is a clock that is real."""
    assert simulated_devices(make_result(device_name=name)) == ()
