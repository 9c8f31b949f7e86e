"""Native pooling, losses and masks against their twins in plain TensorFlow, and their gradients."""

import numpy as np
import pytest
import tensorflow as tf

from backends.tf_impl.kernels import Focal, Outlines, Pooling, Runs, Target, framework, native

pytestmark = pytest.mark.tf

GRIDS = ((24, 32), (12, 16), (6, 8), (3, 4))
POOLING = Pooling(7, 2, 1.0)


@pytest.fixture(scope="module", autouse=True)
def loaded():
    """The operations, built if need be."""
    native.load("cpu")


def close(expected, actual, rtol=1e-5, atol=1e-5):
    """Tensors of equal types and nearly equal numbers."""
    for one, other in zip(tf.nest.flatten(expected), tf.nest.flatten(actual), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(tf.cast(one, tf.float64), tf.cast(other, tf.float64), rtol=rtol, atol=atol)


def pyramid(dtype, rois=9):
    """Features of two images, RoIs that reach beyond them and some without area, and a level of each."""
    rng = np.random.default_rng(2)
    features = [tf.constant(rng.normal(size=(2, *grid, 5)), dtype) for grid in GRIDS]
    near = rng.uniform(-20, 120, (2, rois, 2))
    boxes = np.concatenate((near, near + rng.choice((0, 3, 30, 90), (2, rois, 2))), axis=-1)
    return features, tf.constant(boxes, tf.float32), tf.constant(rng.integers(0, 4, (2, rois)), tf.int32)


@pytest.mark.parametrize("rois", [0, 1, 9])
@pytest.mark.parametrize("dtype", [tf.float32, tf.float16])
def test_pooling_and_its_gradient_equal_the_twins(dtype, rois):
    """Values are float32, gradients of the features' type, whatever that is."""
    features, boxes, levels = pyramid(dtype, rois)
    found = []
    for kernels in (framework, native):
        with tf.GradientTape() as tape:
            tape.watch(features)
            pooled = kernels.roi_align(features, boxes, levels, POOLING)
            total = tf.reduce_sum(pooled * tf.reshape(tf.range(tf.size(pooled), dtype=tf.float32), pooled.shape) / 999)
        found.append((pooled, tape.gradient(total, features)))
    assert found[0][0].dtype == tf.float32
    assert rois == 0 or np.abs(found[0][0]).max() > 0.1
    close(found[0][0], found[1][0])
    close(found[0][1], found[1][1], *((2e-3, 2e-2) if dtype == tf.float16 else (1e-4, 1e-4)))


def test_the_gradient_of_pooling_is_that_of_finite_differences():
    """In float64, of every level."""
    rng = np.random.default_rng(3)
    features = [tf.constant(rng.normal(size=(1, *grid, 2)), tf.float64) for grid in ((6, 5), (3, 3))]
    boxes = tf.constant(rng.uniform(0, 20, (1, 3, 4)), tf.float64)

    def pool(*levels):
        return native.roi_align(levels, boxes, tf.constant([[0, 1, 0]]), Pooling(2, 2, 1.0))

    analytic, numeric = tf.test.compute_gradient(pool, features)
    assert max(np.abs(part).max() for part in numeric) > 0.1
    for one, other in zip(numeric, analytic, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-7)


def test_pooling_works_with_sizes_that_are_not_known():
    """Forward and backward of a function traced once for all sizes."""
    features, boxes, levels = pyramid(tf.float32)

    @tf.function(
        autograph=False,
        input_signature=[tf.TensorSpec((None, None, None, 5))] * 4
        + [tf.TensorSpec((None, None, 4)), tf.TensorSpec((None, None), tf.int32)],
    )
    def slopes(*inputs):
        pooled = native.roi_align(inputs[:4], *inputs[4:], POOLING)
        assert tuple(pooled.shape) == (None, 7, 7, 5)
        return tf.gradients(pooled, inputs[:4])

    with tf.GradientTape() as tape:
        tape.watch(features)
        pooled = framework.roi_align(features, boxes, levels, POOLING)
    close(tape.gradient(pooled, features), slopes(*features, boxes, levels))


def test_levels_that_differ_are_refused_in_one_line():
    """All levels hold the same images and channels."""
    features = [tf.zeros((1, 4, 4, 3)), tf.zeros((2, 2, 2, 3))]
    with pytest.raises(tf.errors.InvalidArgumentError, match="levels differ in images or channels"):
        native.roi_align(features, tf.zeros((1, 1, 4)), tf.zeros((1, 1), tf.int32), POOLING)


def outputs(dtype, rows, classes=5):
    """Logits, huge ones among them, and classes: true ones, background, and rows that are not counted."""
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 3, (2, rows, classes))
    logits.reshape(-1)[:4] = (60, -60, 300, -300)[: logits.size]
    return tf.constant(logits, dtype), tf.constant(rng.integers(-2, classes, (2, rows)), tf.int32)


