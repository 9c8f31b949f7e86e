"""What the nvidia flavour is made of, and properties of the whole model in both flavours."""

import numpy as np
import pytest
import torch
from torchvision.ops import FrozenBatchNorm2d

from backends.torch_impl.maskrcnn.config import MaskRCNNConfig
from backends.torch_impl.maskrcnn.inputs import resizing_of
from backends.torch_impl.maskrcnn.model import LOSSES, MaskRCNN, Sampler, Target

pytestmark = pytest.mark.torch

FLAVOURS = ["nvidia", "torchvision"]
SIZES = torch.tensor([[96, 90], [80, 96]])


def build(flavour, seed=0, **overrides):
    """A small model with random weights from a seed."""
    config = MaskRCNNConfig.preset(flavour, num_classes=4, backbone="resnet10", fpn_channels=16, **overrides)
    torch.manual_seed(seed)
    return MaskRCNN(config)


def pixels(seed=0):
    """Two random images of 96 × 96."""
    return torch.randint(0, 256, (2, 96, 96, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def box_target(image_id, boxes, labels):
    """Objects that fill their boxes."""
    polygons = [(np.array([x1, y1, x2, y1, x2, y2, x1, y2]),) for x1, y1, x2, y2 in boxes]
    boxes_N4 = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return Target(boxes_N4, torch.tensor(labels, dtype=torch.int64), image_id, polygons=polygons)


def targets():
    """Three objects in the first image, one in the second."""
    return [
        box_target(1, [[5, 6, 60, 70], [40, 20, 85, 90], [70, 3, 80, 12]], [1, 3, 2]),
        box_target(2, [[10, 10, 50, 60]], [2]),
    ]


def test_presets_hold_the_published_numbers():
    """The fields in which the two systems differ have the published values."""
    nvidia = MaskRCNNConfig.preset("nvidia", num_classes=81)
    theirs = MaskRCNNConfig.preset("torchvision", num_classes=91)
    assert (nvidia.box_loss_beta, theirs.box_loss_beta) == (1.0, 1 / 9)
    assert (nvidia.norm_eps, theirs.norm_eps) == (0.0, 1e-5)
    assert (nvidia.rpn_post_nms_train, nvidia.proposals_per) == (4000, "batch")
    assert (theirs.rpn_post_nms_train, theirs.proposals_per) == (2000, "image")
    assert (nvidia.channel_order, nvidia.pixel_mean) == ("bgr", (102.9801, 115.9465, 122.7717))
    assert nvidia.trainable_layers == theirs.trainable_layers == 3
    assert (nvidia.head_channels, nvidia.box_head_dim, nvidia.mask_size) == (256, 1024, 28)


@pytest.mark.parametrize(
    ("height", "width", "detectron", "floor"),
    [
        (480, 640, (800, 1066), (800, 1066)),
        (640, 480, (1066, 800), (1066, 800)),
        (427, 640, (800, 1199), (800, 1199)),
        (300, 640, (625, 1333), (624, 1333)),
        (800, 1000, (800, 1000), (800, 1000)),
    ],
)
def test_size_rules(height, width, detectron, floor):
    """Shorter side 800, longer at most 1333: the legacy rule rounds the limited side, torchvision's rounds down."""
    assert resizing_of(MaskRCNNConfig.preset("nvidia", num_classes=2)).size(height, width) == detectron
    assert resizing_of(MaskRCNNConfig.preset("torchvision", num_classes=2)).size(height, width) == floor


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"proposals_pre": 3}, "unknown option 'proposals_pre'; near: proposals_per"),
        ({"norm": "group"}, "norm is 'group'; choose one of frozen, batch"),
        ({"backbone": "vgg"}, "backbone is 'vgg'; choose one of resnet10, resnet18, resnet34, resnet50, resnet101"),
        ({"trainable_layers": 6}, "trainable_layers is 6; the trunk has 0 to 5"),
    ],
)
def test_bad_options_are_named(overrides, message):
    """An unknown field or choice is refused in one line that says what would be right."""
    with pytest.raises(ValueError, match=message):
        MaskRCNNConfig.preset("nvidia", num_classes=3, **overrides)


@pytest.mark.parametrize(("flavour", "first", "second"), [("nvidia", (2, 2), (1, 1)), ("torchvision", (1, 1), (2, 2))])
def test_bottlenecks_stride_where_the_flavour_says(flavour, first, second):
    """The first block of a later stage strides in its first 1×1 convolution, or in its 3×3; others never stride."""
    with torch.device("meta"):
        body = MaskRCNN(MaskRCNNConfig.preset(flavour, num_classes=4, backbone="resnet50")).backbone.body
    for stage in (body.layer2, body.layer3, body.layer4):
        assert (stage[0].conv1.stride, stage[0].conv2.stride, stage[0].downsample[0].stride) == (first, second, (2, 2))
        assert all(block.conv1.stride == block.conv2.stride == (1, 1) for block in stage[1:])
    assert body.layer1[0].conv1.stride == body.layer1[0].conv2.stride == (1, 1)


