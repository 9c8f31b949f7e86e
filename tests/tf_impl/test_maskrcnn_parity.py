"""The torchvision flavour against torch_maskrcnn, which runs in a process of its own and leaves its numbers behind."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from backends.tf_impl.graph import compiled
from backends.tf_impl.kernels import Pooling, Suppression, framework
from backends.tf_impl.layers import named_variables
from backends.tf_impl.maskrcnn.config import MaskRCNNConfig
from backends.tf_impl.maskrcnn.masks import averages
from backends.tf_impl.maskrcnn.matching import Sampler
from backends.tf_impl.maskrcnn.model import MaskRCNN, total_loss
from backends.tf_impl.maskrcnn.rpn import Proposals, RPNOutputs
from backends.tf_impl.maskrcnn.targets import packed_bitmaps, pad_objects
from backends.tf_impl.weights import load
from harness.weights import to_layout

pytestmark = pytest.mark.tf

SCRIPT = Path(__file__).parent / "parity" / "torch_maskrcnn.py"
IMAGE_IDS = (7, 5_000_000_123)
PADDED = (96, 128)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """What torch_maskrcnn made of random weights: a function from a case's name to its tensors, and their folder."""
    folder = tmp_path_factory.mktemp("torch")
    subprocess.run([sys.executable, str(SCRIPT), str(folder)], check=True, timeout=600)
    return folder


def tensors(reference, case):
    """A case's tensors by name."""
    with np.load(reference / f"{case}.npz") as file:
        return dict(file)


def model_of(reference, case, backbone, channels):
    """Our model with the case's weights."""
    config = MaskRCNNConfig.preset(
        "torchvision", num_classes=5, backbone=backbone, fpn_channels=channels, norm="batch", roi_samples=96
    )
    model = MaskRCNN(config)
    load(model, reference / f"{case}.safetensors", "maskrcnn")
    return model


@pytest.fixture(scope="module")
def small(reference):
    """The small model of most cases."""
    return model_of(reference, "resnet10", "resnet10", 16)


def near(found, wanted):
    """Greatest difference over the layer's absolute maximum."""
    found = np.asarray(found)
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def every_tensor(model, images, sizes, boxes):
    """C2 to the mask logits by torch_maskrcnn's names and in its shapes."""
    normal = model.normalize(images, sizes)
    trunk = model.backbone.body(normal)
    pyramid = model.backbone.fpn(trunk)
    outputs = model.rpn_outputs(pyramid, images.shape[1:3])
    logits, deltas = model.box_outputs(pyramid, boxes)
    masks = tf.transpose(model.mask_outputs(pyramid, boxes), (0, 3, 1, 2))
    found = {f"C{level + 2}": part for level, part in enumerate(trunk)}
    found |= {f"P{level + 2}": part for level, part in enumerate(pyramid)}
    found |= {f"objectness_{level}": part for level, part in enumerate(outputs.logits)}
    found |= {f"rpn_deltas_{level}": part for level, part in enumerate(outputs.deltas)}
    found |= {f"anchors_{level}": part for level, part in enumerate(outputs.anchors)}
    rows = logits.shape[0] * logits.shape[1]
    found |= {"class_logits": tf.reshape(logits, (rows, -1)), "box_deltas": tf.reshape(deltas, (rows, -1, 4))}
    return {**found, "mask_logits": masks}


def inputs_of(wanted):
    """The case's images, sizes and boxes."""
    boxes_BR4 = np.broadcast_to(wanted["boxes"], (len(wanted["images"]), *wanted["boxes"].shape))
    return tf.constant(wanted["images"]), tf.constant(wanted["sizes"]), tf.constant(boxes_BR4)


@pytest.mark.parametrize(("backbone", "channels"), [("resnet50", 32), ("resnet10", 16)])
def test_every_tensor_equals_torchs(reference, backbone, channels):
    """Every tensor from C2 to the mask logits is within 1e-5 of its layer's absolute maximum; anchors are equal."""
    wanted = tensors(reference, backbone)
    found = every_tensor(model_of(reference, backbone, backbone, channels), *inputs_of(wanted))
    differences = {name: near(part, wanted[name]) for name, part in found.items()}
    assert len(differences) == 27
    assert {name: value for name, value in differences.items() if not value <= 1e-5} == {}
    assert {value for name, value in differences.items() if name.startswith("anchors")} == {0.0}


