"""Region proposals: the head, what it learns, and the boxes it proposes.

Shapes: B images, A anchors a position, N anchors of an image over all levels, K kept before NMS, S sampled anchors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, smooth_l1_loss

from backends.torch_impl.kernels import FRAMEWORK, Candidates, Chosen, Kernels, MatchRule, NmsRule, SelectRule
from backends.torch_impl.maskrcnn.anchors import AnchorMaker
from backends.torch_impl.maskrcnn.config import MaskRCNNConfig
from backends.torch_impl.maskrcnn.matching import Sampler
from backends.torch_impl.maskrcnn.targets import ImageSize, Target
from backends.torch_impl.ops import LOG_SIZE_LIMIT, Boxes

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

    def __init__(self, config: MaskRCNNConfig, kernels: Kernels = FRAMEWORK) -> None:
        super().__init__()
        self.config = config
        self.kernels = kernels
        self.boxes = Boxes(inclusive=config.inclusive_boxes)
        self.make_anchors = AnchorMaker(config, kernels)
        self.head = RPNHead(config.fpn_channels, len(config.anchor_ratios))

    def forward(self, features: Sequence[Tensor], padded: tuple[int, int]) -> RPNOutputs:
        """Run the head over P2..P6 of a batch padded to `padded` (height, width)."""
        logits, deltas = self.head(features)
        grids = [(feature.shape[-2], feature.shape[-1]) for feature in features]
        return RPNOutputs(tuple(logits), tuple(deltas), self.make_anchors(padded, grids, features[0].device))

    @torch.no_grad()
    def propose(self, outputs: RPNOutputs, sizes: Sequence[ImageSize], *, training: bool) -> list[Tensor]:
        """Boxes of each image, float32 [<= post-NMS limit, 4], best first.

        Waits for the device once a batch, to learn how many there are.
        """
        config = self.config
        limit = config.rpn_post_nms_train if training else config.rpn_post_nms_test
        candidates = self._best(outputs, sizes, training=training)
        kept_BD, count_B = self.kernels.nms(candidates, NmsRule(config.rpn_nms_iou, limit, self.boxes.one))
        kept = []
        for image, count in enumerate(count_B.tolist()):
            index_N = kept_BD[image, :count]
            kept.append((candidates.boxes_BK4[image, index_N], candidates.scores_BK[image, index_N]))
        if training and config.proposals_per == "batch":
            return _best_of_batch(kept, limit)
        return [boxes_N4 for boxes_N4, _ in kept]

    def _best(self, outputs: RPNOutputs, sizes: Sequence[ImageSize], *, training: bool) -> Candidates:
        """Each level's best anchors, decoded and clipped; not valid are those below the least size."""
        config = self.config
        count = config.rpn_pre_nms_train if training else config.rpn_pre_nms_test
        top = [logits_BN.topk(min(count, logits_BN.shape[1]), dim=1) for logits_BN in outputs.logits]
        chosen = Chosen([each.indices for each in top], [each.values for each in top], outputs.deltas, outputs.anchors)
        sizes_B2 = torch.tensor(sizes, dtype=torch.float32).to(outputs.logits[0].device, non_blocking=True)
        rule = SelectRule(_UNIT, LOG_SIZE_LIMIT, config.rpn_min_size, self.boxes.one)
        boxes_BK4, scores_BK, valid_BK = self.kernels.select_boxes(chosen, sizes_B2, rule)
        levels = [torch.full_like(each.indices, level) for level, each in enumerate(top)]
        return Candidates(boxes_BK4, scores_BK, torch.cat(levels, 1), valid_BK)

    @torch.no_grad()
    def assign(self, anchors_N4: Tensor, target: Target, size: ImageSize) -> tuple[Tensor, Tensor]:
        """Object of each anchor, int64 [N], and its state, int8 [N]: 1 foreground, 0 background, -1 ignored."""
        config = self.config
        rule = MatchRule(config.rpn_fg_iou, config.rpn_bg_iou, "ties", one=self.boxes.one)
        object_1N, state_1N = self.kernels.match(target.boxes_N4[None], anchors_N4, rule, None)
        object_N, state_N = object_1N[0], state_1N[0]
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
