"""EfficientDet as a whole: sizes, quirks, losses of a batch, and one body for eager, graph and XLA."""

import numpy as np
import pytest
import tensorflow as tf

from backends.tf_impl.efficientdet.config import VARIANTS, EfficientDetConfig
from backends.tf_impl.efficientdet.heads import CLASS_BIAS
from backends.tf_impl.efficientdet.model import EfficientDet
from backends.tf_impl.layers import named_variables

pytestmark = pytest.mark.tf

SMALL = {"width": 0.25, "depth": 0.25, "fpn_channels": 16, "fpn_cells": 1, "head_depth": 1, "num_classes": 3}
"""Seven blocks and one cell: what compiles in seconds."""
SIZES = tf.constant([[128, 128], [100, 90]])


def small(dtype=tf.float32, **overrides):
    """A small model from a fixed seed."""
    model = EfficientDet(EfficientDetConfig.preset("d0", **(SMALL | overrides)), dtype)
    model.initialise(1)
    return model


def images(count=2):
    """Random pixels, the same at every call."""
    return tf.constant(np.random.default_rng(0).integers(0, 256, (count, 128, 128, 3), dtype=np.uint8))


def targets(counts, slots):
    """So many objects in each image."""
    random = np.random.default_rng(1)
    near = random.uniform(0, 80, (len(counts), slots, 2))
    boxes = np.concatenate((near, near + random.uniform(8, 40, near.shape)), axis=-1).astype(np.float32)
    used = np.arange(slots) < np.array(counts)[:, None]
    labels = np.where(used, random.integers(1, 4, used.shape), 0).astype(np.int32)
    return {"boxes_BM4": tf.constant(boxes), "labels_BM": tf.constant(labels)}


def trainable(model):
    """Variables that train, by name."""
    return {name: variable for name, variable in named_variables(model).items() if variable.trainable}


def step_of(model):
    """A function of a batch to its losses and gradients."""
    variables = list(trainable(model).values())

    def step(images_BHW3, sizes_B2, wanted):
        with tf.GradientTape() as tape:
            sums, counts = model.loss_sums(images_BHW3, sizes_B2, wanted)
            losses = sums / counts
        return losses, tape.gradient(losses, variables, unconnected_gradients="zero")

    return step


def restored(model, call):
    """Call, and put the batch statistics back that the call moved."""
    before = {name: value.numpy() for name, value in named_variables(model).items()}
    result = call()
    for name, value in named_variables(model).items():
        value.assign(before[name])
    return result


def test_d0_has_the_published_number_of_parameters():
    """3,880,067 train and 3,927,203 are stored, with 90 classes."""
    model = EfficientDet(EfficientDetConfig.preset("d0"))
    assert sum(np.prod(value.shape) for value in trainable(model).values()) == 3_880_067
    assert sum(np.prod(value.shape) for value in named_variables(model).values()) == 3_927_203


def test_a_second_model_is_as_good_as_the_first():
    """Strides, variables and outputs do not depend on what the process has built before."""
    first, second = small(), small()
    assert [value.shape for value in named_variables(first).values()] == [
        value.shape for value in named_variables(second).values()
    ]
    pixels = first.normalize(images(), SIZES)
    assert [tap.shape[1] for tap in second.features(pixels)] == [16, 8, 4]
    for expected, actual in zip(first.outputs(pixels)[0], second.outputs(pixels)[0], strict=True):
        np.testing.assert_array_equal(expected, actual)


