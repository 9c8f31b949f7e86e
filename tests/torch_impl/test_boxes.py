"""Box arithmetic of both conventions against hand-computed values, NumPy and torchvision."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.models.detection._utils import BoxCoder
from torchvision.ops import box_iou, nms

from backends.torch_impl.kernels import PoolRule, RoIs
from backends.torch_impl.kernels.framework import roi_align
from backends.torch_impl.ops import Boxes, image_indices, roi_levels

pytestmark = pytest.mark.torch

LEGACY, EDGES = Boxes(inclusive=True), Boxes(inclusive=False)
ROI_WEIGHTS = (10.0, 5.0)


def random_boxes(count, seed, largest=80):
    """Integer boxes with sides of 2 px and more, [count, 4]."""
    generator = np.random.default_rng(seed)
    corner = generator.integers(0, 100, (count, 2))
    side = generator.integers(2, largest, (count, 2))
    return torch.from_numpy(np.concatenate((corner, corner + side), 1)).float()


def legacy_iou(a, b):
    """Overlap of two sets of pixels, counted."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    inter = max(width, 0) * max(height, 0)
    area = lambda box: (box[2] - box[0] + 1) * (box[3] - box[1] + 1)  # noqa: E731
    return inter / (area(a) + area(b) - inter)


def test_legacy_width_counts_both_end_pixels():
    """A box from pixel 2 to pixel 4 is 3 wide; with edges it is 2."""
    box = torch.tensor([[2.0, 5, 4, 5]])
    assert LEGACY.sizes(box).tolist() == [[3, 1]]
    assert EDGES.sizes(box).tolist() == [[2, 0]]
    assert LEGACY.areas(box).tolist() == [3]


def test_legacy_corners_come_from_coco_boxes_and_go_back_to_edges():
    """x, y, w, h becomes x2 = x + w - 1, never before x, and edges restore the width."""
    xywh = torch.tensor([[10.0, 20, 5, 8], [3, 3, 0.5, 0]])
    corners = LEGACY.from_xywh(xywh)
    assert corners.tolist() == [[10, 20, 14, 27], [3, 3, 3, 3]]
    assert LEGACY.to_edges(corners)[0].tolist() == [10, 20, 15, 28]
    assert EDGES.to_edges(EDGES.from_xywh(xywh))[0].tolist() == [10, 20, 15, 28]


def test_legacy_iou_of_known_boxes():
    """Boxes that share one pixel column overlap, boxes that only touch as edges do too."""
    a = torch.tensor([[0.0, 0, 9, 9]])
    b = torch.tensor([[9.0, 0, 18, 9], [10, 0, 19, 9], [0, 0, 9, 9], [5, 5, 5, 5]])
    assert LEGACY.iou(a, b)[0].tolist() == pytest.approx([10 / 190, 0, 1, 1 / 100])


def test_legacy_iou_equals_the_oracle():
    """All pairs agree with pixel counting."""
    left, right = random_boxes(20, 1), random_boxes(30, 2)
    wanted = [[legacy_iou(a, b) for b in right.tolist()] for a in left.tolist()]
    torch.testing.assert_close(LEGACY.iou(left, right), torch.tensor(wanted))


def test_edge_iou_equals_torchvisions():
    """Without + 1 the overlap is torchvision's, bit for bit."""
    left, right = random_boxes(20, 3), random_boxes(30, 4)
    assert torch.equal(EDGES.iou(left, right), box_iou(left, right))


def test_iou_of_boxes_without_area_is_zero():
    """A box without area overlaps nothing, not even itself, and gives no NaN; no objects give no rows."""
    flat = torch.tensor([[5.0, 5, 5, 9]])
    assert EDGES.iou(flat, flat).tolist() == [[0]]
    assert EDGES.iou(torch.zeros(0, 4), flat).shape == (0, 1)


def test_legacy_encoding_of_a_known_pair():
    """Offsets follow x1 + w/2 with w = x2 - x1 + 1, times the weights."""
    anchor, box = torch.tensor([[0.0, 0, 9, 19]]), torch.tensor([[2.0, 4, 21, 13]])
    # anchor: 10 × 20, centre (5, 10); box: 20 × 10, centre (12, 9)
    wanted = [10 * 7 / 10, 10 * -1 / 20, 5 * math.log(2), 5 * math.log(0.5)]
    assert LEGACY.encode(box, anchor, ROI_WEIGHTS)[0].tolist() == pytest.approx(wanted)


