"""Both models on native kernels and on TensorFlow's own operations: the same targets, losses, gradients, detections."""

from unittest import mock

import efficientdet_runs
import numpy as np
import pytest
import tensorflow as tf
import tf_runs

from backends.tf_impl.efficientdet.anchors import anchors_of
from backends.tf_impl.efficientdet.config import EfficientDetConfig
from backends.tf_impl.efficientdet.matching import assign
from backends.tf_impl.efficientdet.model import EfficientDet
from backends.tf_impl.graph import compiled
from backends.tf_impl.kernels import framework, native
from backends.tf_impl.layers import named_variables
from backends.tf_impl.maskrcnn.config import MaskRCNNConfig
from backends.tf_impl.maskrcnn.crops import native_crops
from backends.tf_impl.maskrcnn.matching import Sampler
from backends.tf_impl.maskrcnn.model import MaskRCNN
from backends.tf_impl.maskrcnn.targets import BORDER, CROP, packed_bitmaps, pad_objects
from harness.api import UnsupportedTrialError
from harness.data import crop_targets, open_dataset
from harness.kernels import KernelError, load

pytestmark = pytest.mark.tf
FLAVOURS = ("nvidia", "torchvision")
PADDED = (64, 128)
SIZES = tf.constant([[64, 120], [60, 128]], tf.int32)
FEW = {"roi_samples": 32, "rpn_pre_nms_train": 60, "rpn_pre_nms_test": 60, "rpn_post_nms_test": 40, "detections": 20}
NARROW = {"width": 0.25, "depth": 0.25, "fpn_channels": 16, "fpn_cells": 1, "head_depth": 1, "num_classes": 3}


@pytest.fixture(scope="module", autouse=True)
def built():
    """The native operations."""
    native.load("cpu")


def images(height, width):
    """Two images of random pixels."""
    return tf.constant(np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype=np.uint8))


def assert_near(found, expected, tolerance):
    """Each tensor within a tolerance of its own greatest number, or of a millionth."""
    assert found.keys() == expected.keys()
    far = {}
    for name, wanted in expected.items():
        difference = np.abs(np.asarray(found[name], np.float64) - np.asarray(wanted, np.float64))
        far[name] = float(difference.max() / max(np.abs(wanted).max(), 1e-6))
    assert {name: value for name, value in far.items() if not value <= tolerance} == {}


def step_of(model, loss_sums):
    """Sums, counts and gradients of a batch, by name."""
    trained = {name: part for name, part in named_variables(model).items() if part.trainable}

    def step(*batch):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(list(trained.values()))
            sums_L, counts_L = loss_sums(*batch)
            total = tf.reduce_sum(sums_L / tf.maximum(counts_L, 1.0))
        found = tape.gradient(total, trained, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return sums_L, counts_L, found

    return step


def mask_rcnn(flavour, kernels):
    """A model of few channels, sure of itself, the same for each kind of kernels."""
    config = MaskRCNNConfig.preset(flavour, num_classes=4, backbone="resnet10", fpn_channels=8, norm="frozen", **FEW)
    model = MaskRCNN(config, kernels=kernels)
    model.initialise(3)
    tf_runs.confident(model, 10.0)
    return model


def objects_of(flavour):
    """Targets: two objects in the first image, none in the second."""
    stream = np.random.default_rng(1)
    boxes = np.array([[5, 6, 40, 50], [60, 10, 110, 60]], np.float32)
    if flavour == "nvidia":  # a noisy crop would have pixels that any rounding of an edge turns
        masks = np.pad(np.ones((2, CROP, CROP), np.uint8), ((0, 0), (BORDER, BORDER), (BORDER, BORDER)))
    else:
        masks = packed_bitmaps(stream.random((2, *PADDED)) > 0.5, *PADDED)
    parts = [pad_objects(boxes[:n], np.array([1, 3], np.int32)[:n], masks[:n], 3) for n in (2, 0)]
    stacked = {name: tf.constant(np.stack([part[name] for part in parts])) for name in parts[0]}
    return {**stacked, "image_ids": tf.constant([11, 1 << 40], tf.int64)}


@pytest.fixture(scope="module", params=FLAVOURS)
def pair(request):
    """A flavour, its model on TensorFlow's operations, and its model on native kernels."""
    return request.param, mask_rcnn(request.param, framework), mask_rcnn(request.param, native)


def test_a_step_of_mask_rcnn_is_the_same(pair, monkeypatch):
    """Losses agree within 1e-6, gradients within 1e-5 of their greatest, eagerly and in a graph; counts are equal.

    Both learn from the same proposals: an edge that rounding moves would turn single pixels of a mask target.
    """
    flavour, theirs, ours = pair
    batch = (images(*PADDED), SIZES, objects_of(flavour), tf.constant(3, tf.int64))
    outputs = theirs.rpn_outputs(theirs.features(theirs.normalize(*batch[:2])), PADDED)
    proposals = theirs.rpn.propose(outputs, SIZES, training=True)
    for model in (theirs, ours):
        monkeypatch.setattr(model.rpn, "propose", lambda *_, **__: proposals)
    sums_L, counts_L, gradients = step_of(theirs, lambda *batch: theirs.loss_sums(*batch, 7))(*batch)
    step = step_of(ours, lambda *batch: ours.loss_sums(*batch, 7))
    for run in (step, compiled(step, xla=False)):
        found_L, found_counts_L, found = run(*batch)
        assert found_counts_L.numpy().tolist() == counts_L.numpy().tolist()
        np.testing.assert_allclose(found_L, sums_L, rtol=1e-6)
        assert_near(found, gradients, 1e-5)


def test_detections_of_mask_rcnn_are_the_same(pair):
    """The same labels in the same places, boxes, scores and masks within rounding, and the same pixels pasted."""
    _, theirs, ours = pair
    wanted = theirs.predict(images(*PADDED), SIZES)
    found = compiled(ours.predict, xla=False)(images(*PADDED), SIZES)
    assert wanted["count"].numpy().min() > 5
    for name in ("count", "labels"):
        np.testing.assert_array_equal(found[name], wanted[name])
    for name in ("boxes", "scores", "masks"):
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-5, atol=1e-5)
    pasted = [model.paste(wanted["masks"][0], wanted["boxes"][0], *PADDED).numpy() for model in (theirs, ours)]
    assert pasted[0].any()
    np.testing.assert_array_equal(*pasted)


