"""Native operations on boxes against their twins in plain TensorFlow."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_calls import box_arrays, clustered_boxes

from backends.tf_impl.kernels import (
    Grid,
    Level,
    Selection,
    SoftSuppression,
    Suppression,
    Thresholds,
    framework,
    native,
)

pytestmark = pytest.mark.tf


@pytest.fixture(scope="module", autouse=True)
def loaded():
    """The operations, built if need be."""
    native.load("cpu")


def to_the_bit(expected, actual):
    """Tensors of equal types and bits."""
    for one, other in zip(tf.nest.flatten(expected), tf.nest.flatten(actual), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def nearly(expected, actual, rtol=1e-6, atol=1e-6):
    """Tensors of equal types and nearly equal numbers."""
    for one, other in zip(tf.nest.flatten(expected), tf.nest.flatten(actual), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=rtol, atol=atol)


@settings(max_examples=25, deadline=None)
@given(left=box_arrays(), right=box_arrays(), inclusive=st.booleans())
def test_overlaps_equal_the_twins(left, right, inclusive):
    """Bit for bit, whatever the boxes."""
    both = tf.constant(left), tf.constant(right)
    to_the_bit(framework.box_iou(*both, inclusive=inclusive), native.box_iou(*both, inclusive=inclusive))


@pytest.mark.parametrize("half", [tf.float16, tf.bfloat16])
def test_half_types_are_raised(half):
    """Boxes of a half type are read as the float32 numbers that they stand for."""
    boxes = tf.cast(clustered_boxes(np.random.default_rng(0), 40), half)
    overlaps = native.box_iou(boxes, boxes[:7])
    to_the_bit(native.box_iou(tf.cast(boxes, tf.float32), tf.cast(boxes[:7], tf.float32)), overlaps)


def test_slices_need_no_copy_to_be_read_right():
    """Boxes that begin in the middle of another tensor, and transposed ones."""
    boxes = tf.constant(clustered_boxes(np.random.default_rng(0), 41))
    expected = framework.box_iou(boxes, boxes).numpy()
    parts = tf.split(boxes, (1, 3, 37))
    np.testing.assert_array_equal(expected[1:4, 4:], native.box_iou(parts[1], parts[2]))
    turned = tf.transpose(tf.transpose(boxes))
    np.testing.assert_array_equal(expected[5:, ::2], native.box_iou(turned[5:], turned[::2]))


@settings(max_examples=25, deadline=None)
@given(
    boxes=st.tuples(box_arrays((0, 1, 2, 7)), box_arrays(), st.integers(0, 2**32 - 1)),
    keep=st.sampled_from(["none", "ties", "first"]),
    strict=st.booleans(),
    own=st.booleans(),
)
def test_matches_equal_the_twins(boxes, keep, strict, own):
    """Objects and states, with absent objects, with candidates of each image or of all."""
    objects, candidates, seed = boxes
    rng = np.random.default_rng(seed)
    present = tf.constant(rng.random((2, len(objects))) < 0.7)
    objects_BM4 = tf.constant(np.stack((objects, objects[::-1])))
    candidates = tf.constant(np.stack((candidates, rng.permutation(candidates)))) if own else tf.constant(candidates)
    rules = Thresholds(0.6, 0.3, strict=strict, keep=keep)
    arguments = (objects_BM4, present, candidates, rules)
    to_the_bit(framework.match(*arguments), native.match(*arguments))


def levels_of(rng, lengths, batch, dtype=tf.float32):
    """Chosen anchors of levels of so many anchors, with NaN, infinite and far too large offsets among them."""
    levels = []
    for length in lengths:
        deltas = rng.normal(0, 0.5, (batch, length, 4))
        strange = rng.random((batch, length, 4)) < 0.05
        deltas[strange] = rng.choice((np.nan, np.inf, -np.inf, 9.0, -9.0), strange.sum())
        logits = rng.normal(0, 4, (batch, length)).astype(np.float32)
        chosen = tf.math.top_k(logits, length * 2 // 3)
        anchors = tf.constant(clustered_boxes(rng, length, side=100))
        levels.append(Level(chosen.indices, tf.cast(chosen.values, dtype), tf.constant(deltas, dtype), anchors))
    return levels


@pytest.mark.parametrize("dtype", [tf.float32, tf.float16])
@pytest.mark.parametrize("inclusive", [False, True])
def test_selected_boxes_equal_the_twins(inclusive, dtype):
    """Valid boxes, their scores, and which are valid, levels of no and of one anchor among them."""
    levels = levels_of(np.random.default_rng(3), (200, 65, 0, 3), 2, dtype)
    rules = Selection(inclusive=inclusive, weights=(10.0, 5.0), min_size=4.0)
    sizes = tf.constant([[100, 90], [60, 120]])
    expected, found = (kernels.select_boxes(levels, sizes, rules) for kernels in (framework, native))
    to_the_bit(expected.valid_BK, found.valid_BK)
    assert 0.3 < expected.valid_BK.numpy().mean() < 1
    nearly(expected.scores_BK, found.scores_BK)
    valid = expected.valid_BK.numpy()
    nearly(expected.boxes_BK4.numpy()[valid], found.boxes_BK4.numpy()[valid], atol=1e-4)


def test_indices_out_of_a_level_are_not_valid():
    """Nothing is read for them."""
    level = Level(
        tf.constant([[0, 5, -1]], tf.int64), tf.zeros((1, 3)), tf.zeros((1, 5, 4)), tf.constant([[0.0, 0, 9, 9]] * 5)
    )
    for kernels in (framework, native):
        found = kernels.select_boxes([level], tf.constant([[20, 20]]), Selection())
        assert found.valid_BK.numpy().tolist() == [[True, False, False]]


@settings(max_examples=30, deadline=None)
@given(
    boxes=box_arrays((0, 1, 2, 33, 129)),
    count=st.sampled_from((0, 1, 5, 200)),
    groups=st.sampled_from((0, 1, 3)),
    seed=st.integers(0, 2**32 - 1),
)
def test_suppression_equals_the_twin(boxes, count, groups, seed):
    """Places and counts, in groups or without, of valid boxes or of all."""
    rng = np.random.default_rng(seed)
    boxes_BK4 = tf.constant(np.stack((boxes, boxes[::-1])))
    groups_BK = tf.constant(rng.integers(groups, size=(2, len(boxes))), tf.int32) if groups else None
    valid_BK = tf.constant(rng.random((2, len(boxes))) < 0.8) if groups != 1 else None
    arguments = (boxes_BK4, groups_BK, valid_BK, Suppression(0.5, count))
    to_the_bit(framework.nms(*arguments), native.nms(*arguments))


def scored(rng, batch, count):
    """Clustered boxes with scores, equal ones among them, and validity."""
    boxes = np.stack([clustered_boxes(rng, count, side=200, centres=6) for _ in range(batch)])
    scores = rng.integers(1, 60, (batch, count)).astype(np.float32) / 64
    return tf.constant(boxes), tf.constant(scores), tf.constant(rng.random((batch, count)) < 0.9)


@pytest.mark.parametrize("count", [10, 1000])
def test_the_best_of_levels_are_the_twins(count):
    """Levels of equal and of other lengths, with more boxes wanted than there are, too."""
    lengths = (80, 80, 40, 1, 0)
    boxes, scores, valid = scored(np.random.default_rng(5), 3, sum(lengths))
    ends = np.cumsum(lengths)
    parts = [tf.sort(part, axis=1, direction="DESCENDING") for part in np.split(scores.numpy(), ends[:-1], axis=1)]
    arguments = (boxes, tf.concat(parts, axis=1), valid, lengths, Suppression(0.5, count))
    expected = framework.best_of_levels(*arguments)
    to_the_bit(expected, native.best_of_levels(*arguments))
    assert (expected.numpy() >= 0).sum() > 20


@pytest.mark.parametrize("share", [0.0, 0.02, 0.6])
def test_the_best_of_classes_are_the_twins(share):
    """Places and scores, with none, with fewer and with more than the slots."""
    rng = np.random.default_rng(7)
    boxes, scores, _ = scored(rng, 2, 300)
    scores = tf.where(rng.random((2, 300)) < share, scores, -1.0)
    arguments = (tf.reshape(boxes, (2, 50, 6, 4)), tf.reshape(scores, (2, 50, 6)), Suppression(0.5, 20))
    to_the_bit(framework.best_of_classes(*arguments), native.best_of_classes(*arguments))


@pytest.mark.parametrize("count", [1, 20, 500])
def test_hard_suppression_equals_the_twin(count):
    """Places and scores of the best of all classes."""
    rng = np.random.default_rng(9)
    boxes, scores, _ = scored(rng, 2, 300)
    scores = tf.sort(scores, axis=1, direction="DESCENDING")
    classes = tf.constant(rng.integers(0, 4, (2, 300)), tf.int32)
    arguments = (boxes, scores, classes, Suppression(0.5, count), 0.1)
    to_the_bit(framework.hard_nms(*arguments), native.hard_nms(*arguments))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.sampled_from((1, 30, 400)), length=st.sampled_from((0, 1, 90)))
def test_soft_suppression_equals_the_twin(seed, count, length):
    """Places, and scores as lowered, with a NaN among the scores."""
    rng = np.random.default_rng(seed)
    boxes = tf.constant(np.stack([clustered_boxes(rng, length, side=200, centres=6) for _ in range(2)]))
    scores = rng.random((2, length)).astype(np.float32)
    scores[:, 3:4] = np.nan
    classes = tf.constant(rng.integers(0, 4, (2, length)), tf.int32)
    arguments = (boxes, tf.constant(scores), classes, SoftSuppression(0.5, 0.05, count))
    (places, expected), (found_places, found) = (kernels.soft_nms(*arguments) for kernels in (framework, native))
    to_the_bit(places, found_places)
    nearly(expected, found)


def test_anchors_equal_the_twins():
    """Bit for bit, of cells and steps that float32 cannot hold."""
    rng = np.random.default_rng(11)
    grids = [Grid(rows, 9, (2**0.5 * 8, 7.3), rng.normal(0, 50, (5, 4)).tolist()) for rows in (13, 4, 0, 1)]
    to_the_bit(framework.anchors(grids), native.anchors(grids))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: native.box_iou(tf.zeros((3, 5)), tf.zeros((2, 4))), "left is [3,5]; [any, 4] is needed"),
        (
            lambda: native.match(tf.zeros((2, 3, 4)), tf.ones((2, 2), tf.bool), tf.zeros((9, 4)), Thresholds(0.5, 0.5)),
            "present is [2,2]; [2, 3] is needed",
        ),
        (
            lambda: native.nms(tf.zeros((1, 3, 4)), tf.zeros((1, 4), tf.int32), None, Suppression(0.5, 1)),
            "groups is [1,4]; [1, 3] is needed",
        ),
        (lambda: native.anchors([]), "grids and steps are two numbers a level"),
    ],
    ids=["overlaps", "match", "suppression", "anchors"],
)
def test_wrong_shapes_are_refused_in_one_line(call, words):
    """The message says what was found and what is needed."""
    with pytest.raises(tf.errors.InvalidArgumentError) as refusal:
        call()
    assert words in refusal.value.message
    assert "\n" not in refusal.value.message.strip()


def spec(*shape, dtype=tf.float32):
    """What a function of unknown sizes is traced with."""
    return tf.TensorSpec(shape, dtype)


UNKNOWN = {
    "overlaps": (native.box_iou, (spec(None, 4), spec(None, None)), [(None, None)]),
    "match": (
        lambda *args: native.match(*args, Thresholds(0.5, 0.4)),
        (spec(None, 5, 4), spec(2, None, dtype=tf.bool), spec(None, 4)),
        [(2, None), (2, None)],
    ),
    "candidates of each image": (
        lambda *args: native.match(*args, Thresholds(0.5, 0.4)),
        (spec(None, 5, 4), spec(None, None, dtype=tf.bool), spec(None, 77, 4)),
        [(None, 77), (None, 77)],
    ),
    "suppression": (
        lambda boxes: native.nms(boxes, None, None, Suppression(0.5, 6)),
        (spec(None, None, 4),),
        [(None, 6), (None,)],
    ),
    "soft suppression": (
        lambda *args: native.soft_nms(*args, SoftSuppression(0.5, 0.1, 6)),
        (spec(None, 9, 4), spec(3, None), spec(None, None, dtype=tf.int32)),
        [(3, 6), (3, 6)],
    ),
    "unknown ranks": (native.box_iou, (tf.TensorSpec(None), tf.TensorSpec(None)), [(None, None)]),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_shapes_are_known_as_far_as_the_inputs_are(name):
    """A function of unknown sizes knows its results' shapes as far as they can be known."""
    function, specs, expected = UNKNOWN[name]
    traced = tf.function(function, autograph=False).get_concrete_function(*specs)
    assert expected == [tuple(tensor.shape) for tensor in tf.nest.flatten(traced.structured_outputs)]


