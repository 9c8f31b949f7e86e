"""The nvidia flavour against published numbers and formulas written out in NumPy."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from backends.tf_impl.layers import named_variables
from backends.tf_impl.maskrcnn.anchors import make_anchors
from backends.tf_impl.maskrcnn.config import MaskRCNNConfig
from backends.tf_impl.maskrcnn.masks import samples
from backends.tf_impl.maskrcnn.matching import Sampler
from backends.tf_impl.maskrcnn.model import MaskRCNN
from backends.tf_impl.maskrcnn.roi_heads import RoIHeads, SampledRoIs
from backends.tf_impl.maskrcnn.rpn import RPN, Proposals, RPNOutputs

pytestmark = pytest.mark.tf

PADDED = (64, 128)
GRIDS = [(16, 32), (8, 16), (4, 8), (2, 4), (1, 2)]


def config(**overrides):
    """The nvidia flavour at a small size."""
    return MaskRCNNConfig.preset("nvidia", num_classes=4, backbone="resnet10", fpn_channels=8, **overrides)


def test_anchors_are_the_published_ones():
    """A frame of 832 × 1344 has 279,279 anchors; those of P2 are 32, 44.8 × 22.4 and 22.4 × 44.8 about cell centres."""
    grids = [(832 >> level, 1344 >> level) for level in range(2, 7)]
    anchors = make_anchors(config(), (832, 1344), grids)
    assert sum(len(level) for level in anchors) == 279_279
    wanted = [[-14.0, -14, 18, 18], [-20.4, -9.2, 24.4, 13.2], [-9.2, -20.4, 13.2, 24.4]]
    np.testing.assert_allclose(anchors[0][:3], wanted, atol=1e-5)
    np.testing.assert_allclose(anchors[0][336 * 3 + 3], np.add(wanted[0], 4), atol=1e-5)
    np.testing.assert_allclose(anchors[4][1], [32 - 358.4, 32 - 179.2, 32 + 358.4, 32 + 179.2], atol=1e-3)


def published_encode(box, anchor, one):
    """Centre offsets over the anchor's sides and logarithms of the sides' ratios, widths with or without one."""
    aw, ah, bw, bh = (
        anchor[2] - anchor[0] + one,
        anchor[3] - anchor[1] + one,
        box[2] - box[0] + one,
        box[3] - box[1] + one,
    )
    shift = [(box[0] + bw / 2 - anchor[0] - aw / 2) / aw, (box[1] + bh / 2 - anchor[1] - ah / 2) / ah]
    return np.array([*shift, np.log(bw / aw), np.log(bh / ah)])


def targets_of(boxes, labels, objects=3, crops=None):
    """A batch of one image with padded objects."""
    boxes_BM4 = np.zeros((1, objects, 4), np.float32)
    labels_BM = np.zeros((1, objects), np.int32)
    boxes_BM4[0, : len(boxes)], labels_BM[0, : len(labels)] = boxes, labels
    masks = np.zeros((1, objects, 116, 116), np.uint8) if crops is None else crops
    arrays = {"boxes": boxes_BM4, "labels": labels_BM, "masks": masks, "image_ids": np.array([9], np.int64)}
    return {name: tf.constant(value) for name, value in arrays.items()}


def random_outputs(seed):
    """Random outputs of the RPN's head for a batch of one."""
    stream = np.random.default_rng(seed)
    anchors = make_anchors(config(), PADDED, GRIDS)
    logits = [tf.constant(stream.normal(size=(1, len(part))), tf.float32) for part in anchors]
    deltas = [tf.constant(0.5 * stream.normal(size=(1, len(part), 4)), tf.float32) for part in anchors]
    return RPNOutputs(logits, deltas, anchors)


def overlap(a, b):
    """IoU of two boxes, widths without one."""
    sides = [max(min(a[2 + k], b[2 + k]) - max(a[k], b[k]), 0) for k in (0, 1)]
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    union = sum(areas) - sides[0] * sides[1]
    return sides[0] * sides[1] / union if union > 0 else 0.0


def huber(difference, delta):
    """Quadratic up to delta, linear beyond."""
    size = np.abs(difference)
    return np.where(size <= delta, 0.5 * size**2, delta * size - 0.5 * delta**2)


OBJECTS = [[5.0, 6, 60, 50], [70, 10, 118, 60], [61, 2, 66, 9]]


