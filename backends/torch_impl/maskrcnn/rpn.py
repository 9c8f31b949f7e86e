"""Region proposals: the head, what it learns, and the boxes it proposes.

Shapes: B images, A anchors a position, N anchors of an image over all levels, K kept before NMS, S sampled anchors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, smooth_l1_loss

from backends.torch_impl.maskrcnn.anchors import AnchorMaker
from backends.torch_impl.maskrcnn.config import MaskRCNNConfig
from backends.torch_impl.maskrcnn.matching import Sampler, match
from backends.torch_impl.maskrcnn.targets import ImageSize, Target
from backends.torch_impl.ops import Boxes

ANCHOR_STREAM = 0
_UNIT = (1.0, 1.0)
_BETA = 1 / 9


@dataclass(frozen=True, slots=True)
class RPNOutputs:
    """What the head says of every anchor, float32, anchors ordered level, row, column, ratio."""

    logits: tuple[Tensor, ...]
    """Objectness of each level, [B, N_level]."""
    deltas: tuple[Tensor, ...]
    """dx, dy, dw, dh of each level, [B, N_level, 4]."""
    anchors: tuple[Tensor, ...]
    """Anchors of each level, [N_level, 4], the same for every image."""


class RPNHead(nn.Module):
    """One 3×3 convolution and two 1×1 convolutions, shared by all levels."""

    def __init__(self, channels: int, anchors: int) -> None:
        super().__init__()
        hidden = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv = nn.Sequential(nn.Sequential(hidden, nn.ReLU(inplace=True)))
        self.cls_logits = nn.Conv2d(channels, anchors, 1)
        self.bbox_pred = nn.Conv2d(channels, anchors * 4, 1)
        for layer in (hidden, self.cls_logits, self.bbox_pred):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(cast("Tensor", layer.bias))

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Logits [B, H·W·A] and deltas [B, H·W·A, 4] of each level, float32, ordered row, column, anchor."""
        hidden = [self.conv(feature) for feature in features]
        logits = [self.cls_logits(x).permute(0, 2, 3, 1).flatten(1).float() for x in hidden]
        deltas = [self.bbox_pred(x).permute(0, 2, 3, 1).reshape(len(x), -1, 4).float() for x in hidden]
        return logits, deltas


