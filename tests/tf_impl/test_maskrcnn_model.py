"""What holds for both flavours of the model, whatever the weights."""

import numpy as np
import pytest
import tensorflow as tf

from backends.tf_impl.graph import compiled
from backends.tf_impl.kernels import Suppression, Thresholds, framework
from backends.tf_impl.kernels.framework import overlap
from backends.tf_impl.layers import named_variables
from backends.tf_impl.maskrcnn.config import MaskRCNNConfig
from backends.tf_impl.maskrcnn.matching import Sampler
from backends.tf_impl.maskrcnn.model import MaskRCNN, total_loss
from backends.tf_impl.maskrcnn.targets import CROP_SIDE, object_crops, packed_bitmaps, pad_objects

pytestmark = pytest.mark.tf

FLAVOURS = ("nvidia", "torchvision")
PADDED = (64, 128)
SIZES = tf.constant([[64, 120], [60, 128]], tf.int32)


def small(flavour, **overrides):
    """An initialised model of few channels."""
    settings = {"roi_samples": 32, "rpn_pre_nms_train": 50, "rpn_pre_nms_test": 50}
    config = MaskRCNNConfig.preset(
        flavour, num_classes=4, backbone="resnet10", fpn_channels=8, **{"norm": "batch", **settings, **overrides}
    )
    model = MaskRCNN(config)
    model.initialise(3)
    return model


def images(seed=0):
    """Two images."""
    return tf.constant(np.random.default_rng(seed).integers(0, 256, (2, *PADDED, 3)), tf.uint8)


def targets(flavour, objects=4, images=2, seed=1):
    """Two objects in the first image, none in the second."""
    stream = np.random.default_rng(seed)
    boxes = np.array([[5, 6, 40, 50], [60, 10, 110, 60]], np.float32)
    shape = (CROP_SIDE, CROP_SIDE) if flavour == "nvidia" else PADDED
    masks = stream.random((2, *shape)) > 0.5
    masks = masks.astype(np.uint8) if flavour == "nvidia" else packed_bitmaps(masks, *PADDED)
    parts = [pad_objects(boxes[:n], np.array([1, 3], np.int32)[:n], masks[:n], objects) for n in (2, 0)[:images]]
    stacked = {name: tf.constant(np.stack([part[name] for part in parts])) for name in parts[0]}
    return {**stacked, "image_ids": tf.constant([11, 1 << 40][:images], tf.int64)}


def step_of(model):
    """Losses, counts and gradients of a batch, as one function of tensors."""
    trained = {name: part for name, part in named_variables(model).items() if part.trainable}

    def step(*batch):
        with tf.GradientTape() as tape:
            sums_L, counts_L = model.loss_sums(*batch, seed=7)
            total = total_loss(sums_L, counts_L)
        return sums_L, counts_L, tape.gradient(total, trained)

    return step


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_training_step_is_the_same_eager_compiled_and_under_xla(flavour, monkeypatch):
    """Losses, counts and the gradient of every variable agree; two runs of one are equal to the bit."""
    # a rectifier has a kink: where rounding moves its input past 0, gradients jump, and equal ones could not be told
    monkeypatch.setattr(tf.nn, "relu", tf.nn.softplus)
    model = small(flavour, norm="frozen", trainable_layers=5)
    batch = (images(), SIZES, targets(flavour), tf.constant(3, tf.int64))
    step = step_of(model)
    sums_L, counts_L, gradients = step(*batch)
    assert sums_L.shape == (len(model.losses),)
    assert np.isfinite(sums_L).all()
    assert [name for name, part in gradients.items() if not np.isfinite(part).all()] == []
    for xla in (False, True):
        run = compiled(step, xla=xla)
        again_L, counts_again_L, gradients_again = run(*batch)
        np.testing.assert_allclose(again_L, sums_L, rtol=1e-5)
        assert counts_again_L.numpy().tolist() == counts_L.numpy().tolist()
        norms = {
            name: float(tf.norm(part - gradients[name]) / (tf.norm(gradients[name]) + 1e-9))
            for name, part in gradients_again.items()
        }
        assert {name: value for name, value in norms.items() if not value <= 1e-4} == {}
        assert np.array_equal(run(*batch)[0], again_L)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_detections_are_the_same_eager_compiled_and_under_xla(flavour):
    """Boxes, scores, labels, masks and counts agree, and have their documented shapes."""
    model = small(flavour, detections=20, score_threshold=0.0)
    wanted = model.predict(images(), SIZES)
    assert {name: tuple(part.shape) for name, part in wanted.items()} == {
        "boxes": (2, 20, 4), "scores": (2, 20), "labels": (2, 20), "masks": (2, 20, 28, 28), "count": (2,),
    }  # fmt: skip
    assert wanted["count"].numpy().min() > 0
    found = compiled(model.predict, xla=flavour == "nvidia")(images(), SIZES)
    for name, part in wanted.items():
        np.testing.assert_allclose(found[name], part, atol=2e-3 if name == "boxes" else 1e-4)