def test_rpn_losses_equal_the_published_formulas():
    """Cross entropy over 256 slots an image; Huber of every matched anchor by level over its non-zero targets."""
    rpn, outputs = RPN(config(), tf.float32), random_outputs(1)
    targets = targets_of(OBJECTS, [1, 3, 2], objects=5)
    found_sums, found_counts = rpn.loss_sums(outputs, targets, Sampler(3, 5))
    anchors = np.concatenate(outputs.anchors).astype(np.float64)
    iou = np.array([[overlap(box, anchor) for anchor in anchors] for box in OBJECTS])
    owner, forced = iou.argmax(0), iou.argmax(1)
    owner[forced] = range(3)
    state = np.where(iou.max(0) >= 0.7, 1, np.where(iou.max(0) < 0.3, 0, -1))
    state[forced] = 1
    drawn = Sampler(3, 5).draw(tf.constant(state[None], tf.int32), targets["image_ids"], (256, 0.5), 0)
    index = drawn.index_BS[0].numpy()[drawn.used_BS[0].numpy()]
    logit, sign = np.concatenate(outputs.logits, 1)[0, index], 2.0 * (state[index] == 1) - 1
    sums, counts = [np.log1p(np.exp(-sign * logit)).sum()], [256.0]
    first = 0
    for level_anchors, deltas in zip(outputs.anchors, outputs.deltas, strict=True):
        rows = [row for row in range(len(level_anchors)) if state[first + row] == 1]
        aims = [published_encode(OBJECTS[owner[first + row]], anchors[first + row], 0) for row in rows]
        sums.append(sum(huber(deltas[0, row] - aim, 1 / 9).sum() for row, aim in zip(rows, aims, strict=True)))
        counts.append(float(sum((aim.astype(np.float32) != 0).sum() for aim in aims)))
        first += len(level_anchors)
    assert sum(count > 0 for count in counts) >= 3
    np.testing.assert_allclose(found_sums, sums, rtol=1e-4)
    assert [float(count) for count in found_counts] == counts


def test_a_proposal_at_half_overlap_takes_no_part_and_targets_carry_one():
    """Foreground needs more than IoU .5; its offsets have widths with one, and the weights 10 and 5."""
    boxes = np.array([[[0.0, 0, 10, 5], [0, 0, 10, 6], [0, 0, 10, 4], [0, 0, 0, 0]]], np.float32)
    proposals = Proposals(tf.constant(boxes), tf.ones((1, 4)), tf.constant([[True, True, True, False]]))
    heads = RoIHeads(config(), tf.float32)
    sampled = heads.sample(proposals, targets_of([[0.0, 0, 10, 10]], [2]), Sampler(0, 0))
    used = sampled.used[0].numpy()
    rows = {
        tuple(box): (label, delta)
        for box, label, delta in zip(
            *(np.array(part[0])[used].tolist() for part in (sampled.boxes, sampled.labels, sampled.deltas)), strict=True
        )
    }
    assert {box: label for box, (label, _) in rows.items()} == {(0, 0, 10, 6): 2, (0, 0, 10, 10): 2, (0, 0, 10, 4): 0}
    wanted = published_encode([0, 0, 10, 10], [0, 0, 10, 6], 1) * [10, 10, 5, 5]
    np.testing.assert_allclose(rows[(0, 0, 10, 6)][1], wanted, rtol=1e-5, atol=1e-6)
    assert rows[(0, 0, 10, 4)][1] == [0, 0, 0, 0]


def test_box_losses_equal_the_published_formulas():
    """Cross entropy over the RoIs; Huber with delta 1 of the true class's offsets over four times the foreground."""
    stream = np.random.default_rng(2)
    logits, deltas, wanted = (
        stream.normal(size=(1, 6, 4)),
        2 * stream.normal(size=(1, 6, 4, 4)),
        stream.normal(size=(1, 6, 4)),
    )
    labels, used = np.array([[3, 1, 2, 0, 0, 0]]), np.array([[True] * 5 + [False]])
    arrays = [tf.constant(part, tf.float32) for part in (logits, deltas, wanted)]
    sampled = SampledRoIs(
        tf.zeros((1, 6, 4)), tf.zeros((1, 6), tf.int32), tf.constant(labels, tf.int32), arrays[2], tf.constant(used)
    )
    sums, counts = RoIHeads(config(), tf.float32).box_loss_sums(*arrays[:2], sampled)
    entropy = [np.log(np.exp(logits[0, row]).sum()) - logits[0, row, labels[0, row]] for row in range(5)]
    boxes = [huber(deltas[0, row, labels[0, row]] - wanted[0, row], 1.0).sum() for row in range(3)]
    np.testing.assert_allclose(sums, [sum(entropy), sum(boxes)], rtol=1e-5)
    assert [float(count) for count in counts] == [5, 12]


def bilinear(image, y, x):
    """Value between pixels, the border's value beyond it."""
    y, x = (min(max(value, 0), size - 1) for value, size in zip((y, x), image.shape, strict=False))
    y0, x0 = int(y), int(x)
    y1, x1 = min(y0 + 1, image.shape[0] - 1), min(x0 + 1, image.shape[1] - 1)
    top, bottom = (image[row, x0] * (1 - x + x0) + image[row, x1] * (x - x0) for row in (y0, y1))
    return top * (1 - y + y0) + bottom * (y - y0)