def test_what_mask_rcnn_learns_is_the_same_to_the_bit(pair):
    """From the same proposals, anchors and RoIs get the same objects, and the same ones of them are sampled."""
    flavour, theirs, ours = pair
    targets = objects_of(flavour)
    pyramid = theirs.features(theirs.normalize(images(*PADDED), SIZES))
    outputs = theirs.rpn_outputs(pyramid, PADDED)
    anchors_N4 = tf.concat(outputs.anchors, axis=0)
    proposals = theirs.rpn.propose(outputs, SIZES, training=True)
    for wanted, found in zip(theirs.rpn.assign(anchors_N4, targets), ours.rpn.assign(anchors_N4, targets), strict=True):
        np.testing.assert_array_equal(found, wanted)
    sampled = [model.roi_heads.sample(proposals, targets, Sampler(1, 2)) for model in (theirs, ours)]
    assert (sampled[0].labels.numpy() > 0).any()
    for wanted, found in zip(*sampled, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert_near(*(model.rpn.propose(outputs, SIZES, training=True)._asdict() for model in (ours, theirs)), 1e-6)


def efficientdet(kernels, **overrides):
    """A narrow model, the same for each kind of kernels."""
    config = EfficientDetConfig.preset("d0", **NARROW, norm="frozen", candidates=200, max_detections=20, **overrides)
    model = EfficientDet(config, kernels=kernels)
    model.initialise(1)
    efficientdet_runs.confident(model)
    return model


SQUARE = (images(128, 128), tf.constant([[128, 128], [100, 90]]))
BOXES = {
    "boxes_BM4": tf.constant([[[4.0, 4, 50, 60], [60, 60, 100, 90], [0, 0, 0, 0]], [[9.0, 9, 9, 9]] * 3]),
    "labels_BM": tf.constant([[3, 1, 0], [2, 0, 0]]),
}


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_step_of_efficientdet_is_the_same(smoothing):
    """Losses agree within 1e-6, gradients within 1e-4 of their greatest; the counts are equal.

    The gradients of fusion weights are what large sums leave of each other, and lose digits in either.
    """
    theirs, ours = (efficientdet(kernels, label_smoothing=smoothing) for kernels in (framework, native))
    sums_L, counts_L, gradients = step_of(theirs, theirs.loss_sums)(*SQUARE, BOXES)
    found_L, found_counts_L, found = compiled(step_of(ours, ours.loss_sums), xla=False)(*SQUARE, BOXES)
    np.testing.assert_array_equal(found_counts_L, counts_L)
    np.testing.assert_allclose(found_L, sums_L, rtol=1e-6)
    assert_near(found, gradients, 1e-4)


@pytest.mark.parametrize("nms", ["hard", "soft"])
def test_detections_of_efficientdet_are_the_same(nms):
    """The same labels in the same places, boxes and scores within rounding."""
    wanted, found = (
        compiled(efficientdet(kernels, nms=nms).predict, xla=False)(*SQUARE) for kernels in (framework, native)
    )
    assert wanted["count"].numpy().min() > 5
    for name in ("count", "labels"):
        np.testing.assert_array_equal(found[name], wanted[name])
    for name in ("boxes", "scores"):
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-5, atol=1e-5)