@pytest.fixture(scope="module", params=FLAVOURS)
def eager(request):
    """A flavour and its small model."""
    return request.param, small(request.param, norm="frozen", trainable_layers=3)


def test_padding_objects_and_images_without_any_add_nothing(eager):
    """More rows of padding change no loss; images without objects have finite losses, and none for boxes and masks."""
    flavour, model = eager
    batch = (images(), SIZES)
    step = tf.constant(3, tf.int64)
    few, many = (model.loss_sums(*batch, targets(flavour, objects), step, 7) for objects in (2, 5))
    np.testing.assert_allclose(many[0], few[0], rtol=1e-6)
    assert many[1].numpy().tolist() == few[1].numpy().tolist()
    empty = {**targets(flavour), "labels": tf.zeros((2, 4), tf.int32), "boxes": tf.zeros((2, 4, 4))}
    with tf.GradientTape() as tape:
        sums_L, counts_L = model.loss_sums(*batch, empty, step, 7)
        total = total_loss(sums_L, counts_L)
    by_name = dict(zip(model.losses, sums_L.numpy().tolist(), strict=True))
    assert all(np.isfinite(value) for value in by_name.values())
    assert by_name["loss_objectness"] > 0
    assert by_name["loss_class"] > 0
    assert {value for name, value in by_name.items() if "box" in name or "mask" in name} == {0.0}
    assert all(np.isfinite(part).all() for part in tape.gradient(total, model.trainable_variables))


def test_two_images_are_two_batches_of_one(eager):
    """Sums and counts of a batch are the sums of its images': ranks may share a batch."""
    flavour, model = eager
    step, aims = tf.constant(3, tf.int64), targets(flavour)
    whole = model.loss_sums(images(), SIZES, aims, step, 7)
    parts = [
        model.loss_sums(images()[i : i + 1], SIZES[i : i + 1], {k: v[i : i + 1] for k, v in aims.items()}, step, 7)
        for i in (0, 1)
    ]
    shared = np.array([name == "loss_l2" for name in model.losses])
    for mine, left, right in zip(whole, *parts, strict=True):
        np.testing.assert_allclose(mine, np.where(shared, left, left + right), rtol=2e-5)


def test_frozen_stages_and_counts_are_the_published_ones():
    """Both published models train 44,178,993 parameters; with live norms torchvision's trains 44,454,513."""
    trained = {
        (flavour, norm): sum(
            part.shape.num_elements()
            for part in named_variables(MaskRCNN(MaskRCNNConfig.preset(flavour, num_classes=91, norm=norm))).values()
            if part.trainable
        )
        for flavour, norm in (("nvidia", "frozen"), ("torchvision", "batch"))
    }
    assert trained == {("nvidia", "frozen"): 44_178_993, ("torchvision", "batch"): 44_454_513}