@pytest.mark.parametrize("xla", [False, True])
def test_every_compiled_tensor_equals_torchs(reference, small, xla):
    """As a graph and under XLA no tensor is more than 1e-4 from torch_maskrcnn's."""
    wanted = tensors(reference, "resnet10")
    found = compiled(lambda *args: every_tensor(small, *args), xla=xla)(*inputs_of(wanted))
    differences = {name: float(np.abs(part - wanted[name]).max()) for name, part in found.items()}
    assert {name: value for name, value in differences.items() if not value <= 1e-4} == {}


@pytest.mark.parametrize("phase", ["train", "test"])
@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_proposals_equal_torchs_on_the_same_logits(reference, small, scale, phase):
    """Injected logits give torch_maskrcnn's proposals, in its order, and nothing behind them."""
    wanted = tensors(reference, "proposals")
    anchors = [tensors(reference, "resnet10")[f"anchors_{level}"] for level in range(5)]
    logits, deltas = ([wanted[f"{scale}_{name}_{level}"] for level in range(5)] for name in ("logits", "deltas"))
    outputs = RPNOutputs(*([tf.constant(part) for part in parts] for parts in (logits, deltas, anchors)))
    found = small.rpn.propose(outputs, tf.constant(wanted["sizes"]), training=phase == "train")
    for image in range(2):
        boxes_N4 = wanted[f"{scale}_{phase}_{image}"]
        assert found.valid[image].numpy().tolist() == [row < len(boxes_N4) for row in range(found.valid.shape[1])]
        np.testing.assert_allclose(found.boxes[image, : len(boxes_N4)], boxes_N4, rtol=0, atol=1e-4)
        assert not found.boxes[image, len(boxes_N4) :].numpy().any()


@pytest.mark.parametrize("scale", [0.5, 4.0])
def test_detections_equal_torchs_on_the_same_logits(reference, small, scale):
    """Injected logits and offsets give torch_maskrcnn's boxes, scores and labels, in its order."""
    wanted = tensors(reference, "detections")
    logits, deltas, boxes = (tf.constant(wanted[f"{scale}_{name}"]) for name in ("logits", "deltas", "boxes"))
    proposals = Proposals(boxes, tf.ones(boxes.shape[:2]), tf.ones(boxes.shape[:2], tf.bool))
    found = small.roi_heads.detect(logits, deltas, proposals, tf.constant(wanted["sizes"]))
    for image in range(2):
        labels = wanted[f"{scale}_l_{image}"]
        assert found.count[image] == len(labels) > 20
        assert found.labels[image].numpy().tolist() == [*labels.tolist(), *[0] * (100 - len(labels))]
        np.testing.assert_allclose(found.scores[image, : len(labels)], wanted[f"{scale}_s_{image}"], rtol=1e-5)
        np.testing.assert_allclose(found.boxes[image, : len(labels)], wanted[f"{scale}_b_{image}"], atol=1e-4)


def padded_targets(wanted):
    """The case's objects, padded to five an image."""
    masks = packed_bitmaps(wanted["masks"].astype(bool), *PADDED)
    full = pad_objects(wanted["object_boxes"], wanted["labels"].astype(np.int32), masks, 5)
    none = pad_objects(np.zeros((0, 4), np.float32), np.zeros(0, np.int32), masks[:0], 5)
    stacked = {name: tf.constant(np.stack((full[name], none[name]))) for name in full}
    return {**stacked, "image_ids": tf.constant(IMAGE_IDS, tf.int64)}