class RPN(nn.Module):
    """Proposals and their losses; only the head has parameters."""

    def __init__(self, config: MaskRCNNConfig) -> None:
        super().__init__()
        self.config = config
        self.boxes = Boxes(inclusive=config.inclusive_boxes)
        self.make_anchors = AnchorMaker(config)
        self.head = RPNHead(config.fpn_channels, len(config.anchor_ratios))

    def forward(self, features: Sequence[Tensor], padded: tuple[int, int]) -> RPNOutputs:
        """Run the head over P2..P6 of a batch padded to `padded` (height, width)."""
        logits, deltas = self.head(features)
        grids = [(feature.shape[-2], feature.shape[-1]) for feature in features]
        return RPNOutputs(tuple(logits), tuple(deltas), self.make_anchors(padded, grids, features[0].device))

    @torch.no_grad()
    def propose(self, outputs: RPNOutputs, sizes: Sequence[ImageSize], *, training: bool) -> list[Tensor]:
        """Boxes of each image, float32 [<= post-NMS limit, 4], best first.

        Waits for the device once an image for the boxes of sufficient size, and inside torchvision's NMS.
        """
        config = self.config
        scores_BK, boxes_BK4, levels_BK = self._best(outputs, training=training)
        limit = config.rpn_post_nms_train if training else config.rpn_post_nms_test
        kept = [
            self._suppress(scores_BK[image], boxes_BK4[image], levels_BK[image], size)
            for image, size in enumerate(sizes)
        ]
        if training and config.proposals_per == "batch":
            return _best_of_batch(kept, limit)
        return [boxes_N4[:limit] for boxes_N4, _ in kept]

    def _best(self, outputs: RPNOutputs, *, training: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Scores [B, K], decoded boxes [B, K, 4] and levels [B, K] of each level's best anchors."""
        count = self.config.rpn_pre_nms_train if training else self.config.rpn_pre_nms_test
        scores, boxes, levels = [], [], []
        for level, (logits_BN, deltas_BN4, anchors_N4) in enumerate(
            zip(outputs.logits, outputs.deltas, outputs.anchors, strict=True)
        ):
            top = logits_BN.topk(min(count, logits_BN.shape[1]), dim=1)
            deltas_BK4 = deltas_BN4.gather(1, top.indices[..., None].expand(-1, -1, 4))
            scores.append(top.values.sigmoid())
            boxes.append(self.boxes.decode(deltas_BK4, anchors_N4[top.indices], _UNIT))
            levels.append(torch.full_like(top.indices, level))
        return torch.cat(scores, 1), torch.cat(boxes, 1), torch.cat(levels, 1)

    def _suppress(self, scores_K: Tensor, boxes_K4: Tensor, levels_K: Tensor, size: ImageSize) -> tuple[Tensor, Tensor]:
        boxes_K4 = self.boxes.clip(boxes_K4, *size)
        large_N = self.boxes.large_enough(boxes_K4, self.config.rpn_min_size).nonzero()[:, 0]
        boxes_N4, scores_N = boxes_K4[large_N], scores_K[large_N]
        keep = self.boxes.nms(boxes_N4, scores_N, levels_K[large_N], self.config.rpn_nms_iou)
        return boxes_N4[keep], scores_N[keep]

    @torch.no_grad()
    def assign(self, anchors_N4: Tensor, target: Target, size: ImageSize) -> tuple[Tensor, Tensor]:
        """Object of each anchor, int64 [N], and its state, int8 [N]: 1 foreground, 0 background, -1 ignored."""
        config = self.config
        iou_MN = self.boxes.iou(target.boxes_N4, anchors_N4)
        object_N, state_N = match(iou_MN, config.rpn_fg_iou, config.rpn_bg_iou, keep_best=True)
        if config.straddle_rule:
            state_N = state_N.masked_fill(~inside(anchors_N4, size), -1)
        return object_N, state_N

    def loss_sums(
        self, outputs: RPNOutputs, targets: Sequence[Target], sizes: Sequence[ImageSize], sampler: Sampler
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Objectness and box losses summed over the sampled anchors of all images, and how many were sampled.

        Only sampled slots are gathered and encoded, a fixed number an image, so nothing waits for the device.
        """
        anchors_N4 = torch.cat(outputs.anchors)
        logits_BN, deltas_BN4 = torch.cat(outputs.logits, 1), torch.cat(outputs.deltas, 1)
        picks = [self._pick(anchors_N4, target, size, sampler) for target, size in zip(targets, sizes, strict=True)]
        index_BS, state_BS, wanted_BS4 = (torch.stack(part) for part in zip(*picks, strict=True))
        logits_BS = logits_BN.gather(1, index_BS)
        deltas_BS4 = deltas_BN4.gather(1, index_BS[..., None].expand(-1, -1, 4))
        used_BS, foreground_BS = state_BS >= 0, state_BS == 1
        objectness_BS = binary_cross_entropy_with_logits(logits_BS, foreground_BS.float(), reduction="none")
        box_BS4 = smooth_l1_loss(deltas_BS4, wanted_BS4, beta=_BETA, reduction="none")
        return (objectness_BS * used_BS).sum(), (box_BS4 * foreground_BS[..., None]).sum(), used_BS.sum()

    @torch.no_grad()
    def _pick(
        self, anchors_N4: Tensor, target: Target, size: ImageSize, sampler: Sampler
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Indices [S], states [S] (-1 for an empty slot) and wanted deltas [S, 4] of an image's sampled anchors."""
        config = self.config
        object_N, state_N = self.assign(anchors_N4, target, size)
        chosen_N = sampler.select(
            state_N, config.rpn_samples, config.rpn_positive_fraction, target.image_id, ANCHOR_STREAM
        )
        picked = torch.where(chosen_N, state_N, -1).topk(min(config.rpn_samples, len(state_N)))
        wanted_S4 = torch.zeros_like(anchors_N4[picked.indices])
        if len(target.boxes_N4):
            objects_S4 = target.boxes_N4[object_N[picked.indices]]
            wanted_S4 = self.boxes.encode(objects_S4, anchors_N4[picked.indices], _UNIT)
        return picked.indices, picked.values, wanted_S4


def inside(anchors_N4: Tensor, size: ImageSize) -> Tensor:
    """Whether inclusive anchors lie within the image's valid area (height, width), bool [N]."""
    near_N = (anchors_N4[:, :2] >= 0).all(dim=1)
    return near_N & (anchors_N4[:, 2] < size[1]) & (anchors_N4[:, 3] < size[0])


def _best_of_batch(kept: Sequence[tuple[Tensor, Tensor]], limit: int) -> list[Tensor]:
    """The best `limit` proposals of all images together, handed back by image in their order."""
    scores_N = torch.cat([scores for _, scores in kept])
    chosen_N = torch.zeros_like(scores_N, dtype=torch.bool)
    chosen_N[scores_N.topk(min(limit, len(scores_N))).indices] = True
    parts = torch.split(chosen_N, [len(scores) for _, scores in kept])
    return [boxes_N4[part_N] for (boxes_N4, _), part_N in zip(kept, parts, strict=True)]