def test_selected_shapes_are_known_as_far_as_the_inputs_are():
    """The levels' numbers of boxes add up."""

    @tf.function(autograph=False)
    def select(*tensors):
        levels = [Level(*tensors[4 * level : 4 * level + 4]) for level in range(2)]
        return native.select_boxes(levels, tensors[-1], Selection())

    def level(batch, count):
        return spec(batch, count, dtype=tf.int32), spec(batch, count), spec(None, None, 4), spec(None, 4)

    known = select.get_concrete_function(*level(None, 7), *level(2, 5), spec(None, 2)).structured_outputs
    assert [tuple(tensor.shape) for tensor in known] == [(2, 12, 4), (2, 12), (2, 12)]
    unknown = select.get_concrete_function(*level(None, 7), *level(2, None), spec(None, 2)).structured_outputs
    assert [tuple(tensor.shape) for tensor in unknown] == [(2, None, 4), (2, None), (2, None)]


def test_mismatched_shapes_are_refused_when_traced():
    """Where sizes are known, no step has to run first."""
    with pytest.raises(ValueError, match="Dimension"):
        tf.function(native.box_iou).get_concrete_function(spec(None, 5), spec(None, 4))


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("kernels", [framework, native], ids=["framework", "native"])
def test_no_gradient_flows_through_boxes(kernels, traced):
    """Overlaps, decoded boxes and scores are constants to whoever differentiates them, step by step or traced."""
    boxes = tf.constant(clustered_boxes(np.random.default_rng(1), 9))

    def total(boxes):
        level = Level(tf.constant([[3, 1]]), boxes[None, :2, 0], boxes[None], boxes)
        found = kernels.select_boxes([level], tf.constant([[50, 50]]), Selection())
        kept = kernels.soft_nms(
            boxes[None], boxes[None, :, 0], tf.zeros((1, 9), tf.int32), SoftSuppression(0.5, 0.1, 4)
        )
        parts = (kernels.box_iou(boxes, boxes), found.boxes_BK4, found.scores_BK, tf.stop_gradient(kept[1]))
        return tf.add_n([tf.reduce_sum(part) for part in parts])

    with tf.GradientTape() as tape:
        tape.watch(boxes)
        loss = (tf.function(total, autograph=False) if traced else total)(boxes)
    assert tape.gradient(loss, boxes) is None
