"""Operations that both stages and both flavours share: boxes, NMS, levels of RoIs, pasting of masks.

All arithmetic is float32 whatever autocast says. Boxes are x1, y1, x2, y2; `Boxes.inclusive` decides whether x2 and y2
are the last pixel inside (legacy, width = x2 - x1 + 1) or the far edge (width = x2 - x1).

Shapes: N boxes, M objects, K classes, R RoIs, C channels, H and W rows and columns, S pixels a side of a mask.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad
from torchvision.ops import batched_nms, nms

LOG_SIZE_LIMIT = math.log(1000 / 16)
"""Upper bound of dw and dh before they are exponentiated."""

Weights = tuple[float, float]
"""Weight of dx and dy, weight of dw and dh."""


@dataclass(frozen=True, slots=True)
class Boxes:
    """Box arithmetic in one of the two conventions."""

    inclusive: bool

    @property
    def one(self) -> float:
        """What a width has beyond x2 - x1."""
        return 1.0 if self.inclusive else 0.0

    def from_xywh(self, xywh_N4: Tensor) -> Tensor:
        """COCO's x, y, width, height as corners, [N, 4]."""
        xy_N2, wh_N2 = xywh_N4[..., :2], xywh_N4[..., 2:]
        return torch.cat((xy_N2, xy_N2 + (wh_N2 - self.one).clamp(min=0)), dim=-1)

    def to_edges(self, boxes_N4: Tensor) -> Tensor:
        """Corners as x1, y1 and the far edges, so that width = x2 - x1 whatever the convention; [N, 4]."""
        if not self.inclusive:
            return boxes_N4
        return torch.cat((boxes_N4[..., :2], boxes_N4[..., 2:] + self.one), dim=-1)

    def sizes(self, boxes_N4: Tensor) -> Tensor:
        """Width and height, [N, 2]."""
        wh_N2 = boxes_N4[..., 2:] - boxes_N4[..., :2]
        return wh_N2 + self.one if self.inclusive else wh_N2

    def areas(self, boxes_N4: Tensor) -> Tensor:
        """Width times height, [N]."""
        return self.sizes(boxes_N4).prod(dim=-1)

    def iou(self, left_M4: Tensor, right_N4: Tensor) -> Tensor:
        """Intersection over union, [M, N]; 0 where the quotient is no positive number.

        So boxes without area overlap nothing, not even themselves, nor do boxes with a NaN.
        """
        sides = []
        for axis in (0, 1):
            far = torch.minimum(left_M4[:, None, axis + 2], right_N4[:, axis + 2])
            near = torch.maximum(left_M4[:, None, axis], right_N4[:, axis])
            side = far.sub_(near)
            sides.append((side.add_(self.one) if self.inclusive else side).clamp_(min=0))
        inter_MN = sides[0].mul_(sides[1])
        union_MN = (self.areas(left_M4)[:, None] + self.areas(right_N4)).sub_(inter_MN)
        iou_MN = inter_MN.div_(union_MN)
        return iou_MN.masked_fill_(~(iou_MN > 0), 0)

    def clip(self, boxes_N4: Tensor, height: int, width: int) -> Tensor:
        """Move corners into the image: up to width, or width - 1 in the inclusive convention; [N, 4]."""
        x_N2 = boxes_N4[..., 0::2].clamp(0, width - self.one)
        y_N2 = boxes_N4[..., 1::2].clamp(0, height - self.one)
        return torch.stack((x_N2, y_N2), dim=-1).flatten(-2)

    def encode(self, boxes_N4: Tensor, anchors_N4: Tensor, weights: Weights) -> Tensor:
        """Offsets dx, dy, dw, dh that turn anchors into boxes, times the weights, [N, 4].

        Sides are kept above 0 so that a box without area gives finite offsets.
        """
        tiny = torch.finfo(boxes_N4.dtype).tiny
        anchor_N2, size_N2 = self.sizes(anchors_N4).clamp(min=tiny), self.sizes(boxes_N4).clamp(min=tiny)
        centre_N2, target_N2 = anchors_N4[:, :2] + 0.5 * anchor_N2, boxes_N4[:, :2] + 0.5 * size_N2
        shift_N2 = weights[0] * (target_N2 - centre_N2) / anchor_N2
        return torch.cat((shift_N2, weights[1] * torch.log(size_N2 / anchor_N2)), dim=1)

    def decode(
        self, deltas_N4: Tensor, anchors_N4: Tensor, weights: Weights, log_limit: float = LOG_SIZE_LIMIT
    ) -> Tensor:
        """Boxes that offsets make of anchors, [..., 4]; the inverse of `encode` up to the limit on dw and dh."""
        size_N2 = self.sizes(anchors_N4)
        centre_N2 = anchors_N4[..., :2] + 0.5 * size_N2
        shift_N2, scale_N2 = deltas_N4[..., :2], deltas_N4[..., 2:]
        centre_N2 = shift_N2 / weights[0] * size_N2 + centre_N2
        half_N2 = 0.5 * (torch.exp((scale_N2 / weights[1]).clamp(max=log_limit)) * size_N2)
        far_N2 = centre_N2 + half_N2
        return torch.cat((centre_N2 - half_N2, far_N2 - self.one if self.inclusive else far_N2), dim=-1)

    def large_enough(self, boxes_N4: Tensor, min_size: float) -> Tensor:
        """Whether both sides reach `min_size`, bool [N]."""
        return (self.sizes(boxes_N4) >= min_size).all(dim=-1)

    def nms(self, boxes_N4: Tensor, scores_N: Tensor, groups_N: Tensor, iou: float) -> Tensor:
        """Indices kept by greedy NMS inside each group, best score first, int64 [<= N].

        torchvision's kernel knows no + 1: moving the far corners out by one gives it the inclusive areas. On the CPU
        each group is a call of its own, so that no coordinate is shifted and rounded; on a device they share one call.
        """
        edges_N4, iou = self.to_edges(boxes_N4), float(np.float32(iou))
        if boxes_N4.is_cuda:
            kept: Tensor = batched_nms(edges_N4, scores_N, groups_N, iou)
            return kept
        stays_N = torch.zeros_like(groups_N, dtype=torch.bool)
        for group in set(groups_N.tolist()):
            member_G = (groups_N == group).nonzero()[:, 0]
            stays_N[member_G[nms(edges_N4[member_G], scores_N[member_G], iou)]] = True
        order_N = scores_N.argsort(descending=True, stable=True)
        return order_N[stays_N[order_N]]


