"""EfficientDet against effdet and EfficientNet-Lite0 against timm, with weights randomised or trained in PyTorch."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from backends.tf_impl.efficientdet.anchors import anchors_of
from backends.tf_impl.efficientdet.config import EfficientDetConfig
from backends.tf_impl.efficientdet.losses import box_sum, focal_sum
from backends.tf_impl.efficientdet.matching import assign
from backends.tf_impl.efficientdet.model import EfficientDet
from backends.tf_impl.efficientdet.nms import detect
from backends.tf_impl.layers import named_variables
from harness.weights import to_layout

pytestmark = [pytest.mark.tf, pytest.mark.torch]

LEVELS = range(5)


def reference(what, folder):
    """Run PyTorch in a process of its own and return what it wrote."""
    script = Path(__file__).with_name("effdet_reference.py")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", str(script), what, str(folder / f"{what}.npz")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return np.load(folder / f"{what}.npz")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where references are written."""
    return tmp_path_factory.mktemp("effdet")


@pytest.fixture(scope="module")
def effdet(folder):
    """Weights, inputs and tensors of effdet's D0 on a 128 × 256 canvas."""
    with reference("model", folder) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def model(effdet):
    """Our D0 with the weights of the other."""
    ours = EfficientDet(EfficientDetConfig.preset("d0", weight_decay=0.0))
    load(ours, effdet)
    return ours


def load(ours, arrays):
    """Give a model all tensors of the reference."""
    for name, variable in named_variables(ours).items():
        variable.assign(as_tf(arrays, "weight", name))


def as_tf(arrays, kind, name):
    """A tensor of the reference in TensorFlow's layout."""
    return to_layout({name: arrays[f"{kind}/{name}"]}, "torch", "tf")[name]


def levels(arrays, name):
    """A list with an entry for each level."""
    return [arrays[f"{name}{level}"] for level in LEVELS]


def assert_close(expected, actual, tolerance):
    """Within a part of the layer's absolute maximum."""
    assert expected.shape == tuple(actual.shape)
    assert float(np.abs(expected - actual).max()) <= tolerance * float(np.abs(expected).max())


def tensors(model, images):
    """Every layer that is compared, by the reference's names."""
    taps = model.features(images)
    maps = model.fpn(taps, training=False)
    logits, codes = model.class_net(maps, training=False), model.box_net(maps, training=False)
    parts = {"tap": taps, "class": logits, "box": codes}
    found = {f"{name}{level}": tensor for name, part in parts.items() for level, tensor in enumerate(part)}
    return found | {f"p{level + 3}": tensor for level, tensor in enumerate(maps)}


def test_normalised_pixels_equal_the_reference(effdet, model):
    """Normalisation on the device gives what effdet's loader gives."""
    sizes = tf.constant([[128, 256]] * 4)
    np.testing.assert_allclose(effdet["normal"], model.normalize(tf.constant(effdet["images"]), sizes), atol=2e-6)


def test_every_tensor_equals_effdets(effdet, model):
    """Taps, P3 to P7, class and box outputs are within 1e-5 of each layer's absolute maximum."""
    for name, tensor in tensors(model, tf.constant(effdet["normal"])).items():
        assert_close(effdet[name], tensor.numpy(), 1e-5)


@pytest.mark.parametrize("xla", [False, True])
def test_every_tensor_equals_effdets_when_compiled(effdet, model, xla):
    """A graph, with and without XLA, gives the same tensors within 1e-4."""
    found = tf.function(lambda images: tensors(model, images), jit_compile=xla)(tf.constant(effdet["normal"]))
    for name, tensor in found.items():
        np.testing.assert_allclose(effdet[name], tensor, atol=1e-4, rtol=0)


def test_anchors_equal_effdets(effdet, model):
    """Anchors are equal to the bit, 49,104 of them at 512 × 512, and D7's larger ones too."""
    square = anchors_of(model.config, 512, 512)
    assert square.shape == (49_104, 4)
    np.testing.assert_array_equal(effdet["anchors512"], square)
    np.testing.assert_array_equal(effdet["anchors"], anchors_of(model.config, 128, 256))
    d7 = EfficientDetConfig.preset("d7")
    np.testing.assert_array_equal(effdet["d7_anchors"], anchors_of(d7, 1536, 1536)[::1009])


def test_anchors_learn_what_effdets_learn(effdet, model):
    """For images with 0, 1, 5 and 150 objects, classes are equal and codes to 1e-6."""
    anchors = tf.constant(effdet["anchors"])
    classes, codes = assign(tf.constant(effdet["boxes"]), tf.constant(effdet["labels"]), anchors, 0.5)
    np.testing.assert_array_equal(effdet["target_classes"], classes)
    np.testing.assert_allclose(effdet["target_codes"], codes, atol=1e-6)


@pytest.mark.parametrize(("name", "smoothing", "gamma"), [("plain", 0, 1.5), ("smooth", 0.1, 1.5), ("steep", 0, 2)])
def test_losses_equal_effdets(effdet, name, smoothing, gamma):
    """Focal and box loss of the same outputs and targets equal effdet's to 1e-5."""
    config = EfficientDetConfig.preset("d0", label_smoothing=float(smoothing), focal_gamma=float(gamma))
    classes = tf.constant(effdet["target_classes"], tf.int32)
    logits = tf.concat(levels(effdet, "loss_class"), axis=1)
    codes = tf.concat(levels(effdet, "loss_box"), axis=1)
    divisor = effdet["positives"].sum() + 1
    focal = float(focal_sum(logits, classes, config)) / divisor
    box = float(box_sum(codes, tf.constant(effdet["target_codes"]), config.huber_delta)) / divisor / 4
    np.testing.assert_allclose(effdet[f"loss_{name}"], (focal + 50 * box, focal, box), rtol=1e-5)