def test_training_losses_and_gradients_equal_torchs(reference, monkeypatch):
    """With the same proposals, losses agree within 1e-5, gradients within 1e-4; live statistics move alike."""
    monkeypatch.setattr(tf.nn, "relu", tf.nn.softplus)  # as the script does, and says why
    wanted = tensors(reference, "training")
    model = model_of(reference, "training", "resnet10", 16)
    boxes = tf.constant(wanted["boxes"])
    model.rpn.propose = lambda *_, **__: Proposals(boxes, tf.ones(boxes.shape[:2]), tf.ones(boxes.shape[:2], tf.bool))
    step = tf.constant(4, tf.int64)
    with tf.GradientTape() as tape:
        arguments = (tf.constant(wanted["images"]), tf.constant(wanted["sizes"]), padded_targets(wanted))
        sums_L, counts_L = model.loss_sums(*arguments, step, 1 << 33 | 5)
        total = total_loss(sums_L, counts_L)
    assert [wanted[name] for name in model.losses] == pytest.approx((sums_L / counts_L).numpy().tolist(), rel=1e-5)
    assert counts_L.numpy()[[0, 2, 4]].tolist() == [*wanted["counts"][:2], wanted["counts"][2] * 28**2]
    assert wanted["counts"][2] > 3
    gradients = tape.gradient(total, {name: part for name, part in named_variables(model).items() if part.trainable})
    theirs = to_layout({name[5:]: part for name, part in wanted.items() if name.startswith("grad:")}, "torch", "tf")
    assert gradients.keys() == theirs.keys()
    worst = max((near(gradients[name], theirs[name]), name) for name in gradients)
    assert worst[0] <= 1e-4, worst
    for name, variable in named_variables(model).items():
        if "running" in name:
            np.testing.assert_allclose(variable, wanted[f"state:{name}"], rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def pieces(reference):
    """What single operations of torch and torch_maskrcnn give."""
    return tensors(reference, "pieces")


@pytest.mark.parametrize(("seed", "step"), [(0, 0), (-3, 12), (1 << 40 | 9, 1 << 33)])
def test_sampler_draws_what_torchs_draws(pieces, seed, step):
    """The same seed, step and image give the very same sample, also where there is too little foreground."""
    state_BN, ids_B = tf.constant(pieces["state"].astype(np.int32)), tf.constant(IMAGE_IDS, tf.int64)
    drawn = Sampler(seed, tf.constant(step, tf.int64)).draw(state_BN, ids_B, (256, 0.25), 1)
    for image in range(2):
        used = drawn.used_BS[image].numpy()
        index = drawn.index_BS[image].numpy()[used]
        chosen = pieces[f"chosen_{seed}_{step}"][image]
        assert sorted(index) == np.flatnonzero(chosen).tolist()
        foreground = drawn.foreground_BS[image].numpy()[used]
        assert (pieces["state"][image][index] == 1).tolist() == foreground.tolist()


def test_roi_align_equals_torchvisions(pieces):
    """Pooled values and the gradient of the features are torchvision's, also for RoIs that leave the image."""
    feature, rois = tf.constant(pieces["feature"]), tf.constant(pieces["rois"])
    empty = tf.zeros((2, 24, 32, 6))
    with tf.GradientTape() as tape:
        tape.watch(feature)
        levels = tf.ones(rois.shape[:2], tf.int32)
        pooled = framework.roi_align([empty, feature], rois, levels, Pooling(7, 2, 1.0))
        total = tf.reduce_sum(pooled * pieces["upstream"])
    assert near(pooled, pieces["pooled"]) <= 1e-6
    assert near(tape.gradient(total, feature), pieces["feature_grad"]) <= 1e-6


def test_nms_equals_torchvisions(pieces):
    """Groups of boxes in order of their scores keep just what torchvision's batched NMS keeps."""
    boxes, wanted = tf.constant(pieces["nms_boxes"]), pieces["nms_kept"]
    places, counts = framework.nms(boxes, None, None, Suppression(0.7, boxes.shape[1]))
    assert 50 < wanted.sum() < 700
    for group, count in enumerate(counts.numpy().tolist()):
        assert places[group, :count].numpy().tolist() == np.flatnonzero(wanted[group]).tolist()


def test_mask_averages_equal_torchvisions(pieces):
    """Bitmaps under RoIs are averaged as torchvision's RoIAlign does with its adaptive sampling."""
    packed = packed_bitmaps(pieces["bitmaps"].astype(bool), 96, 128)[None]
    objects = tf.constant(pieces["objects"][None].astype(np.int32))
    found = averages(tf.constant(packed), tf.constant(pieces["areas"][None]), objects, 28)[0]
    inside = np.abs(pieces["averages"]).max()
    assert near(found, pieces["averages"]) <= 1e-5 * inside


def test_pasted_masks_equal_torchs(pieces):
    """Pasting agrees at every pixel, for boxes inside and outside the image."""
    found = framework.paste_masks(tf.constant(pieces["masks"]), tf.constant(pieces["wide"]), 90, 120)
    assert pieces["pasted"].any(axis=(1, 2)).sum() > 10
    assert (found.numpy() != pieces["pasted"]).mean() <= 1e-6