def roi_levels(boxes: Boxes, rois_R4: Tensor, levels: int, *, eps_inside: bool) -> Tensor:
    """Pyramid level of each RoI as an index from P2, int64 [R] (FPN paper, equation 1: 224 px belongs to P4)."""
    scale_R = torch.sqrt(boxes.areas(rois_R4)) / 224
    octave_R = torch.log2(scale_R + 1e-6) if eps_inside else torch.log2(scale_R) + 1e-6
    return (4 + octave_R).floor().clamp(2, 1 + levels).to(torch.int64) - 2


def image_indices(boxes: Sequence[Tensor]) -> Tensor:
    """The image of each box of several images, int64 [R]."""
    return torch.cat([torch.full((len(part_N4),), index, device=part_N4.device) for index, part_N4 in enumerate(boxes)])


def paste_masks(masks_NSS: Tensor, boxes_N4: Tensor, height: int, width: int, *, threshold: float = 0.5) -> Tensor:
    """Stretch each mask over its box in a `height` × `width` image and cut at the threshold, bool [N, height, width].

    Mask R-CNN's published rule, which both flavours share: a border of one pixel of zeros, the box grown by the same
    factor about its centre and truncated to integers, bilinear interpolation with half-pixel centres onto all pixels
    from x1 to x2 inclusive. Works through a few masks at a time so that the float image stays below 64 MiB.
    """
    out_NHW = torch.zeros((len(masks_NSS), height, width), dtype=torch.bool, device=masks_NSS.device)
    corners_N4 = _grown_corners(boxes_N4, masks_NSS.shape[-1])
    padded_NSS = pad(masks_NSS.float(), (1, 1, 1, 1))
    step = max(1, (16 << 20) // max(1, height * width))
    for start in range(0, len(masks_NSS), step):
        part = slice(start, start + step)
        out_NHW[part] = _stretch(padded_NSS[part], corners_N4[part], height, width) > threshold
    return out_NHW


def _grown_corners(boxes_N4: Tensor, side: int) -> Tensor:
    scale = (side + 2) / side
    half_N2 = (boxes_N4[:, 2:] - boxes_N4[:, :2]) * 0.5 * scale
    centre_N2 = (boxes_N4[:, 2:] + boxes_N4[:, :2]) * 0.5
    return torch.cat((centre_N2 - half_N2, centre_N2 + half_N2), dim=1).trunc()


def _stretch(masks_NSS: Tensor, corners_N4: Tensor, height: int, width: int) -> Tensor:
    rows_NHS = _weights(corners_N4[:, 1], corners_N4[:, 3], height, masks_NSS.shape[-1])
    cols_NWS = _weights(corners_N4[:, 0], corners_N4[:, 2], width, masks_NSS.shape[-1])
    return rows_NHS @ masks_NSS @ cols_NWS.mT


def _weights(near_N: Tensor, far_N: Tensor, length: int, side: int) -> Tensor:
    """Bilinear weights of every mask row on every image row, [N, length, side]; zero outside the box."""
    extent_N = (far_N - near_N + 1).clamp(min=1)
    pixel_L = torch.arange(length, device=near_N.device, dtype=torch.float32)
    inside_NL = (pixel_L >= near_N[:, None]) & (pixel_L <= far_N[:, None])
    source_NL = (pixel_L - near_N[:, None] + 0.5) * (side / extent_N[:, None]) - 0.5
    source_NL = source_NL.clamp(0, side - 1)
    tap_S = torch.arange(side, device=near_N.device, dtype=torch.float32)
    weight_NLS = (1 - (source_NL[..., None] - tap_S).abs()).clamp(min=0)
    return weight_NLS * inside_NL[..., None]