@pytest.mark.parametrize("rows", [0, 1, 700])
@pytest.mark.parametrize("dtype", [tf.float32, tf.float16, tf.bfloat16])
@pytest.mark.parametrize("rules", [Focal(0.25, 1.5), Focal(0.3, 2.0, 0.1)])
def test_the_focal_loss_and_its_gradient_equal_the_twins(rules, dtype, rows):
    """The loss is float32, gradients of the logits' type; no gradient where a row is not counted."""
    logits, classes = outputs(dtype, rows) if rows else (tf.zeros((2, 0, 5), dtype), tf.zeros((2, 0), tf.int32))
    found = []
    for kernels in (framework, native):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            loss = 3 * kernels.focal_loss(logits, classes, rules)
        found.append((loss, tape.gradient(loss, logits)))
    close(found[0][0], found[1][0], rtol=1e-6, atol=1e-6)
    half = dtype != tf.float32
    close(found[0][1], found[1][1], *((1e-2, 1e-6) if half else (1e-5, 1e-6)))
    assert not found[1][1].numpy()[classes.numpy() < -1].any()


@pytest.mark.parametrize("rules", [Focal(0.25, 1.5), Focal(0.3, 2.0, 0.1)])
def test_infinite_logits_have_the_loss_and_the_slopes_of_the_limits(rules):
    """No loss where they are right, an infinite one where they are wrong, and finite slopes."""
    infinity = float("inf")
    logits = tf.constant([[infinity, -infinity, -infinity], [-infinity, infinity, 0.5]])
    for classes, wrong in (((0, 1), False), ((1, 1), True)):
        found = [_loss_and_slopes(kernels, logits, classes, rules) for kernels in (framework, native)]
        assert [bool(np.isinf(loss)) for loss, _ in found] == [wrong, wrong]
        assert np.isfinite(found[1][1]).all()
        close(*found)


def _loss_and_slopes(kernels, logits, classes, rules):
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = kernels.focal_loss(logits, tf.constant(classes), rules)
    return loss, tape.gradient(loss, logits)


def test_the_gradient_of_the_focal_loss_is_that_of_finite_differences():
    """In float64."""
    logits, classes = outputs(tf.float64, 6)
    logits = tf.clip_by_value(logits, -8, 8)
    analytic, numeric = tf.test.compute_gradient(
        lambda logits: native.focal_loss(logits, classes, Focal(0.25, 1.5, 0.1)), [logits], delta=1e-6
    )
    assert np.abs(numeric[0]).max() > 0.1
    np.testing.assert_allclose(numeric[0], analytic[0], atol=1e-7)


def test_a_loss_of_wrong_classes_is_refused_in_one_line():
    """One class a row is needed."""
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"classes is \[3\]; \[2\] is needed"):
        native.focal_loss(tf.zeros((2, 4)), tf.zeros(3, tf.int32), Focal(0.25, 1.5))


BOXES = (
    (10.3, 5.1, 60.7, 44.9),
    (-20.0, -9.5, 30.0, 200.0),
    (50.0, 20.0, 50.0, 20.0),
    (70.2, 40.0, 60.0, 10.0),
    (1e6, 1e6, 2e6, 2e6),
    (-3e30, 0.0, 3e30, 50.0),
    (float("nan"), 0.0, 30.0, 30.0),
    (0.0, float("-inf"), 30.0, 30.0),
)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float16])
def test_pasted_masks_equal_the_twins(dtype):
    """Of boxes beyond the image, turned round, without area, huge, and broken."""
    masks = tf.constant(np.random.default_rng(5).uniform(0, 1, (len(BOXES), 28, 28)), dtype)
    expected, found = (
        kernels.paste_masks(masks, tf.constant(BOXES), 61, 83, threshold=0.5) for kernels in (framework, native)
    )
    assert found.dtype == expected.dtype == tf.bool
    assert found.numpy()[:2].any(axis=(1, 2)).all()
    np.testing.assert_array_equal(expected, found)


