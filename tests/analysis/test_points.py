"""Which trials make one row, and that no two rows look alike."""

from hypothesis import given, settings
from hypothesis import strategies as st
from made_results import make_machine, make_result

from harness.analysis.points import common_settings, group, points
from harness.schema.trial import Target


def variants(results, phase="train"):
    """What tells the rows of a phase apart."""
    return [point.variant for _, point in points(results, phase)]


def test_repeats_and_seeds_share_a_row():
    """Trials that differ in seed, repeat, time-out or saved weights replicate one point."""
    trials = [{}, {"repeat": 1}, {"seed": 7}, {"timeout_s": 5.0}, {"save_weights": "small"}]
    assert len(group([make_result(**each) for each in trials], "train")) == 1


def test_other_settings_make_other_rows():
    """Every other setting, and another kind of machine or matrix, is another point."""
    trials = [
        {},
        {"batch_size_per_gpu": 2},
        {"precision": "amp"},
        {"xla": True},
        {"image_size": 128},
        {"options": {"flavour": "nvidia"}},
        {"gradient_accumulation_steps": 2},
        {"timed_steps": 7},
        {"target": Target(bbox_ap=0.3)},
        {"machine": make_machine(gpus=1)},
        {"matrix_name": "other"},
    ]
    assert len(group([make_result(**each) for each in trials], "train")) == len(trials)


def test_number_of_visible_gpus_is_no_other_machine():
    """A trial that saw one of eight GPUs stands beside one that saw all."""
    assert len(group([make_result(machine=make_machine(gpus=n)) for n in (1, 8)], "train")) == 1


def test_settings_of_training_do_not_split_inference():
    """What only training reads tells no inference trials apart."""
    trials = [{}, {"evaluate": True}, {"target": Target(bbox_ap=0.3)}]
    assert len(group([make_result(phase="infer", **each) for each in trials], "infer")) == 1


def test_only_settings_that_vary_are_shown():
    """What all rows share stands once, what differs stands in the rows."""
    results = [make_result(image_size=size, options={"flavour": "nvidia"}) for size in (128, 256)]
    assert variants(results) == [{"image_size": "128"}, {"image_size": "256"}]
    shared = common_settings(group(results, "train"))
    assert shared["flavour"] == "nvidia"
    assert "image_size" not in shared


def test_options_of_one_backend_are_not_missed_in_another():
    """An option that only one backend has tells nothing apart, and is named with its backend."""
    results = [make_result(options={"flavour": "nvidia"}), make_result(backend="demo")]
    assert variants(results) == [{}, {}]
    assert common_settings(group(results, "train"))["torch_maskrcnn: flavour"] == "nvidia"


def test_a_setting_of_all_backends_is_compared_among_them():
    """Two backends at different image sizes show both sizes."""
    results = [make_result(image_size=128), make_result(backend="demo", image_size=512)]
    assert variants(results) == [{"image_size": "128"}, {"image_size": "512"}]


TRIALS = st.fixed_dictionaries(
    {
        "backend": st.sampled_from(["a", "b"]),
        "rates": st.sampled_from([[(1, 1.0)], [(1, 1.0)] * 2]),
        "batch_size_per_gpu": st.integers(1, 2),
        "precision": st.sampled_from(["fp32", "amp"]),
        "xla": st.booleans(),
        "gradient_accumulation_steps": st.integers(1, 2),
        "image_size": st.sampled_from([None, 128]),
        "timed_steps": st.sampled_from([5, 6]),
        "options": st.dictionaries(st.sampled_from(["flavour", "depth"]), st.sampled_from([True, 1, "1", "x"])),
        "matrix_name": st.sampled_from(["m", "n"]),
    }
)


@settings(max_examples=40)
@given(st.lists(TRIALS, min_size=2, max_size=6))
def test_no_two_rows_look_alike(trials):
    """Whatever a matrix crosses, columns and shown settings together tell every row from every other."""
    shown = [
        point.model_dump_json(exclude={"outcomes", "reason", "trial_ids", "device_name"})
        for _, point in points([make_result(**each) for each in trials], "train")
    ]
    assert len(set(shown)) == len(shown)


@settings(max_examples=15)
@given(st.lists(TRIALS, min_size=1, max_size=6))
def test_every_trial_is_in_one_row(trials):
    """No result is lost and none counts twice."""
    results = [make_result(**each) for each in trials]
    listed = [trial_id for _, point in points(results, "train") for trial_id in point.trial_ids]
    assert sorted(listed) == sorted(result.trial_id for result in results)


def test_effective_batch_size_counts_ranks_and_accumulation():
    """2 nodes × 4 GPUs × 3 images × 5 accumulated steps is 120 images an update."""
    result = make_result(nodes=2, gpus=4, batch_size_per_gpu=3, gradient_accumulation_steps=5)
    ((_, point),) = points([result], "train")
    assert (point.ranks, point.global_batch_size, point.effective_batch_size) == (8, 24, 120)
