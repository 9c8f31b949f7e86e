"""Sampling, losses, detections and mask targets of the second stage."""

import math

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from backends.torch_impl.maskrcnn.config import MaskRCNNConfig
from backends.torch_impl.maskrcnn.masks import mask_targets
from backends.torch_impl.maskrcnn.matching import Sampler
from backends.torch_impl.maskrcnn.roi_heads import RoIHeads, SampledRoIs
from backends.torch_impl.maskrcnn.targets import Target

pytestmark = pytest.mark.torch

SIZE = (90, 120)


def heads(flavour="nvidia", **overrides):
    """The second stage of a small model."""
    config = MaskRCNNConfig.preset(flavour, num_classes=3, backbone="resnet10", fpn_channels=8, **overrides)
    return RoIHeads(config)


def test_objects_are_appended_and_at_most_a_quarter_is_foreground():
    """With many good proposals 8 of 32 RoIs are foreground; the objects themselves are among the candidates."""
    target = Target(torch.tensor([[10.0, 10, 60, 70], [80, 20, 110, 80]]), torch.tensor([2, 1]), 5)
    jitter = torch.randint(-3, 4, (100, 4), generator=torch.Generator().manual_seed(0)).float()
    near, far = target.boxes_N4[:1] + jitter, torch.tensor([[0.0, 80, 9, 89]]) + jitter.abs()
    sampled = heads(roi_samples=32).sample([torch.cat((near, far))], [target], Sampler(0, 0))
    labels = sampled.labels_R.tolist()
    assert (len(labels), sum(label > 0 for label in labels)) == (32, 8)
    alone = heads(roi_samples=32).sample([torch.zeros(0, 4)], [target], Sampler(0, 0))
    assert torch.equal(alone.boxes[0], target.boxes_N4)
    assert alone.labels_R.tolist() == [2, 1]
    assert alone.deltas_R4.abs().max() == 0


def test_a_proposal_at_half_overlap_is_foreground():
    """IoU .5 by inclusive areas is foreground; one pixel less is background."""
    target = Target(torch.tensor([[0.0, 0, 9, 9]]), torch.tensor([2]), 5)
    proposals = torch.tensor([[0.0, 0, 9, 4], [0, 0, 8, 4]])
    sampled = heads().sample([proposals], [target], Sampler(0, 0))
    assert dict(zip(map(tuple, sampled.boxes[0].tolist()), sampled.labels_R.tolist(), strict=True)) == {
        (0, 0, 9, 4): 2,
        (0, 0, 8, 4): 0,
        (0, 0, 9, 9): 2,
    }


@pytest.mark.parametrize(("flavour", "beta"), [("nvidia", 1.0), ("torchvision", 1 / 9)])
def test_box_losses_equal_the_formulas(flavour, beta):
    """Cross entropy of all RoIs, and smooth L1 of the true class's offsets of foreground RoIs, summed."""
    generator = torch.Generator().manual_seed(2)
    logits, deltas = torch.randn(6, 3, generator=generator), torch.randn(6, 3, 4, generator=generator)
    wanted = torch.randn(6, 4, generator=generator)
    labels = [0, 2, 1, 0, 2, 0]
    found = heads(flavour).box_loss_sums(logits, deltas, SampledRoIs([], [], torch.tensor(labels), wanted))
    class_sum = box_sum = 0.0
    for row, label in enumerate(labels):
        exps = [math.exp(value) for value in logits[row].tolist()]
        class_sum -= math.log(exps[label] / sum(exps))
        for k in range(4 if label else 0):
            size = abs((deltas[row, label, k] - wanted[row, k]).item())
            box_sum += 0.5 * size * size / beta if size < beta else size - 0.5 * beta
    assert [part.item() for part in found] == pytest.approx([class_sum, box_sum], rel=1e-5)


def oracle_detections(scores, deltas, proposals, limit=100):
    """Decode, clip, threshold and suppress class by class with inclusive corners, in plain Python."""
    found = []
    for label in range(1, scores.shape[1]):
        kept = []
        for row in sorted(range(len(scores)), key=lambda i: -scores[i, label].item()):
            if not scores[row, label].item() > 0.05:
                continue
            box = decode(deltas[row, label].tolist(), proposals[row].tolist())
            if all(iou(box, other) <= 0.5 for _, _, other in kept):
                kept.append((scores[row, label].item(), label, box))
        found += kept
    return sorted(found, key=lambda item: -item[0])[:limit]


def decode(delta, roi):
    """Decode and clip one box with inclusive corners and the weights 10 and 5."""
    w, h = roi[2] - roi[0] + 1, roi[3] - roi[1] + 1
    cx, cy = roi[0] + 0.5 * w + delta[0] / 10 * w, roi[1] + 0.5 * h + delta[1] / 10 * h
    w, h = w * math.exp(min(delta[2] / 5, math.log(62.5))), h * math.exp(min(delta[3] / 5, math.log(62.5)))
    box = [cx - 0.5 * w, cy - 0.5 * h, cx + 0.5 * w - 1, cy + 0.5 * h - 1]
    return [min(max(v, 0), SIZE[1 - i % 2] - 1) for i, v in enumerate(box)]