def test_mask_targets_are_one_sample_of_the_crop():
    """The middle of each bin is looked up in the crop of 112 pixels and its border of two, and cut at one half."""
    stream = np.random.default_rng(4)
    crops = np.pad(stream.random((2, 112, 112)).cumsum(1) % 7 < 3, ((0, 0), (2, 2), (2, 2))).astype(np.uint8)
    boxes = np.array([[10.0, 20, 50, 40], [0, 0, 30, 60]])
    rois = np.array([[12.0, 17, 57, 44], [1, 2, 29, 61], [10, 20, 50, 40]])
    owner = np.array([0, 1, 0])
    found = samples(
        tf.constant(crops[None]), tf.constant(rois[None], tf.float32),
        (tf.constant(owner[None], tf.int32), tf.constant(boxes[owner][None], tf.float32)), 28,
    )[0].numpy()  # fmt: skip
    wanted = np.zeros((3, 28, 28))
    for row, (roi, box) in enumerate(zip(rois, boxes[owner], strict=True)):
        for i, j in itertools.product(range(28), repeat=2):
            y = (roi[1] + (i + 0.5) * (roi[3] - roi[1]) / 28 - box[1]) * 112 / (box[3] - box[1]) + 2
            x = (roi[0] + (j + 0.5) * (roi[2] - roi[0]) / 28 - box[0]) * 112 / (box[2] - box[0]) + 2
            wanted[row, i, j] = bilinear(crops[owner[row]], y, x)
    sure = np.abs(wanted - 0.5) > 1e-4
    assert 0.2 < found.mean() < 0.8
    assert sure.mean() > 0.99
    assert np.array_equal(found[sure], (wanted >= 0.5)[sure])


def test_rois_are_pooled_by_one_sample_a_bin_from_p2_to_p6():
    """A bin is the feature at its middle, on the level 4 + log2(√area / 224), which may be P6."""
    stream = np.random.default_rng(6)
    features = [stream.normal(size=(1, 1024 >> level, 1024 >> level, 1)).astype(np.float32) for level in range(2, 7)]
    rois = np.array(
        [[0.0, 0, 1000, 900], [10, 20, 60, 50], [100, 50, 330, 270], [3, 5, 450, 460], [40, 900, 152, 1012]]
    )
    levels = [6, 2, 4, 5, 3]  # √area is 948, 39, 225, 451, 112
    found = RoIHeads(config(), tf.float32).pool(features, tf.constant(rois[None], tf.float32), 7)
    for row, (roi, level) in enumerate(zip(rois / 2.0 ** np.array(levels)[:, None], levels, strict=True)):
        for i, j in itertools.product(range(7), repeat=2):
            y, x = (roi[axis] + (place + 0.5) * (roi[axis + 2] - roi[axis]) / 7 for axis, place in ((1, i), (0, j)))
            assert float(found[row, i, j, 0]) == pytest.approx(bilinear(features[level - 2][0, ..., 0], y, x), abs=2e-4)


def test_detections_equal_plain_python():
    """Every score above 0 counts; boxes carry one when decoded and clipped, and none in NMS."""
    stream = np.random.default_rng(8)
    corner = stream.random((40, 2)) * 60
    rois = np.concatenate((corner, corner + 5 + stream.random((40, 2)) * 40), 1)
    logits, deltas = 2 * stream.normal(size=(40, 4)), stream.normal(size=(40, 4, 4))
    arrays = [tf.constant(part[None], tf.float32) for part in (logits, deltas, rois)]
    valid = np.arange(40) < 35
    proposals = Proposals(arrays[2], tf.ones((1, 40)), tf.constant(valid[None]))
    found = RoIHeads(config(detections=30), tf.float32).detect(*arrays[:2], proposals, tf.constant([[64, 100]]))
    scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    wanted = []
    for label in range(1, 4):
        kept = []
        for row in sorted(range(35), key=lambda i, label=label: -scores[i, label]):
            w, h = rois[row, 2:] - rois[row, :2] + 1
            dx, dy, dw, dh = deltas[row, label] / [10, 10, 5, 5]
            x, y = rois[row, 0] + w / 2 + dx * w, rois[row, 1] + h / 2 + dy * h
            w, h = w * np.exp(dw), h * np.exp(dh)
            box = np.array([x - w / 2, y - h / 2, x + w / 2 - 1, y + h / 2 - 1]).clip(0, [99, 63, 99, 63])
            if all(overlap(box, other) <= 0.5 for _, _, other in kept):
                kept.append((scores[row, label], label, box))
        wanted += kept
    wanted = sorted(wanted, key=lambda item: -item[0])[:30]
    assert found.labels[0].numpy().tolist() == [label for _, label, _ in wanted]
    np.testing.assert_allclose(found.boxes[0], [box for *_, box in wanted], atol=1e-3)
    np.testing.assert_allclose(found.scores[0], [score for score, *_ in wanted], rtol=1e-4)


def test_l2_is_half_the_squares_of_the_trained_kernels():
    """Norms, biases and frozen stages are left out; the weight is 1e-4."""
    model = MaskRCNN(config())
    model.initialise(0)
    kernels = [
        part.numpy().astype(np.float64) for name, part in named_variables(model).items()
        if name.endswith("weight") and part.shape.rank > 1 and "body.conv1" not in name and "layer1" not in name
    ]  # fmt: skip
    assert float(model._l2_loss()) == pytest.approx(0.5e-4 * sum((kernel**2).sum() for kernel in kernels), rel=1e-5)
    assert model.losses[-1] == "loss_l2"