@pytest.mark.parametrize(
    ("layers", "first"),
    [(0, None), (2, "layer3"), (4, "layer1"), (5, "bn1")],
)
def test_trainable_layers_count_from_the_last_stage(layers, first):
    """What stands before the first trained stage is frozen, live norms included."""
    model = small("torchvision", trainable_layers=layers)
    order = ["bn1", "conv1", "layer1", "layer2", "layer3", "layer4"]
    stages = {
        name.split(".")[2] for name, part in named_variables(model).items() if part.trainable and ".body." in name
    }
    assert stages == set(order[order.index(first) :] if first else ())


def test_weights_are_drawn_as_published():
    """Deviations are those of the published rules, biases 0, norms the identity, and a seed repeats them."""
    model = small("torchvision", head_channels=64)
    state = {name: part.numpy() for name, part in named_variables(model).items()}
    wanted = {
        "backbone.body.layer3.0.conv1.weight": (2 / (9 * 256)) ** 0.5,
        "backbone.fpn.inner_blocks.3.0.weight": (1 / 512) ** 0.5,
        "rpn.head.conv.0.0.weight": 0.01,
        "roi_heads.box_head.fc6.weight": (1 / (8 * 49)) ** 0.5,
        "roi_heads.box_predictor.cls_score.weight": 0.01,
        "roi_heads.box_predictor.bbox_pred.weight": 0.001,
        "roi_heads.mask_head.1.0.weight": (2 / (9 * 64)) ** 0.5,
        "roi_heads.mask_predictor.conv5_mask.weight": (2 / (4 * 64)) ** 0.5,
    }
    assert {name: state[name].std() for name in wanted} == pytest.approx(wanted, rel=0.15)
    assert all(not value.any() for name, value in state.items() if name.endswith(("bias", "running_mean")))
    assert all((value == 1).all() for name, value in state.items() if ".bn" in name and name.endswith("weight"))
    fresh = small("torchvision", head_channels=64)
    assert all(np.array_equal(state[name], part) for name, part in named_variables(fresh).items())


@pytest.mark.parametrize("seed", range(3))
def test_nms_keeps_what_tensorflows_own_keeps(seed):
    """Also with boxes that count for nothing, and where a long chain of boxes decides about each other."""
    stream = np.random.default_rng(seed)
    corner = stream.random((2, 300, 2)) * 60
    boxes = np.concatenate((corner, corner + 10 + stream.random((2, 300, 2)) * 20), 2).astype(np.float32)
    boxes[1, :, :] = [0, 0, 10, 10]
    boxes[1] += np.arange(300, dtype=np.float32)[:, None] * [3, 0, 3, 0]  # each sends the next away: a chain of 300
    valid = stream.random((2, 300)) > 0.2
    valid[1] = True
    places, counts = framework.nms(tf.constant(boxes), None, tf.constant(valid), Suppression(0.5, 300))
    scores = np.linspace(1, 0, 300, dtype=np.float32)
    for group in range(2):
        index = np.flatnonzero(valid[group])
        wanted = tf.image.non_max_suppression(boxes[group][index], scores[index], 300, 0.5)
        assert places[group, : counts[group]].numpy().tolist() == sorted(index[wanted.numpy()].tolist())


def test_matching_keeps_the_best_candidates_of_an_object(monkeypatch):
    """`ties` keeps every best candidate for its own best object, `first` one for the object; without overlap none."""

    def matched(overlaps, present, keep):
        iou_MN = np.array(overlaps, np.float32)
        monkeypatch.setattr(overlap, "box_iou", lambda *_, **__: tf.constant(iou_MN))
        objects_BM4, candidates_N4 = tf.zeros((1, len(iou_MN), 4)), tf.zeros((iou_MN.shape[1], 4))
        rules = Thresholds(0.7, 0.3, keep=keep)
        found = framework.match(objects_BM4, tf.constant([present]), candidates_N4, rules)
        return [part[0].numpy().tolist() for part in found]

    iou = [[0.4, 0.4, 0.1, 0.0], [0.0, 0.6, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.9, 0.9, 0.9, 0.9]]
    found = {keep: matched(iou, [True, True, True, False], keep) for keep in ("none", "ties", "first")}
    states = {keep: state for keep, (_, state) in found.items()}
    assert states == {"none": [-1, -1, 0, 0], "ties": [1, 1, 0, 0], "first": [1, 1, 0, 0]}
    assert found["ties"][0][:2] == found["first"][0][:2] == [0, 1]
    tied = {keep: matched([[0.4, 0.4], [0.5, 0.0]], [True, True], keep) for keep in ("ties", "first")}
    assert tied == {"ties": [[1, 0], [1, 1]], "first": [[0, 0], [1, -1]]}