@pytest.mark.parametrize(("xla", "part"), [(False, 1e-3), (True, 1e-2)])
def test_a_compiled_training_step_equals_the_eager_one(xla, part):
    """Losses to 1e-4, and gradients to a part of their tensor's largest, which live norms of few values need."""
    model = small()
    inputs = (images(), SIZES, targets((2, 1), 3))
    expected, slopes = restored(model, lambda: step_of(model)(*inputs))
    actual, others = restored(model, lambda: tf.function(step_of(model), jit_compile=xla)(*inputs))
    np.testing.assert_allclose(expected, actual, rtol=1e-4)
    largest = max(float(tf.reduce_max(tf.abs(slope))) for slope in slopes)
    for name, slope, other in zip(trainable(model), slopes, others, strict=True):
        bound = part * (float(tf.reduce_max(tf.abs(slope))) + 1e-2 * largest)
        assert float(tf.reduce_max(tf.abs(slope - other))) <= bound, name


@pytest.mark.parametrize("nms", ["hard", "soft"])
def test_compiled_detections_equal_the_eager_ones(nms):
    """Under XLA the same boxes come in the same order, of static shape, inside each image's valid area."""
    model = small(nms=nms)
    expected = model.predict(images(), SIZES)
    actual = tf.function(model.predict, jit_compile=True)(images(), SIZES)
    shapes = {name: tuple(tensor.shape) for name, tensor in actual.items()}
    assert shapes == {"boxes": (2, 100, 4), "scores": (2, 100), "labels": (2, 100), "count": (2,)}
    np.testing.assert_array_equal(expected["labels"], actual["labels"])
    for name in ("boxes", "scores"):
        np.testing.assert_allclose(expected[name], actual[name], atol=1e-3)
    assert float(tf.reduce_max(actual["boxes"][1, :, 2])) <= 90
    assert float(tf.reduce_max(actual["boxes"][1, :, 3])) <= 100


def test_images_with_0_1_100_and_150_objects_train():
    """Losses and gradients are finite, and without an object the class loss alone pulls."""
    model = small()
    batch = images(4), tf.tile([[128, 128]], (4, 1)), targets((0, 1, 100, 150), 150)
    losses, slopes = step_of(model)(*batch)
    assert np.isfinite(losses).all()
    assert all(np.isfinite(slope).all() for slope in slopes)
    empty, _ = step_of(model)(batch[0], batch[1], targets((0, 0, 0, 0), 150))
    assert float(empty[0]) > 0
    assert float(empty[1]) == 0


def test_losses_of_two_ranks_are_those_of_one_with_both_batches():
    """With constant norms, the mean over ranks of sums / mean of counts is the loss of the whole batch."""
    model = small(norm="frozen")
    whole = images(4), tf.constant([[128, 128], [100, 90], [128, 64], [128, 128]]), targets((3, 0, 40, 7), 40)
    sums, counts = model.loss_sums(*whole)
    halves = [tf.nest.map_structure(lambda part, cut=cut: part[cut], whole) for cut in (slice(2), slice(2, 4))]
    ranks = [model.loss_sums(*half, share=0.5) for half in halves]
    mean_sums, mean_counts = (sum(rank[part] for rank in ranks) / 2 for part in (0, 1))
    np.testing.assert_allclose(sums / counts, mean_sums / mean_counts, rtol=1e-5)


def test_frozen_norms_do_not_train():
    """A training pass moves no statistics, and no affine of a norm is among the variables that train."""
    model = small(norm="frozen")
    before = {name: value.numpy() for name, value in named_variables(model).items()}
    model.loss_sums(images(), SIZES, targets((1, 1), 1))
    for name, value in named_variables(model).items():
        np.testing.assert_array_equal(before[name], value)
    assert not [name for name in trainable(model) if ".bn" in name]


def test_pixels_are_normalised_once_and_twice_with_the_quirk():
    """Beyond the valid area they are 0 after the first time."""
    once, twice = (small(double_normalisation=quirk).normalize(images(), SIZES).numpy() for quirk in (False, True))
    mean, std = np.array((0.485, 0.456, 0.406)), np.array((0.229, 0.224, 0.225))
    np.testing.assert_allclose((images().numpy()[0] / 255 - mean) / std, once[0], atol=1e-5)
    np.testing.assert_allclose((once - mean) / std, twice, atol=1e-4)
    assert not once[1, 100:].any()
    assert not once[1, :, 90:].any()