def test_what_efficientdet_learns_is_the_same_to_the_bit():
    """Every anchor gets the same class and code, with objects, with empty slots and with a box without area."""
    anchors_N4 = tf.constant(anchors_of(EfficientDetConfig.preset("d0"), 128, 128))
    wanted, found = (assign(*BOXES.values(), anchors_N4, 0.5, kernels) for kernels in (framework, native))
    assert set(np.unique(wanted[0])) == {-1, 0, 2}
    for expected, actual in zip(wanted, found, strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_crops_are_the_same_to_the_bit(mini):
    """Polygons and run lengths are drawn as NumPy draws them, objects of several parts and none among them."""
    dataset, library, kinds = open_dataset(mini[0]), load("cpu"), set()
    for index in range(len(dataset)):
        found = dataset.annotations(index)
        kinds |= {type(shape).__name__ for shape in found.segmentations}
        for size in (1, 28, 112):
            expected = crop_targets(found.segmentations, found.boxes_N4, size)
            np.testing.assert_array_equal(native_crops(library, found.segmentations, found.boxes_N4, size), expected)
    assert kinds == {"tuple", "Rle"}


RUNS = {"tf_maskrcnn": tf_runs, "tf_efficientdet_d0": efficientdet_runs}


@pytest.fixture(params=RUNS)
def runs(request):
    """The small trials of each backend."""
    return RUNS[request.param]


def kernels_of(runs, mini, **axes):
    """What a trial says of its kernels, and what its model runs on."""
    with runs.opened(runs.trial(**{"phase": "eval", **axes}), *mini) as work:
        return work.settings()["kernels"], work._session.model.kernels


@pytest.mark.parametrize(
    ("axes", "words", "module"),
    [
        ({}, "native (cpu)", native),
        ({"options": {"strict_kernels": True}}, "native (cpu)", native),
        ({"options": {"kernels": "framework"}}, "framework", framework),
        ({"xla": True}, "framework instead of native: XLA compiles no custom operation", framework),
        ({"xla": True, "options": {"kernels": "framework", "strict_kernels": True}}, "framework", framework),
    ],
)
def test_the_settings_say_which_kernels_run(runs, mini, axes, words, module):
    """Native is the default; under XLA the framework's own run, and the record says why."""
    assert kernels_of(runs, mini, **axes) == (words, module)


def test_a_strict_trial_runs_no_other_path(runs, mini):
    """Under XLA a trial that must have native kernels is declined in one line."""
    message = "strict_kernels is true and native kernels cannot be had: XLA compiles no custom operation"
    with pytest.raises(UnsupportedTrialError, match=f"^{message}$"):
        kernels_of(runs, mini, xla=True, options={"strict_kernels": True})


def test_without_a_compiler_the_frameworks_operations_run(runs, mini):
    """The reason is recorded; a strict trial is declined."""
    missing = mock.Mock(side_effect=KernelError("no C++ compiler"))
    with mock.patch("harness.kernels.choice.load", missing):
        assert kernels_of(runs, mini) == ("framework instead of native: no C++ compiler", framework)
        with pytest.raises(UnsupportedTrialError, match="cannot be had: no C\\+\\+ compiler"):
            kernels_of(runs, mini, options={"strict_kernels": True})


def test_the_loaders_crops_are_native_whatever_compiles_the_model(mini):
    """Both loaders hand over the same targets to the bit; which of the two drew them is recorded."""
    found = {}
    for kernels in ("native", "framework"):
        wanted = tf_runs.trial(options={"flavour": "nvidia", "kernels": kernels}, xla=True)
        with tf_runs.opened(wanted, *mini) as work:
            (batch,) = tf_runs.take(work, 1)
            found[kernels] = batch.payload[0].targets
            assert work.settings()["loader_kernels"] == {"native": "native (cpu)"}.get(kernels, kernels)
    assert found["native"]["masks"].numpy().any()
    for name, expected in found["framework"].items():
        np.testing.assert_array_equal(found["native"][name], expected)