def test_legacy_decoding_of_a_known_pair():
    """x2 is the centre plus half the width minus 1."""
    anchor = torch.tensor([[0.0, 0, 9, 19]])
    deltas = torch.tensor([[0.7, -0.05, math.log(2), math.log(0.5)]])
    assert LEGACY.decode(deltas, anchor, (1.0, 1.0))[0].tolist() == pytest.approx([2, 4, 21, 13])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.booleans())
def test_decoding_inverts_encoding(seed, inclusive):
    """A box encoded against an anchor comes back, in both conventions."""
    boxes = Boxes(inclusive=inclusive)
    box, anchor = random_boxes(8, seed), random_boxes(8, seed + 1)
    found = boxes.decode(boxes.encode(box, anchor, ROI_WEIGHTS), anchor, ROI_WEIGHTS)
    torch.testing.assert_close(found, box, rtol=1e-4, atol=1e-3)


def test_edge_coding_equals_torchvisions():
    """Without + 1 both directions are torchvision's."""
    box, anchor = random_boxes(50, 5), random_boxes(50, 6)
    coder = BoxCoder((10.0, 10.0, 5.0, 5.0))
    torch.testing.assert_close(EDGES.encode(box, anchor, ROI_WEIGHTS), coder.encode([box], [anchor])[0])
    deltas = torch.randn(50, 4, generator=torch.Generator().manual_seed(1)) * 5
    assert torch.equal(EDGES.decode(deltas, anchor, ROI_WEIGHTS), coder.decode(deltas, [anchor])[:, 0])


def test_decoded_sides_are_limited():
    """Offsets dw and dh are cut at ln(1000 / 16), so a 10 px anchor gives 625 px at most."""
    anchor = torch.tensor([[0.0, 0, 9, 9]])
    box = LEGACY.decode(torch.tensor([[0.0, 0, 50, 50]]), anchor, (1.0, 1.0))
    assert LEGACY.sizes(box)[0].tolist() == pytest.approx([625, 625], rel=1e-5)


def test_encoding_a_box_without_area_is_finite():
    """Zero width gives a finite offset instead of minus infinity."""
    assert EDGES.encode(torch.tensor([[5.0, 5, 5, 5]]), torch.tensor([[0.0, 0, 9, 9]]), (1.0, 1.0)).isfinite().all()


def test_clipping_ends_at_the_last_pixel_or_the_edge():
    """Inclusive corners stop at width - 1 and height - 1, edges at width and height."""
    box = torch.tensor([[-5.0, -6, 200, 300]])
    assert LEGACY.clip(box, 80, 100).tolist() == [[0, 0, 99, 79]]
    assert EDGES.clip(box, 80, 100).tolist() == [[0, 0, 100, 80]]


def greedy(boxes, scores, groups, limit, overlap):
    """Plain greedy NMS."""
    order, kept = sorted(range(len(boxes)), key=lambda i: -scores[i]), []
    for i in order:
        if all(groups[i] != groups[j] or overlap(boxes[i], boxes[j]) <= limit for j in kept):
            kept.append(i)
    return kept


@pytest.mark.parametrize("seed", range(4))
def test_legacy_nms_equals_the_greedy_oracle(seed):
    """Kept boxes and their order are those of greedy suppression with inclusive areas, group by group."""
    boxes, limit = random_boxes(150, seed, largest=40), 0.3003  # no overlap of integer boxes lies at this limit
    generator = np.random.default_rng(seed)
    scores, groups = generator.permutation(150) / 150, generator.integers(0, 3, 150)
    found = LEGACY.nms(boxes, torch.from_numpy(scores).float(), torch.from_numpy(groups), limit)
    assert found.tolist() == greedy(boxes.tolist(), scores, groups, limit, legacy_iou)