def iou(a, b):
    """Overlap of two boxes with inclusive corners."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]) + 1, min(a[3], b[3]) - max(a[1], b[1]) + 1
    inter = max(width, 0) * max(height, 0)
    return inter / (sum((box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)) - inter)


def random_rois(count, seed):
    """Proposals, class logits and offsets."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.randint(0, 80, (count, 2), generator=generator).float()
    proposals = torch.cat((corner, corner + torch.randint(3, 35, (count, 2), generator=generator)), 1)
    logits = 2 * torch.randn(count, 3, generator=generator)
    return proposals, logits, torch.randn(count, 3, 4, generator=generator)


def test_detections_equal_the_oracle():
    """Boxes, scores and labels of the nvidia flavour are those of plain Python, best first."""
    proposals, logits, deltas = random_rois(60, seed=1)
    wanted = oracle_detections(logits.softmax(1), deltas, proposals)
    boxes, scores, labels = heads().detect(logits, deltas, [proposals], [SIZE])[0]
    assert labels.tolist() == [label for _, label, _ in wanted]
    torch.testing.assert_close(scores, torch.tensor([score for score, _, _ in wanted]))
    torch.testing.assert_close(boxes, torch.tensor([box for _, _, box in wanted]), rtol=0, atol=1e-3)


@pytest.mark.parametrize(("keep_ties", "count"), [(True, 4), (False, 3)])
def test_ties_with_the_last_detection_stay_in_the_published_system(keep_ties, count):
    """Four equal scores with a limit of three: the nvidia flavour reports four."""
    proposals = torch.tensor([[x, 0.0, x + 9, 9] for x in (0.0, 20, 40, 60)])
    logits, deltas = torch.tensor([[0.0, 4, 0]]).expand(4, -1), torch.zeros(4, 3, 4)
    model = heads(detections=3, score_threshold=0.5, keep_ties=keep_ties)
    assert len(model.detect(logits, deltas, [proposals], [SIZE])[0][0]) == count


def test_a_score_at_the_threshold_is_dropped():
    """Detections must score above .05, and the background never counts."""
    scores = torch.tensor([[0.90, 0.05, 0.05], [0.89, 0.051, 0.059]])
    proposals = torch.tensor([[0.0, 0, 9, 9], [40, 40, 60, 60]])
    threshold = torch.softmax(scores.log(), -1)[0, 1].item()
    boxes, _, labels = heads(score_threshold=threshold).detect(scores.log(), torch.zeros(2, 3, 4), [proposals], [SIZE])[
        0
    ]
    assert labels.tolist() == [2, 1]
    assert boxes.tolist() == [[40, 40, 60, 60]] * 2


def coco_crop(polygons, box, side):
    """The published way: shift and scale the polygons into the RoI, rasterise, unite."""
    w, h = max(box[2] - box[0], 1), max(box[3] - box[1], 1)
    scaled = [
        np.stack(((p[0::2] - box[0]) * side / w, (p[1::2] - box[1]) * side / h), 1).reshape(-1).tolist()
        for p in polygons
    ]
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(scaled, side, side)))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools
def test_polygons_are_cropped_to_the_roi_and_rasterised_as_published():
    """Mask targets from polygons equal pycocotools' raster of the cropped and scaled polygons."""
    shapes = [
        (np.array([10.0, 10, 60, 12, 55, 70, 20, 64]),),
        (np.array([70.0, 20, 90, 20, 80, 40]), np.array([95.0, 50, 110, 50, 110, 80, 95, 80])),
    ]
    target = Target(torch.tensor([[10.0, 10, 60, 70], [70, 20, 110, 80]]), torch.tensor([1, 2]), 5, polygons=shapes)
    rois = torch.tensor([[12.0, 8, 50, 66], [66, 25, 118, 71], [10, 10, 60, 70], [75, 22, 75.5, 22.25]])
    objects = torch.tensor([0, 1, 0, 1])
    found = mask_targets([target], [rois], [objects], 28)
    wanted = [coco_crop(shapes[i], roi, 28) for i, roi in zip(objects.tolist(), rois.tolist(), strict=True)]
    assert found.sum() > 0
    assert np.array_equal(found.numpy(), np.stack(wanted))


def test_objects_without_outlines_are_refused():
    """Foreground RoIs of a target that has neither polygons nor masks name the image."""
    target = Target(torch.tensor([[10.0, 10, 60, 70]]), torch.tensor([1]), 77)
    with pytest.raises(ValueError, match="image 77 has 1 objects without polygons or masks; give either"):
        mask_targets([target], [target.boxes_N4], [torch.tensor([0])], 28)
