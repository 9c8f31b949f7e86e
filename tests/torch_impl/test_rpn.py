"""Proposals and RPN losses of the nvidia flavour against plain Python."""

import math

import pytest
import torch

from backends.torch_impl.maskrcnn.config import MaskRCNNConfig
from backends.torch_impl.maskrcnn.matching import Sampler
from backends.torch_impl.maskrcnn.rpn import RPN, RPNOutputs, inside
from backends.torch_impl.maskrcnn.targets import Target

pytestmark = pytest.mark.torch

SIZE = (90, 120)
GRIDS = [(24, 32), (12, 16), (6, 8), (3, 4), (2, 2)]


def small_rpn(**overrides):
    """The first stage of a small model."""
    return RPN(MaskRCNNConfig.preset("nvidia", num_classes=3, backbone="resnet10", fpn_channels=8, **overrides))


def outputs_of(rpn, images=1, seed=0, scale=0.3):
    """Random logits and offsets over the anchors of 96 × 128 pixels."""
    anchors = rpn.make_anchors((96, 128), GRIDS, torch.device("cpu"))
    generator = torch.Generator().manual_seed(seed)
    logits = tuple(torch.randn(images, len(a), generator=generator) for a in anchors)
    deltas = tuple(scale * torch.randn(images, len(a), 4, generator=generator) for a in anchors)
    return RPNOutputs(logits, deltas, anchors)


def legacy_decode(delta, anchor, size):
    """Plain Python decode and clip with inclusive corners."""
    w, h = anchor[2] - anchor[0] + 1, anchor[3] - anchor[1] + 1
    cx, cy = anchor[0] + 0.5 * w + delta[0] * w, anchor[1] + 0.5 * h + delta[1] * h
    w, h = w * math.exp(min(delta[2], math.log(62.5))), h * math.exp(min(delta[3], math.log(62.5)))
    box = [cx - 0.5 * w, cy - 0.5 * h, cx + 0.5 * w - 1, cy + 0.5 * h - 1]
    return [min(max(v, 0), size[1 - i % 2] - 1) for i, v in enumerate(box)]


def legacy_iou(a, b):
    """Overlap of two boxes with inclusive corners."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]) + 1, min(a[3], b[3]) - max(a[1], b[1]) + 1
    inter = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    return inter / (sum(areas) - inter)


def oracle_proposals(rpn, outputs, image, pre):
    """Per level: best by logit, decode, clip, greedy NMS .7; then all levels by score."""
    found = []
    for logits, deltas, anchors in zip(outputs.logits, outputs.deltas, outputs.anchors, strict=True):
        order = sorted(range(len(anchors)), key=lambda i: -logits[image, i].item())[:pre]
        kept = []
        for i in order:
            box = legacy_decode(deltas[image, i].tolist(), anchors[i].tolist(), SIZE)
            if all(legacy_iou(box, other) <= 0.7 for _, other in kept):
                kept.append((logits[image, i].item(), box))
        found += kept
    return [box for _, box in sorted(found, key=lambda pair: -pair[0])]


def test_proposals_equal_the_oracle():
    """Top-k, decoding, clipping and NMS are done level by level, in the inclusive convention."""
    rpn = small_rpn(rpn_pre_nms_test=60, rpn_post_nms_test=100)
    outputs = outputs_of(rpn)
    wanted = oracle_proposals(rpn, outputs, 0, 60)
    found = rpn.propose(outputs, [SIZE], training=False)[0]
    assert len(wanted) > 100
    torch.testing.assert_close(found, torch.tensor(wanted[:100]), rtol=0, atol=1e-3)


def test_training_budget_is_shared_by_the_batch():
    """The best proposals of the whole batch stay, so an image with higher scores gets more; each keeps its order."""
    rpn = small_rpn(rpn_pre_nms_train=60, rpn_post_nms_train=100)
    outputs = outputs_of(rpn, images=2)
    outputs = RPNOutputs(
        tuple(x + torch.tensor([[0.5], [0.0]]) for x in outputs.logits), outputs.deltas, outputs.anchors
    )
    found = rpn.propose(outputs, [SIZE, SIZE], training=True)
    assert sum(map(len, found)) == 100
    assert len(found[0]) > len(found[1]) > 0
    for image in range(2):
        wanted = oracle_proposals(rpn, outputs, image, 60)[: len(found[image])]
        torch.testing.assert_close(found[image], torch.tensor(wanted), rtol=0, atol=1e-3)


def test_training_budget_of_each_image_does_not_depend_on_the_batch():
    """With a budget an image, a batch of two proposes what two batches of one do."""
    rpn = small_rpn(proposals_per="image", rpn_pre_nms_train=60, rpn_post_nms_train=50)
    outputs = outputs_of(rpn, images=2)
    together = rpn.propose(outputs, [SIZE, SIZE], training=True)
    for image in range(2):
        logits = tuple(x[image : image + 1] for x in outputs.logits)
        alone = RPNOutputs(logits, tuple(x[image : image + 1] for x in outputs.deltas), outputs.anchors)
        assert torch.equal(rpn.propose(alone, [SIZE], training=True)[0], together[image])
        assert len(together[image]) == 50


def test_anchors_beyond_the_valid_area_take_no_part():
    """An inclusive anchor may end at the last pixel of the valid area, not beyond, and may begin at 0, not before."""
    anchors = torch.tensor([[0.0, 0, 119, 89], [0, 0, 120, 89], [0, 0, 119, 90], [-1, 0, 9, 9], [0, -1, 9, 9]])
    assert inside(anchors, SIZE).tolist() == [True, False, False, False, False]


def test_assignment_ignores_straddling_anchors_and_keeps_the_rest():
    """States follow IoU, with every anchor that leaves the image ignored even where it is an object's best."""
    rpn = small_rpn()
    anchors = torch.tensor([[0.0, 0, 9, 9], [30, 30, 49, 49], [-5, 0, 9, 9], [30, 30, 44, 49]])
    target = Target(torch.tensor([[-5.0, 0, 9, 9], [30, 30, 49, 49]]), torch.tensor([1, 2]), 1)
    object_N, state_N = rpn.assign(anchors, target, SIZE)
    # IoUs: 100/150 between thresholds; 1; 1 but straddling; 300/400 foreground
    assert state_N.tolist() == [-1, 1, -1, 1]
    assert object_N.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("flavour", ["nvidia", "torchvision"])