def test_frozen_affine_has_no_epsilon():
    """The stem gives w·x/√var + b - mean·w/√var exactly, also for a variance that an epsilon would change."""
    model = build("nvidia").eval()
    body = model.backbone.body
    body.bn1.running_var.fill_(1e-6)
    body.bn1.running_mean.fill_(0.25)
    body.bn1.weight.fill_(2e-3)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        wanted = body.layer1(body.maxpool((body.conv1(images) * 2.0 - 0.25 * 2.0).relu()))
        torch.testing.assert_close(body(images)["0"], wanted, rtol=1e-4, atol=1e-4)


def test_pixels_become_bgr_minus_the_mean_with_zero_padding():
    """Red ends up last, values stay 0 to 255 minus the mean, and padding is zero after the subtraction."""
    images = torch.zeros(1, 32, 64, 3, dtype=torch.uint8)
    images[0, :20, :30] = torch.tensor([10, 20, 30], dtype=torch.uint8)
    found = build("nvidia").normalize(images, torch.tensor([[20, 30]]))
    wanted = torch.tensor([30 - 102.9801, 20 - 115.9465, 10 - 122.7717])
    torch.testing.assert_close(found[0, :, 19, 29], wanted, rtol=0, atol=1e-5)
    assert found[0, :, 20:].abs().max() == 0
    assert found[0, :, :, 30:].abs().max() == 0


def test_published_layers_are_frozen():
    """Stem and layer1 do not train, nor does any normalisation; the rest does."""
    model = build("nvidia")
    frozen = {name.split(".")[2] for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {"conv1", "layer1"}
    assert not any("bn" in name or "downsample.1" in name for name, _ in model.named_parameters())
    assert sum(isinstance(module, FrozenBatchNorm2d) for module in model.modules()) == 12


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("norm", ["frozen", "batch"])
def test_losses_are_finite_and_reach_every_parameter(flavour, norm):
    """A batch with objects gives five positive losses and a gradient for every trainable parameter."""
    model = build(flavour, norm=norm, straddle_rule=False)  # in 96 px no large anchor would take part
    losses = model.losses(pixels(), SIZES, targets(), Sampler(0, 0))
    assert tuple(losses) == LOSSES
    assert all(loss.dtype == torch.float32 and loss.isfinite() and loss > 0 for loss in losses.values())
    sum(losses.values()).backward()
    assert [n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())] == []


AWKWARD = {
    "no objects": [box_target(1, [], []), box_target(2, [], [])],
    "no objects in one image": [box_target(1, [], []), box_target(2, [[10, 10, 50, 60]], [2])],
    "without area": [box_target(1, [[10, 10, 10, 10]], [1]), box_target(2, [[5, 7, 5, 40], [9, 9, 30, 9]], [2, 3])],
    "inside out": [box_target(1, [[30, 30, 20, 10]], [1]), box_target(2, [], [])],
    "outside the image": [box_target(1, [[300, 300, 340, 330]], [1]), box_target(2, [], [])],
    "whole image": [box_target(1, [[0, 0, 90, 96]], [3]), box_target(2, [[0, 0, 96, 80]], [1])],
}


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("case", AWKWARD)
def test_awkward_targets_give_finite_losses_and_gradients(flavour, case):
    """Losses and gradients stay finite, and every trainable parameter has a gradient, for DDP to exchange."""
    model = build(flavour)
    losses = model.losses(pixels(), SIZES, AWKWARD[case], Sampler(0, 0))
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert [name for name, gradient in gradients.items() if gradient is None or not gradient.isfinite().all()] == []


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_no_anchor_learns_an_object_outside_all_anchors(flavour):
    """An object that overlaps no anchor makes none foreground, though all tie its best overlap of zero."""
    model = build(flavour)
    anchors = torch.cat(
        model.rpn.make_anchors((96, 96), [(24, 24), (12, 12), (6, 6), (3, 3), (2, 2)], torch.device("cpu"))
    )
    target = box_target(1, [[3000, 3000, 3040, 3030]], [1])
    assert int((model.rpn.assign(anchors, target, (96, 96))[1] == 1).sum()) == 0


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_shared_counts_make_ranks_equal_one_process(flavour):
    """Two ranks of one image, whose counts are averaged, give the mean gradient of one process with both images."""
    overrides = {"proposals_per": "image", "rpn_post_nms_train": 60, "roi_samples": 64}
    model, both = build(flavour, **overrides), targets()
    whole = model.losses(pixels(), SIZES, both, Sampler(3, 1))
    sum(whole.values()).backward()
    wanted = gradients_of(model)
    counts = []
    for rank in range(2):
        part = slice(rank, rank + 1)
        model.losses(pixels()[part], SIZES[part], both[part], Sampler(3, 1), lambda c: (counts.append(c), c)[1])
    assert not torch.equal(*counts)
    mean = (counts[0] + counts[1]) / 2
    totals = dict.fromkeys(LOSSES, 0.0)
    for rank in range(2):
        part = slice(rank, rank + 1)
        losses = model.losses(pixels()[part], SIZES[part], both[part], Sampler(3, 1), lambda _: mean)
        (sum(losses.values()) / 2).backward()
        totals = {name: totals[name] + losses[name].item() / 2 for name in LOSSES}
    found = gradients_of(model)
    assert totals == pytest.approx({name: loss.item() for name, loss in whole.items()}, rel=1e-5)
    for name, gradient in wanted.items():
        assert ((found[name] - gradient).abs().max() <= 1e-5 * gradient.abs().max()).item(), name