def test_legacy_nms_suppresses_what_edges_would_keep():
    """Two boxes above the limit as pixels and below it as edges: the legacy convention drops the second."""
    boxes, scores = torch.tensor([[0.0, 0, 9, 9], [0, 3, 9, 12]]), torch.tensor([0.9, 0.8])
    groups = torch.zeros(2, dtype=torch.int64)
    assert legacy_iou(*boxes.tolist()) == pytest.approx(7 / 13)
    assert LEGACY.nms(boxes, scores, groups, 0.52).tolist() == [0]
    assert nms(boxes, scores, 0.52).tolist() == [0, 1]
    assert EDGES.nms(boxes, scores, groups, 0.52).tolist() == [0, 1]


def test_levels_split_at_doublings_of_224():
    """Inclusive boxes of 112, 224 and 448 px begin a level; one pixel less belongs to the level before."""
    sides = torch.tensor([1.0, 111, 112, 223, 224, 447, 448, 2000])
    legacy = torch.stack((sides * 0, sides * 0, sides - 1, sides - 1), 1)
    edges = torch.stack((sides * 0, sides * 0, sides, sides), 1)
    wanted = [0, 0, 1, 1, 2, 2, 3, 3]
    assert roi_levels(LEGACY, legacy, 4, eps_inside=True).tolist() == wanted
    assert roi_levels(EDGES, edges, 4, eps_inside=False).tolist() == wanted


def test_level_of_a_box_without_area_is_the_finest():
    """Zero area gives minus infinity octaves and is clamped, not undefined."""
    assert roi_levels(EDGES, torch.zeros(1, 4), 4, eps_inside=False).tolist() == [0]


def pooled_rois(features, boxes, levels, bins=7):
    """RoIAlign of boxes of each image from a pyramid that begins at stride 4."""
    rois = RoIs(torch.cat(boxes), image_indices(boxes), torch.tensor(levels))
    return roi_align(features, rois, PoolRule(tuple(1 / (4 << level) for level in range(len(features))), bins, 2))


def test_roi_align_samples_without_a_half_pixel_shift():
    """On a ramp whose pixel value is its column, each bin holds the mean of its 2 × 2 samples at whole coordinates."""
    ramp = torch.arange(32.0).expand(1, 1, 32, 32).contiguous()
    pooled = pooled_rois([ramp], [torch.tensor([[16.0, 16, 72, 72]])], [0])
    # stride 4: x from 4 to 18 in 7 bins of 2; samples at 1/4 and 3/4 of a bin; no shift by half a pixel
    assert pooled[0, 0, 0].tolist() == pytest.approx([4 + 2 * b + 1 for b in range(7)])


def test_roi_align_widens_small_rois_to_one_cell():
    """An RoI smaller than a cell is pooled as if one cell wide (legacy rule)."""
    ramp = torch.arange(32.0).expand(1, 1, 32, 32).contiguous()
    pooled = pooled_rois([ramp], [torch.tensor([[40.0, 40, 41, 41]])], [0])
    assert pooled[0, 0, 0].tolist() == pytest.approx([10 + (b + 0.5) / 7 for b in range(7)], rel=1e-5)


def test_roi_align_puts_every_roi_back_in_its_place():
    """RoIs of several levels and images come out in the order they came in."""
    features = [torch.full((2, 1, 64 >> level, 64 >> level), 10.0 * level) for level in range(4)]
    for level in range(4):
        features[level][1] += 1
    boxes = [torch.tensor([[0.0, 0, 10, 10], [0, 0, 240, 240]]), torch.tensor([[0.0, 0, 120, 120], [0, 0, 9, 9]])]
    pooled = pooled_rois(features, boxes, [0, 2, 1, 0], bins=1)
    assert pooled.flatten().tolist() == [0, 20, 11, 1]


def test_level_epsilon_is_inside_or_outside_the_logarithm():
    """A box 0.8 millionths below 224 px reaches P4 with the epsilon inside the logarithm, and not with it outside."""
    side = 224 * (1 - 0.8e-6)
    box = torch.tensor([[0.0, 0, side, side]])
    assert roi_levels(EDGES, box, 4, eps_inside=True).tolist() == [2]
    assert roi_levels(EDGES, box, 4, eps_inside=False).tolist() == [1]
