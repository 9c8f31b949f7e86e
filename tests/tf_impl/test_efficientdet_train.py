"""Training steps of EfficientDet: updates, losses, precisions, compiling, and what comes between updates.

Tracing a step costs seconds and compiling it by XLA many more, so that tests share their works.
"""

import json

import numpy as np
import pytest
from efficientdet_runs import everything, losses, opened, take, trial, variables, worst

from backends.tf_impl.efficientdet.model import LOSSES
from backends.tf_impl.graph import eager
from backends.tf_impl.layers import named_variables
from harness.api import UnsupportedTrialError

pytestmark = pytest.mark.tf
LEARNING = {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 0.05, "lr_warmup_steps": 0, "lr_total_steps": 0}
CROWDS = (0, 1, 100, 150)
"""Objects of the images of `crowded`."""


def record(work, count, evaluate_after=None):
    """Losses of so many steps, the weights after the second one, and detections in between where asked."""
    found = {"losses": []}
    for number, batch in enumerate(take(work, count), start=1):
        found.setdefault("compiles", []).append(work.compiles(batch))
        found["losses"].append(dict(work.read(work.step(batch))))
        if number == 2:
            found["weights"] = variables(work)
        if number == evaluate_after:
            found["detections"] = everything(work.evaluation())
    return found


@pytest.fixture(scope="module")
def first(mini, tmp_path_factory):
    """Three steps of the first model, twenty on one batch, its averages, and the weights that it saves."""
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    with opened(trial(options=LEARNING, batch_size_per_gpu=2), *mini) as work:
        found = record(work, 3)
        (batch,) = take(work, 1)
        found["repeated"] = [work.read(work.step(batch))["loss"] for _ in range(20)]
        found["trained"] = variables(work)
        found["detections"] = everything(work.evaluation())
        found["kept"] = {name: value.numpy() for name, value in named_variables(work._kept).items()}
        work.save(path)
        found["settings"] = work.settings()
    return {**found, "path": path}


@pytest.fixture(scope="module")
def second(first, mini):
    """Three steps of another model in the same process, with an evaluation after the first."""
    with opened(trial(options=LEARNING, batch_size_per_gpu=2), *mini) as work:
        return record(work, 3, evaluate_after=1)


@pytest.fixture(scope="module")
def graph(first):
    """The first model's first two steps."""
    return {"losses": first["losses"][:2], "weights": first["weights"]}


def test_losses_are_named_and_sum_up(first):
    """Three losses come back with their sum under `loss`."""
    found = first["losses"][0]
    assert list(found) == [*LOSSES, "loss"]
    assert found["loss"] == pytest.approx(sum(found[name] for name in LOSSES), rel=1e-6)
    assert min(found[name] for name in LOSSES) > 0


def test_twenty_steps_lower_the_loss(first):
    """On the same two images, the last five of twenty steps lose clearly less than the first five."""
    assert sum(first["repeated"][-5:]) < 0.8 * sum(first["repeated"][:5])


def test_only_the_first_step_compiles(first):
    """A work says of its first batch that it will compile, and of no other of that shape."""
    assert first["compiles"] == [True, False, False]


def test_a_second_model_in_one_process_is_as_good_as_the_first(first, second):
    """From one seed another model loses the same to the bit, and an evaluation in between changes nothing of that."""
    assert second["losses"] == first["losses"]
    assert len(second["detections"]) == 17


def test_evaluated_is_the_moving_average_of_all_variables(first):
    """The evaluated variables are neither the trained ones nor the initial ones, statistics included."""
    assert first["kept"].keys() == first["trained"].keys()
    for name in ("backbone.conv_stem.weight", "backbone.bn1.running_mean"):
        assert not np.array_equal(first["kept"][name], first["trained"][name])
        assert worst({name: first["kept"][name]}, {name: first["trained"][name]}) < 1


def test_saved_weights_are_the_evaluated_ones(first, mini):
    """An evaluation from the saved file finds to the bit what training's own evaluation found."""
    with opened(trial("eval", options={"weights": str(first["path"])}, batch_size_per_gpu=2), *mini) as work:
        assert worst(variables(work), first["kept"]) == 0
        found = everything(work)
    assert found.keys() == first["detections"].keys()
    for image_id, expected in first["detections"].items():
        for name in ("boxes_N4", "scores_N", "labels_N"):
            np.testing.assert_array_equal(getattr(found[image_id], name), getattr(expected, name))


def test_an_eager_step_is_the_compiled_one(graph, mini):
    """Two updates operation by operation have the losses and weights of the graph."""
    with opened(trial(options=LEARNING, batch_size_per_gpu=2), *mini) as work:
        batches = take(work, 2)
        with eager():
            found = [dict(work.read(work.step(batch))) for batch in batches]
        assert_same({"losses": found, "weights": variables(work)}, graph)


@pytest.mark.slow
def test_a_step_by_xla_is_the_graphs(mini):
    """Two updates compiled by XLA have the losses and weights of the graph.

    Norms are frozen: live ones over a handful of values make a hundredth of a gradient of any rounding.
    """
    frozen = {**LEARNING, "norm": "frozen"}
    with opened(trial(options=frozen, batch_size_per_gpu=2), *mini) as work:
        expected = record(work, 2)
    with opened(trial(options=frozen, batch_size_per_gpu=2, xla=True), *mini) as work:
        assert_same(record(work, 2), expected)
        assert work.settings()["xla"] == "true"