def gradients_of(model):
    """Gradients by name, which are then cleared."""
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}
    model.zero_grad()
    return found


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_same_step_gives_the_same_losses_and_another_step_others(flavour):
    """Losses depend on the sampler's seed and step, and on nothing hidden."""
    model = build(flavour, roi_samples=32)
    first, again, later = (
        [loss.item() for loss in model.losses(pixels(), SIZES, targets(), Sampler(0, step)).values()]
        for step in (0, 0, 1)
    )
    assert first == again
    assert first != later


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_predictions_have_the_documented_form(flavour):
    """Boxes lie in the valid area, scores fall and exceed the threshold, masks are 28 × 28 probabilities."""
    model = build(flavour).eval()
    found = model(pixels(), SIZES)
    for prediction, (height, width) in zip(found, SIZES.tolist(), strict=True):
        count = len(prediction.scores_N)
        assert 0 < count <= 100
        assert prediction.masks_NSS.shape == (count, 28, 28)
        assert 0 <= float(prediction.masks_NSS.min()) <= float(prediction.masks_NSS.max()) <= 1
        assert bool((prediction.scores_N > 0.05).all())
        assert bool((prediction.scores_N.diff() <= 0).all())
        assert set(prediction.labels_N.tolist()) <= {1, 2, 3}
        assert float(prediction.boxes_N4[:, 2].max()) <= width - model.boxes.one
        assert float(prediction.boxes_N4[:, 3].max()) <= height - model.boxes.one


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_predictions_do_not_depend_on_the_batch(flavour):
    """An image alone gives what it gives beside another of the same padded size."""
    model = build(flavour).eval()
    together, alone = model.predict(pixels(), SIZES)[1], model.predict(pixels()[1:], SIZES[1:])[0]
    torch.testing.assert_close(together.boxes_N4, alone.boxes_N4, rtol=0, atol=1e-3)
    torch.testing.assert_close(together.masks_NSS, alone.masks_NSS, rtol=0, atol=1e-4)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_nothing_found_is_an_empty_prediction(flavour):
    """Without a score above the threshold boxes, labels and masks are empty, and so is the pasted result."""
    model = build(flavour, score_threshold=0.999).eval()
    prediction = model.predict(pixels(), SIZES)[0]
    assert (prediction.boxes_N4.shape, prediction.masks_NSS.shape) == ((0, 4), (0, 28, 28))
    assert model.paste(prediction.masks_NSS, prediction.boxes_N4, 50, 60).shape == (0, 50, 60)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_half_precision_and_channels_last_stay_near_float32(flavour):
    """bf16 autocast on channels-last weights gives float32 losses within a few per cent, and float32 detections."""
    model = build(flavour, norm="batch")
    exact = model.losses(pixels(), SIZES, targets(), Sampler(0, 0))
    model = model.to(memory_format=torch.channels_last)
    assert model.normalize(pixels(), SIZES).is_contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = model.losses(pixels(), SIZES, targets(), Sampler(0, 0))
        prediction = model.eval().predict(pixels(), SIZES)[0]
    for name in ("loss_objectness", "loss_rpn_box", "loss_class"):
        assert half[name].dtype == torch.float32
        assert half[name].item() == pytest.approx(exact[name].item(), rel=0.1)
    assert {prediction.boxes_N4.dtype, prediction.scores_N.dtype, prediction.masks_NSS.dtype} == {torch.float32}


def test_pasted_box_covers_the_pixels_of_the_published_rule():
    """A full mask over the box 10..37 grows by 30/28 to 9..38 after truncation and is cut at half a probability."""
    model = build("nvidia")
    mask = model.paste(torch.ones(1, 28, 28), torch.tensor([[10.0, 10, 37, 37]]), 60, 60)[0]
    # grown about 23.5 by 30/28: 9.04 → 9 and 37.96 → 37, 29 pixels for 30 cells; the zero border fades over one cell
    rows = mask.any(dim=1).nonzero()[:, 0]
    weights = [(i + 0.5) * 30 / 29 - 0.5 for i in range(29)]
    wanted = [9 + i for i, s in enumerate(weights) if 0.5 < s < 28.5]
    assert rows.tolist() == wanted
    assert torch.equal(mask, mask.T)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_training_works_after_inference_mode(flavour):
    """What an inference left cached serves training: gradients flow after `predict` ran in inference mode."""
    model = build(flavour)
    with torch.inference_mode():
        model.predict(pixels(), SIZES)
    sum(model.losses(pixels(), SIZES, targets(), Sampler(0, 0)).values()).backward()
    assert model.rpn.head.bbox_pred.weight.grad.any()