def test_fusion_weights_are_rectified_but_for_the_quirk():
    """A negative weight counts as 0 by default and as it is with NVIDIA's switch."""

    def same(x_BHWC, *, training):
        return x_BHWC

    maps = [tf.fill((1, 2, 2, 16), 1.0), tf.fill((1, 2, 2, 16), 3.0)]
    for quirk, expected in ((False, 3 * 2 / (2 + 1e-4)), (True, (-1 * 1 + 2 * 3) / (1 + 1e-4))):
        combine = small(unrectified_fusion=quirk).fpn.cell[0].fnode[1].combine
        combine.resample = dict(zip("01", [same, same], strict=True))
        combine.edge_weights.assign([-1.0, 2.0])
        np.testing.assert_allclose(expected, combine(maps, training=False)[0, 0, 0, 0], rtol=1e-6)


@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float16])
def test_half_precision_follows_float32(dtype):
    """Losses are near those of float32; variables and their gradients stay float32, outputs are of the half type."""
    whole, half = small(), small(dtype)
    inputs = (images(), SIZES, targets((2, 1), 3))
    expected, _ = step_of(whole)(*inputs)
    losses, slopes = step_of(half)(*inputs)
    np.testing.assert_allclose(expected, losses, rtol=0.1)
    assert {slope.dtype for slope in slopes} == {tf.float32}
    assert half.outputs(half.normalize(images(), SIZES))[0][0].dtype == dtype
    assert half.predict(images(), SIZES)["boxes"].dtype == tf.float32


def test_initialisation_follows_the_published_rules():
    """Deviations by fan, the prior 0.01 in the class bias, norms at the identity; the seed decides all of it."""
    model = EfficientDet(EfficientDetConfig.preset("d0"))
    model.initialise(3)
    found = {name: value.numpy() for name, value in named_variables(model).items()}
    assert (found["class_net.predict.conv_pw.bias"] == np.float32(CLASS_BIAS)).all()
    assert pytest.approx(-np.log(99)) == CLASS_BIAS
    assert (found["backbone.bn1.weight"] == 1).all()
    assert (found["fpn.cell.0.fnode.4.combine.edge_weights"] == 1).all()
    deviations = {
        "backbone.blocks.5.1.conv_pwl.weight": np.sqrt(2 / 192),
        "class_net.predict.conv_pw.weight": np.sqrt(1 / 64),
        "fpn.cell.1.fnode.1.after_combine.conv.conv_pw.weight": np.sqrt(2 / 128),
    }
    for name, deviation in deviations.items():
        assert found[name].std() == pytest.approx(deviation, rel=0.05), name
    again = EfficientDet(EfficientDetConfig.preset("d0"))
    again.initialise(3)
    np.testing.assert_array_equal(found["box_net.predict.conv_dw.weight"], again.box_net.predict.conv_dw.weight)


@pytest.mark.parametrize(
    ("variant", "overrides", "message"),
    [
        ("d9", {}, "variant is 'd9'; choose one of d0, d1"),
        ("d0", {"num_clases": 3}, "unknown field 'num_clases' of EfficientDetConfig; near: num_classes"),
        ("d0", {"nms": "gaussian"}, "nms is 'gaussian'; choose one of hard, soft"),
        ("d0", {"image_size": 500}, "image_size is 500; a multiple of 128 is needed"),
    ],
)
def test_a_wrong_configuration_is_refused(variant, overrides, message):
    """One line says what was found and what would be right."""
    with pytest.raises(ValueError, match=message):
        EfficientDetConfig.preset(variant, **overrides)


def test_the_variants_have_the_published_canvases():
    """From 512 to 1536 pixels."""
    sizes = [EfficientDetConfig.preset(variant).image_size for variant in VARIANTS]
    assert sizes == [512, 640, 768, 896, 1024, 1280, 1280, 1536, 512]