def assert_same(found, expected):
    """Hold two runs to each other within what the order of sums may change: biases before a live norm learn noise."""
    for step, wanted in zip(found["losses"], expected["losses"], strict=True):
        assert step == pytest.approx(wanted, rel=1e-4)
    for name, wanted in expected["weights"].items():
        np.testing.assert_allclose(found["weights"][name], wanted, rtol=1e-4, atol=1e-4, err_msg=name)


def test_amp_on_the_cpu_trains_in_bfloat16(first, mini):
    """Amp changes the losses a little, in bfloat16 and without loss scaling, over accumulated micro-batches too."""
    wanted = trial(options=LEARNING, precision="amp", batch_size_per_gpu=2, gradient_accumulation_steps=2)
    with opened(wanted, *mini) as work:
        (batch,) = take(work, 1)
        assert (batch.images, len(batch.payload)) == (4, 2)
        amp = work.read(work.step(batch))
        settings = work.settings()
    assert (settings["half"], settings["loss_scaling"]) == ("bfloat16", "false")
    assert amp["loss_l2"] == pytest.approx(first["losses"][0]["loss_l2"], rel=1e-6)
    assert amp["loss_class"] == pytest.approx(first["losses"][0]["loss_class"], rel=0.5)


@pytest.fixture
def crowded(tmp_path):
    """A set of four images with as many objects as `CROWDS` says."""
    from PIL import Image

    (tmp_path / "images").mkdir()
    images = [{"id": count + 1, "file_name": f"{count}.png", "width": 96, "height": 64} for count in CROWDS]
    random, annotations = np.random.default_rng(0), []
    for image, count in zip(images, CROWDS, strict=True):
        pixels = random.integers(0, 256, (64, 96, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / image["file_name"])
        for _ in range(count):
            x, y = random.uniform(0, 64), random.uniform(0, 40)
            width, height = random.uniform(4, 30), random.uniform(4, 20)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image["id"],
                    "category_id": 5,
                    "bbox": [x, y, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                    "segmentation": [],
                }
            )
    content = {"images": images, "annotations": annotations, "categories": [{"id": 5, "name": "five"}]}
    (tmp_path / "instances.json").write_text(json.dumps(content))
    return str(tmp_path)


def test_images_with_none_to_150_objects_train_and_rate_0_leaves_the_weights(crowded):
    """Images of 0 to 150 objects have finite gradients, none is dropped; at rate 0 weights and averages stay."""
    options = {"learning_rate": 0.0, "norm": "frozen", "scale_min": 1.0, "scale_max": 1.0}
    with opened(trial(options=options), crowded) as work:
        before, kept = variables(work), [value.numpy() for value in work._average._averages]
        seen = {}
        for batch in take(work, 4):
            (inputs,) = batch.payload
            labels_BM = inputs.targets["labels_BM"].numpy()
            assert labels_BM.shape == (1, max(CROWDS))
            seen[int((labels_BM > 0).sum())] = work.read(work.step(batch))
            slopes = [slot.numpy() for slot in work._trainer.solver._slots[0]]
            assert all(np.isfinite(slope).all() for slope in slopes)
            assert any(slope.any() for slope in slopes)
        assert worst(variables(work), before) == 0
        for average, value in zip(work._average._averages, kept, strict=True):
            np.testing.assert_array_equal(average.numpy(), value)
    assert sorted(seen) == sorted(CROWDS)
    assert all(np.isfinite(value) for found in seen.values() for value in found.values())
    assert seen[0]["loss_box"] == 0
    assert seen[1]["loss_box"] > 0


@pytest.mark.parametrize(
    ("options", "axes", "message"),
    [
        ({"norm": "group"}, {}, "norm is 'group'"),
        ({"num_classes": 3}, {}, "num_classes is 3; the data set's labels need 5"),
        ({}, {"image_size": 100}, "image_size is 100; a multiple of 128"),
        ({"half": "fp16"}, {"precision": "amp"}, "half fp16 needs a CUDA device"),
        ({}, {"precision": "tf32"}, "tf32 needs a CUDA device"),
        ({}, {"gpus": 2}, "2 ranks need the environment of the launcher horovod"),
    ],
)
def test_what_cannot_be_had_is_declined(mini, options, axes, message):
    """Bad options, sizes, precisions and missing ranks end in one line that says what was found."""
    with pytest.raises(UnsupportedTrialError, match=message), opened(trial(options=options, **axes), *mini):
        pass


def test_a_set_without_objects_cannot_be_trained_on(tmp_path, crowded):
    """A set whose images have no object is declined in one line."""
    file = tmp_path / "instances.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "annotations": []}))
    with opened(trial(), crowded) as work, pytest.raises(UnsupportedTrialError, match="none of the 4 training images"):
        losses(work, 1)


def test_published_settings_are_reported(first):
    """The settings say what runs: solver, schedule, average, jitter, canvas."""
    expected = {
        "optimizer": "sgd",
        "learning_rate": "0.05",
        "momentum": "0.9",
        "weight_decay": "4e-05",
        "clip_norm": "10",
        "ema_decay": "0.999",
        "scale_jitter": "0.1 to 2",
        "canvas": "128 x 128",
        "variant": "d0",
        "lr_warmup": "0 steps from 0.002",
        "lr_steps": "never",
        "ranks_equal": "one rank",
    }
    assert {key: first["settings"][key] for key in expected} == expected