def test_padded_targets_refuse_too_many_objects():
    """More objects than rows are refused in one line."""
    with pytest.raises(ValueError, match=r"^3 objects; the padded targets of this run hold 2$"):
        pad_objects(np.zeros((3, 4), np.float32), np.ones(3, np.int32), np.zeros((3, 2), np.uint8), 2)


def test_crops_are_the_object_in_its_box():
    """A square outline fills its crop but for the border; a triangle fills half."""
    square = (np.array([10.0, 10, 30, 10, 30, 40, 10, 40]),)
    triangle = (np.array([0.0, 0, 20, 0, 0, 20]),)
    crops = object_crops([square, triangle], np.array([[10, 10, 30, 40], [0, 0, 20, 20]], np.float32))
    assert crops.shape == (2, CROP_SIDE, CROP_SIDE)
    assert crops[0, 2:-2, 2:-2].all()
    assert crops[0].sum() == 112 * 112
    assert crops[1].sum() == pytest.approx(112 * 112 / 2, rel=0.02)


def test_samples_differ_by_step_and_image():
    """Another step or another image draws others; the same draws the same."""
    state = tf.zeros((2, 500), tf.int32)
    ids = tf.constant([4, 5], tf.int64)
    drawn = [
        Sampler(1, tf.constant(step, tf.int64)).draw(state, ids, (50, 0.5), 0).index_BS.numpy() for step in (1, 1, 2)
    ]
    assert np.array_equal(drawn[0], drawn[1])
    assert len({tuple(row) for part in drawn for row in part}) == 4


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"norm": "group"}, "norm is 'group'; choose one of frozen, batch"),
        ({"trainable_layers": 6}, "trainable_layers is 6; the trunk has 0 to 5"),
        ({"size_divisible": 48}, "size_divisible is 48; the pyramid needs a multiple of 32"),
        ({"roi_sample": 3}, "unknown option 'roi_sample'; near: roi_samples"),
    ],
)
def test_bad_settings_are_named(overrides, message):
    """A value outside its choices, or a name that is none, is one line that says what would be right."""
    with pytest.raises(ValueError, match=f"^{message}$"):
        MaskRCNNConfig.preset("nvidia", num_classes=4, **overrides)


@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float16])
def test_half_precision_keeps_losses_and_boxes_in_float32(dtype):
    """Convolutions and dense layers compute in the half type; losses, counts and gradients are float32 and near."""
    whole, half = (MaskRCNN(small("nvidia").config, kind) for kind in (tf.float32, dtype))
    batch = (images(), SIZES, targets("nvidia"), tf.constant(3, tf.int64))
    for model in (whole, half):
        model.initialise(3)
    assert half.features(tf.zeros((1, 64, 64, 3)))[0].dtype == dtype
    (wanted, _, _), (sums_L, counts_L, gradients) = step_of(whole)(*batch), step_of(half)(*batch)
    assert {sums_L.dtype, counts_L.dtype, *(part.dtype for part in gradients.values())} == {tf.float32}
    index = [half.losses.index(name) for name in ("loss_objectness", "loss_class", "loss_l2")]
    np.testing.assert_allclose(sums_L.numpy()[index], wanted.numpy()[index], rtol=0.02)
    assert half.predict(images(), SIZES)["masks"].dtype == tf.float32