def test_a_training_step_equals_effdets(effdet):
    """With live batch statistics, losses, gradients and moved statistics are those of effdet in float64."""
    model = EfficientDet(EfficientDetConfig.preset("d0", weight_decay=0.0))
    load(model, effdet)
    variables = {name: value for name, value in named_variables(model).items() if value.trainable}
    targets = {"boxes_BM4": tf.constant(effdet["boxes"]), "labels_BM": tf.constant(effdet["labels"])}
    with tf.GradientTape() as tape:
        sums, counts = model.loss_sums(tf.constant(effdet["images"]), tf.constant([[128, 256]] * 4), targets)
        losses = sums / counts
        total = tf.reduce_sum(losses)
    wanted = (effdet["train_class_loss"], 50 * effdet["train_box_loss"], 0)
    np.testing.assert_allclose(wanted, losses, rtol=1e-4)
    assert_gradients_close(effdet, variables, tape.gradient(total, variables))
    for name, variable in named_variables(model).items():
        if "running" in name:
            np.testing.assert_allclose(moved(effdet, name), variable, rtol=1e-3, atol=1e-3)


def assert_gradients_close(effdet, variables, gradients):
    """All together to 1e-5 of their direction, and each tensor to float32's rounding through live norms of few values.

    That rounding is a few per mille of most tensors; those whose gradient is zero by nature hold nothing else.
    """
    expected = {name: as_tf(effdet, "gradient", name).astype(np.float64) for name in variables}
    largest = max(np.abs(value).max() for value in expected.values())
    for name, value in expected.items():
        error = value - gradients[name].numpy()
        assert np.linalg.norm(error) <= 0.06 * np.linalg.norm(value) + 1e-4 * largest, name
    ours, theirs = (np.concatenate([part[name].ravel() for name in variables]) for part in (as_64(gradients), expected))
    assert 1 - ours @ theirs / (np.linalg.norm(ours) * np.linalg.norm(theirs)) < 1e-5


def as_64(gradients):
    """Tensors as float64 arrays."""
    return {name: value.numpy().astype(np.float64) for name, value in gradients.items()}


def moved(effdet, name):
    """The statistics after a step at TensorFlow's momentum 0.99; effdet's backbone has PyTorch's 0.9."""
    before, after = effdet[f"weight/{name}"], effdet[f"after/{name}"]
    return before + 0.1 * (after - before) if name.startswith("backbone.") else after


@pytest.mark.parametrize(("nms", "threshold"), [("hard", 0.0), ("soft", 0.001)])
def test_detections_of_the_same_logits_equal_effdets(effdet, nms, threshold):
    """The same boxes in the same order, clipped to each image's valid area, for hard and soft NMS."""
    config = EfficientDetConfig.preset("d0", nms=nms, score_threshold=threshold)
    logits, codes = (tf.concat(levels(effdet, name), axis=1) for name in ("nms_class", "nms_box"))
    found = detect((logits, codes), tf.constant(effdet["anchors"]), tf.constant(effdet["sizes"]), config)
    expected = effdet[f"detections_{nms}"]
    images = len(expected)
    np.testing.assert_array_equal(expected[..., 5], found["labels"][:images])
    np.testing.assert_allclose(expected[..., :4], found["boxes"][:images], atol=1e-4)
    np.testing.assert_allclose(expected[..., 4], found["scores"][:images], rtol=1e-5)
    np.testing.assert_array_equal([100] * images, found["count"][:images])


@pytest.mark.parametrize("variant", ["d0", "d3", "d7"])
def test_names_and_shapes_equal_effdets(folder, variant, shapes):
    """Every variable has the name, the shape and the trainability of effdet's."""
    prefix = f"{variant}/"
    wanted = {
        name.removeprefix(prefix).partition("/")[2]: (tuple(shape), name[len(prefix)] == "1")
        for name, shape in shapes.items()
        if name.startswith(prefix)
    }
    ours = named_variables(EfficientDet(EfficientDetConfig.preset(variant)))
    empty = {name: np.broadcast_to(np.float32(0), value.shape) for name, value in ours.items()}
    found = {name: (array.shape, ours[name].trainable) for name, array in to_layout(empty, "tf", "torch").items()}
    assert wanted == found


@pytest.fixture(scope="module")
def shapes(folder):
    """Names and shapes of several sizes of effdet's model."""
    with reference("shapes", folder) as arrays:
        return dict(arrays)


def test_lite0_gives_the_features_of_its_imagenet_weights(folder):
    """With the real weights, taps equal timm's within 1e-5 of their absolute maximum."""
    with reference("lite0", folder) as arrays:
        timm = dict(arrays)
    model = EfficientDet(EfficientDetConfig.preset("lite0"))
    for name, variable in named_variables(model.backbone).items():
        variable.assign(as_tf(timm, "weight", f"backbone.{name}"))
    images = model.normalize(tf.constant(timm["images"]), tf.constant([[128, 256]] * 2))
    for level, tap in enumerate(model.features(images)):
        assert_close(timm[f"tap{level}"], tap.numpy(), 1e-5)