def test_no_masks_make_no_pictures():
    """Of any size, or of none."""
    assert tuple(native.paste_masks(tf.zeros((0, 28, 28)), tf.zeros((0, 4)), 7, 9).shape) == (0, 7, 9)
    assert tuple(native.paste_masks(tf.zeros((2, 28, 28)), tf.zeros((2, 4)), 0, 9).shape) == (2, 0, 9)


def test_masks_of_unequal_sides_are_refused_in_one_line():
    """Masks are square."""
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"masks is \[1,3,4\]; \[1, 3, 3\] is needed"):
        native.paste_masks(tf.zeros((1, 3, 4)), tf.zeros((1, 4)), 5, 5)


def test_drawn_polygons_equal_the_twins():
    """To the bit: objects of several polygons and of none, RoIs beyond them and without area."""
    rng = np.random.default_rng(6)
    lengths, owners = (3, 9, 400, 4), (0, 2, 2, 3, 4)
    points = tf.constant(rng.uniform(-5, 60, (sum(lengths), 2)))
    outlines = Outlines(points, tf.constant(np.cumsum((0, *lengths)), tf.int64), tf.constant(owners, tf.int64))
    boxes = tf.constant([(0.0, 0, 50, 50), (10.5, 8, 30, 70), (5, 5, 5, 5), (20, 20, 21, 60)], tf.float64)
    arguments = (outlines, tf.constant([0, 1, 2, 3]), boxes, Target(28))
    expected, found = (kernels.polygon_targets(*arguments) for kernels in (framework, native))
    assert found.numpy()[[0, 2]].any(axis=(1, 2)).all()
    np.testing.assert_array_equal(expected, found)


def test_read_run_lengths_equal_the_twins():
    """To the bit: masks of several sizes, RoIs beyond them."""
    rng = np.random.default_rng(7)
    counts, sizes = [], [(30, 40), (50, 20)]
    for height, width in sizes:
        cuts = np.sort(rng.choice(height * width, 60, replace=False))
        counts.append(np.diff(np.concatenate(((0,), cuts, (height * width,)))))
    starts = np.cumsum((0, *map(len, counts)))
    runs = Runs(
        tf.constant(np.concatenate(counts), tf.uint32), tf.constant(starts, tf.int64), tf.constant(sizes, tf.int64)
    )
    boxes = tf.constant([(0.0, 0, 40, 30), (-5.5, 3, 12, 80), (3, 3, 3, 3)], tf.float64)
    arguments = (runs, tf.constant([0, 1, 1]), boxes, Target(14))
    expected, found = (kernels.rle_targets(*arguments) for kernels in (framework, native))
    assert found.numpy()[0].any()
    np.testing.assert_array_equal(expected, found)


@pytest.mark.parametrize(
    ("polygons", "objects", "of", "words"),
    [
        ((0, 9), (0, 1), 0, "polygon_starts holds 9 at 1; numbers that rise from 0 to at most 4 are needed"),
        ((0, 4), (0, 2), 0, "object_starts holds 2 at 1; numbers that rise from 0 to at most 1 are needed"),
        ((0, 4), (0, 1), 1, "object holds 1; there are 1"),
    ],
)
def test_lists_that_lead_astray_are_refused_in_one_line(polygons, objects, of, words):
    """No memory beyond the arrays is read."""
    outlines = Outlines(tf.zeros((4, 2), tf.float64), tf.constant(polygons, tf.int64), tf.constant(objects, tf.int64))
    with pytest.raises(tf.errors.InvalidArgumentError, match=words):
        native.polygon_targets(outlines, tf.constant([of]), tf.zeros((1, 4), tf.float64), Target(4))
