"""What telemetry saw, as numbers of a row: energy efficiency, power, memory and marks, unknown where any part is."""

import pytest
from made_results import make_result
from made_telemetry import make_extent, make_gpu, make_mark, make_telemetry, on_gpus

from harness.analysis.frame import trial_frame
from harness.analysis.observed import images_per_joule, joules, why_no_energy
from harness.analysis.performance import inference_rows, training_rows
from harness.schema.telemetry import Energy, HostTelemetry


def seen(*results):
    """What one training row says was sampled."""
    (row,) = training_rows(results)
    return row.observed


def test_images_per_joule_is_all_images_over_all_gpus():
    """Two ranks of 400 images on GPUs of 5,000 and 3,000 J make 0.1 images per joule, at 800 W together."""
    found = seen(on_gpus(make_gpu(0), make_gpu(1, 3000.0)))
    assert found.images_per_joule.values == (0.1,)
    assert found.joules.values == (8000.0,)
    assert found.power_w.values == (800.0,)
    assert found.no_energy is None


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (on_gpus(make_gpu(), make_gpu(1, None)), "the device has no energy counter that can be read"),
        (on_gpus(make_gpu(), make_gpu(1, energy=Energy(joules=None))), "a GPU has no energy counter"),
        (
            on_gpus(make_gpu(), rates=[(4, 1.0)] * 8, note="one node of two"),
            "telemetry of 1 of 8 GPUs: one node of two",
        ),
        (on_gpus(make_gpu(joules=0.0)), "the energy counters stood still"),
        (on_gpus(make_gpu(), telemetry=None), "nothing was sampled"),
        (make_result(telemetry=make_telemetry()), "the trial ran on the CPU"),
        (on_gpus(make_gpu(), device="cpu"), "the trial ran on the CPU"),
    ],
)
def test_energy_is_unknown_where_any_part_is(result, reason):
    """One GPU without a counter, one that was not seen: no sum of the others, and never 0."""
    assert joules(result) is None
    assert images_per_joule(result) is None
    assert why_no_energy(result) == reason


def test_a_row_says_how_many_of_its_trials_have_energy():
    """The spread is over those that have it; the reason of the first other stands beside."""
    found = seen(*(on_gpus(make_gpu(joules=each), repeat=n) for n, each in enumerate((4000.0, None, 5000.0))))
    assert found.images_per_joule.values == (0.1, 0.08)
    assert found.no_energy == "the device has no energy counter that can be read"


def test_different_reasons_are_counted():
    """The first stands in words."""
    notes = ("windows of 2 s are too short", "windows of 3 s are too short", "windows of 3 s are too short")
    gpus = [make_gpu(energy=Energy(joules=None, note=note)) for note in notes]
    found = seen(*(on_gpus(gpu, repeat=n) for n, gpu in enumerate(gpus)))
    assert found.no_energy == "windows of 2 s are too short (other trials, 1 other reasons)"


@pytest.mark.parametrize(
    ("changes", "held", "own"),
    [
        ([{"own_memory_bytes": 5}, {"own_memory_bytes": 9}], 9, True),
        ([{"own_memory_bytes": None}, {"own_memory_bytes": 9}], 30 * 2**30, False),
        ([{"own_memory_bytes": None, "memory_used_bytes": None}, {"own_memory_bytes": 9}], None, None),
    ],
)
def test_device_memory_tells_whose_it_is(changes, held, own):
    """Of the trial's processes where the driver tells them apart on every GPU, else of all, else unknown."""
    found = seen(on_gpus(*(make_gpu(n, **change) for n, change in enumerate(changes))))
    assert (found.device_memory_bytes, found.device_memory_is_own) == (held, own)


def test_power_is_unknown_without_that_of_every_gpu():
    """The power of one of two GPUs is no power of the trial."""
    assert seen(on_gpus(make_gpu(), make_gpu(1, power_w=None))).power_w is None


def test_marks_are_counted_by_kind():
    """Two kinds in three trials, each with the words of its first mark."""
    throttled, foreign = make_mark(), make_mark("foreign_process", "python3 held 3.0 GiB")
    results = [
        on_gpus(make_gpu(), repeat=n, marks=marks)
        for n, marks in enumerate(
            ((throttled, throttled, foreign), (), (throttled.model_copy(update={"text": "later"}),))
        )
    ]
    assert [(mark.kind, mark.text, mark.trials, mark.of) for mark in seen(*results).marks] == [
        ("throttled", "held down by SW_POWER_CAP", 2, 3),
        ("foreign_process", "python3 held 3.0 GiB", 1, 3),
    ]


def test_a_ratio_says_which_side_was_marked():
    """A speed-up over a throttled row is no speed-up alone."""
    results = [
        on_gpus(make_gpu(), marks=(make_mark(),)),
        on_gpus(make_gpu(), precision="amp", rates=[(800, 10.0)]),
        on_gpus(make_gpu(), make_gpu(1)),
    ]
    base, faster, scaled = training_rows(results)
    assert (faster.speedup_vs_fp32.value, faster.speedup_vs_fp32.caveat) == (
        2.0,
        "marked: fp32 at batch size 1",
    )
    assert scaled.scaling.factor.caveat == "marked: 1 rank"
    assert base.scaling.factor.caveat is None


def test_host_energy_is_that_of_processors():
    """Where they count it; of two repeats one value each."""
    hosts = [HostTelemetry(energy=Energy(joules=value, source="rapl")) for value in (300.0, 310.0)]
    results = [
        make_result(phase="infer", repeat=n, telemetry=make_telemetry(host=host)) for n, host in enumerate(hosts)
    ]
    (row,) = inference_rows(results)
    assert row.observed.host_joules.values == (300.0, 310.0)


def test_records_without_telemetry_have_none():
    """Older records, and trials that nobody watched."""
    assert seen(make_result()) is None


def test_the_table_of_trials_has_what_was_seen():
    """Numbers with their units, the reason where there is none, marks in words; nothing for what nobody watched."""
    results = [
        on_gpus(make_gpu(), marks=(make_mark(),)),
        on_gpus(make_gpu(joules=None, power_w=None, own_memory_bytes=None, memory_used_bytes=make_extent(8.0, 0.0))),
        make_result(),
    ]
    names = ["images_per_joule", "gpu_energy_j", "no_energy", "mean_gpu_power_w", "peak_device_memory_bytes", "marks"]
    frame = trial_frame(results)
    assert [list(row) for row in frame[names].itertuples(index=False)] == [
        [0.08, 5000.0, None, 400.0, 20 * 2**30, "throttled: held down by SW_POWER_CAP"],
        [None, None, "the device has no energy counter that can be read", None, 8, None],
        [None, None, None, None, None, None],
    ]
