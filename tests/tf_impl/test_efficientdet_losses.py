"""Focal loss, box loss and the matcher of EfficientDet, against float64 and against their definitions."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.tf_impl.efficientdet.anchors import anchors_of, decode, encode
from backends.tf_impl.efficientdet.config import EfficientDetConfig
from backends.tf_impl.efficientdet.losses import box_sum, focal_sum
from backends.tf_impl.efficientdet.matching import assign
from backends.tf_impl.kernels.framework import overlap

pytestmark = pytest.mark.tf

CONFIG = EfficientDetConfig.preset("d0")
EXTREMES = (-1e4, -100.0, -88.0, -20.0, -1.0, 0.0, 1.0, 20.0, 88.0, 100.0, 1e4)


def focal_64(logit, *, positive, config=CONFIG):
    """The loss of one logit and its derivative in float64, in terms of p."""
    x = np.float64(logit) if positive else -np.float64(logit)
    right, wrong = np.logaddexp(0, -x), np.logaddexp(0, x)
    smooth = config.label_smoothing / 2
    entropy = (1 - smooth) * right + smooth * wrong
    p, q = np.exp(-right), np.exp(-wrong)
    weight = (config.focal_alpha if positive else 1 - config.focal_alpha) * q**config.focal_gamma
    slope = weight * (smooth * p - (1 - smooth) * q - config.focal_gamma * p * entropy)
    return weight * entropy, slope if positive else -slope


def focal(logit, *, positive, config=CONFIG, dtype=tf.float32):
    """Ours, of one logit."""
    logits = tf.constant([[[logit]]], dtype)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = focal_sum(logits, tf.constant([[0 if positive else -1]]), config)
    return float(loss), float(tape.gradient(loss, logits)[0, 0, 0])


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_focal_loss_is_right_at_any_logit(positive, smoothing):
    """Loss and gradient are those of float64 from -10,000 to 10,000, where published code gives NaN below -88."""
    config = EfficientDetConfig.preset("d0", label_smoothing=smoothing)
    for logit in EXTREMES:
        expected = focal_64(logit, positive=positive, config=config)
        actual = focal(logit, positive=positive, config=config)
        np.testing.assert_allclose(expected, actual, rtol=2e-4, atol=1e-30, err_msg=str(logit))


def test_a_positive_at_minus_100_has_the_full_gradient():
    """A hopeless positive is pulled up with weight alpha."""
    assert focal(-100.0, positive=True)[1] == pytest.approx(-0.25, rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.floats(-30, 30), st.booleans())
def test_the_written_gradient_is_that_of_the_loss(logit, positive):
    """The gradient equals the slope of the float64 loss between two points next to the logit."""
    step = 1e-4
    high, low = (focal_64(np.float64(np.float32(logit)) + side, positive=positive)[0] for side in (step, -step))
    assert focal(logit, positive=positive)[1] == pytest.approx((high - low) / (2 * step), rel=1e-3, abs=1e-9)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_half_logits_lose_nothing_but_their_own_digits(dtype):
    """From logits of a half type, losses are computed in float32 and gradients come back in that type."""
    for logit in (-60.0, -4.5, 0.5, 60.0):
        for positive in (True, False):
            loss, slope = focal(logit, positive=positive, dtype=dtype)
            expected_loss, expected_slope = focal_64(logit, positive=positive)
            assert loss == pytest.approx(expected_loss, rel=1e-5)
            assert slope == pytest.approx(expected_slope, rel=1e-2, abs=1e-7)


def test_box_loss_leaves_out_targets_that_are_zero():
    """Huber's loss of the others: half the square up to delta, then linear."""
    codes, wanted = tf.constant([[[9.0, 0.25, -0.55, 1.0]]]), tf.constant([[[0.0, 0.2, 0.2, 1.0]]])
    assert float(box_sum(codes, wanted, 0.1)) == pytest.approx(0.5 * 0.05**2 + 0.5 * 0.1**2 + 0.1 * 0.65)


@pytest.fixture
def learnt(monkeypatch):
    """The object, from 0 on, that each anchor learns at given overlaps with objects, -1 for background."""

    def objects_of(iou_MN):
        iou_MN = np.array(iou_MN, np.float32)
        monkeypatch.setattr(overlap, "box_iou", lambda *_, **__: tf.constant(iou_MN))
        labels_BM = tf.range(1, len(iou_MN) + 1)[None] * tf.constant((iou_MN >= 0).any(axis=1), tf.int32)
        anchors_N4 = tf.tile([[0.0, 0.0, 8.0, 8.0]], (iou_MN.shape[1], 1))
        return assign(tf.zeros((1, len(iou_MN), 4)), labels_BM, anchors_N4, 0.5)[0][0].numpy().tolist()

    return objects_of


def test_an_object_that_overlaps_nothing_takes_no_anchor(learnt):
    """Published code would give it the first anchor; its neighbours keep theirs."""
    assert learnt([[0.0, 0.0, 0.0], [0.1, 0.3, 0.6], [0.2, 0.0, 0.0], [-1.0, -1.0, -1.0]]) == [2, -1, 1]


def test_an_overlap_of_half_makes_foreground(learnt):
    """An anchor at the threshold belongs to the object, one below it does not; the object's best is its own anyway."""
    assert learnt([[0.5, 0.49, 0.8]]) == [0, -1, 0]


def test_the_first_of_two_objects_takes_an_anchor_that_both_want(learnt):
    """Forced matches go by the order of the objects, whatever overlaps more."""
    assert learnt([[0.4, 0.1], [0.9, 0.2], [0.3, 0.7]]) == [0, 2]


def test_empty_slots_change_nothing():
    """An image's anchors learn the same with its objects in three slots and in ten, whatever boxes the others hold."""
    anchors = tf.constant(anchors_of(CONFIG, 128, 128))
    boxes = tf.constant([[[4.0, 4, 50, 60], [60, 60, 100, 90], [10, 10, 10, 10]]])
    labels = tf.constant([[3, 90, 7]])
    stale = tf.tile([[[20.0, 20, 84, 84]]], (1, 7, 1))
    padded = assign(tf.concat((boxes, stale), axis=1), tf.pad(labels, ((0, 0), (0, 7))), anchors, 0.5)
    for expected, actual in zip(assign(boxes, labels, anchors, 0.5), padded, strict=True):
        np.testing.assert_array_equal(expected, actual)
    assert set(np.unique(padded[0])) == {-1, 2, 89}


def test_decoding_undoes_encoding():
    """Boxes come back from their codes to float32's precision."""
    anchors = tf.constant(anchors_of(CONFIG, 128, 256))
    centre = np.random.default_rng(0).uniform(20, 100, (len(anchors), 2)).astype(np.float32)
    boxes = tf.concat((centre - 7, centre + 13), axis=1)
    np.testing.assert_allclose(boxes, decode(encode(boxes, anchors), anchors), atol=1e-3)


def test_a_canvas_that_the_coarsest_level_does_not_divide_is_refused():
    """The message says what was found and what would be right."""
    with pytest.raises(ValueError, match="images are 128 × 200; multiples of 128 are needed"):
        anchors_of(CONFIG, 128, 200)