def test_loss_sums_equal_the_formulas(flavour):
    """Cross entropy over the sampled anchors and smooth L1 (beta 1/9) over the foreground ones, and their count."""
    rpn = RPN(MaskRCNNConfig.preset(flavour, num_classes=3, backbone="resnet10", fpn_channels=8))
    outputs = outputs_of(rpn, images=2)
    targets = [
        Target(torch.tensor([[10.0, 10, 60, 70], [50, 20, 110, 80]]), torch.tensor([1, 2]), 11),
        Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), 12),
    ]
    sampler = Sampler(3, 5)
    anchors = torch.cat(outputs.anchors)
    one = 1 if flavour == "nvidia" else 0
    objectness = box = count = positives = 0
    for image, target in enumerate(targets):
        object_N, state_N = rpn.assign(anchors, target, SIZE)
        chosen_N = sampler.select(state_N, 256, 0.5, target.image_id, 0)
        for index in chosen_N.nonzero()[:, 0].tolist():
            logit = torch.cat(outputs.logits, 1)[image, index].item()
            foreground = state_N[index].item() == 1
            objectness += math.log1p(math.exp(-logit if foreground else logit))
            count += 1
            if foreground:
                positives += 1
                wanted = encode(target.boxes_N4[object_N[index]].tolist(), anchors[index].tolist(), one)
                given = torch.cat(outputs.deltas, 1)[image, index].tolist()
                box += sum(smooth_l1(a - b, 1 / 9) for a, b in zip(given, wanted, strict=True))
    found = rpn.loss_sums(outputs, targets, [SIZE, SIZE], sampler)
    assert positives >= 5
    assert [part.item() for part in found] == pytest.approx([objectness, box, count], rel=1e-4)


def encode(box, anchor, one):
    """Offsets between two boxes; `one` is what a width has beyond x2 - x1."""
    w, h, bw, bh = (b[2 + k] - b[k] + one for b in (anchor, box) for k in (0, 1))
    dx = (box[0] + bw / 2 - anchor[0] - w / 2) / w
    dy = (box[1] + bh / 2 - anchor[1] - h / 2) / h
    return [dx, dy, math.log(bw / w), math.log(bh / h)]


def smooth_l1(difference, beta):
    """Quadratic below beta, linear above."""
    size = abs(difference)
    return 0.5 * size * size / beta if size < beta else size - 0.5 * beta
