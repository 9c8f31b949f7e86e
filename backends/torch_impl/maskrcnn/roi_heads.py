"""Second stage: box head, mask head, what they learn and what they report.

Layers are initialised as in NVIDIA's system in both flavours; torchvision leaves some at their modules' defaults.

Shapes: B images, R RoIs of a batch, F foreground RoIs, K classes, C channels, S pixels a side of a mask.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, relu, smooth_l1_loss

from backends.torch_impl.kernels import FRAMEWORK, Candidates, Kernels, MatchRule, NmsRule, PoolRule, RoIs
from backends.torch_impl.maskrcnn.config import MaskRCNNConfig
from backends.torch_impl.maskrcnn.matching import Sampler
from backends.torch_impl.maskrcnn.targets import ImageSize, Target
from backends.torch_impl.ops import Boxes, image_indices, roi_levels

ROI_STREAM = 1
_SCALES = (1 / 4, 1 / 8, 1 / 16, 1 / 32)


@dataclass(frozen=True, slots=True)
class SampledRoIs:
    """What the second stage trains on."""

    boxes: list[Tensor]
    """RoIs of each image, [R_image, 4]."""
    objects: list[Tensor]
    """Index of the object that each RoI overlaps most, int64 [R_image]."""
    labels_R: Tensor
    """Class of each RoI of the batch, 0 for background, int64 [R]."""
    deltas_R4: Tensor
    """Wanted box offsets, [R, 4]; zero for background."""

    def foreground(self) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Boxes [F_image, 4] and objects [F_image] of each image's foreground RoIs, and the batch's labels [F].

        Waits for the device twice a batch.
        """
        foreground_R = self.labels_R > 0
        parts = torch.split(foreground_R, [len(part) for part in self.boxes])
        counts = torch.stack([part.sum() for part in parts]).tolist()
        index_F = foreground_R.nonzero()[:, 0]
        boxes_F4, objects_F = torch.cat(self.boxes)[index_F], torch.cat(self.objects)[index_F]
        return list(torch.split(boxes_F4, counts)), list(torch.split(objects_F, counts)), self.labels_R[index_F]


class BoxHead(nn.Module):
    """Two fully connected layers."""

    def __init__(self, in_features: int, width: int) -> None:
        super().__init__()
        self.fc6, self.fc7 = nn.Linear(in_features, width), nn.Linear(width, width)
        for layer in (self.fc6, self.fc7):
            nn.init.kaiming_uniform_(layer.weight, a=1)
            nn.init.zeros_(layer.bias)

    def forward(self, pooled_RCSS: Tensor) -> Tensor:
        """Hidden features, [R, width]."""
        return relu(self.fc7(relu(self.fc6(pooled_RCSS.flatten(1)))))


class BoxPredictor(nn.Module):
    """Class logits and class-specific box offsets."""

    def __init__(self, in_features: int, classes: int) -> None:
        super().__init__()
        self.cls_score, self.bbox_pred = nn.Linear(in_features, classes), nn.Linear(in_features, classes * 4)
        for layer, std in ((self.cls_score, 0.01), (self.bbox_pred, 0.001)):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)

    def forward(self, hidden_RF: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [R, K] and offsets [R, K, 4], float32."""
        logits_RK, deltas_RF = self.cls_score(hidden_RF), self.bbox_pred(hidden_RF)
        return logits_RK.float(), deltas_RF.float().reshape(*logits_RK.shape, 4)


class MaskHead(nn.Sequential):
    """Four 3×3 convolutions."""

    def __init__(self, in_channels: int, channels: int) -> None:
        widths = [in_channels, channels, channels, channels]
        super().__init__(
            *(nn.Sequential(nn.Conv2d(width, channels, 3, padding=1), nn.ReLU(inplace=True)) for width in widths)
        )
        _kaiming(self)


class MaskPredictor(nn.Module):
    """Doubles the resolution, then one logit map a class."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv5_mask = nn.ConvTranspose2d(channels, channels, 2, 2)
        self.mask_fcn_logits = nn.Conv2d(channels, classes, 1)
        _kaiming(self)

    def forward(self, x_RCSS: Tensor) -> Tensor:
        """Logits of every class, float32 [R, K, 2S, 2S]."""
        logits: Tensor = self.mask_fcn_logits(relu(self.conv5_mask(x_RCSS)))
        return logits.float()

    def of_class(self, x_RCSS: Tensor, labels_R: Tensor) -> Tensor:
        """Logits of one class for each RoI, float32 [R, 2S, 2S]; the other classes are never computed."""
        x_RCSS = relu(self.conv5_mask(x_RCSS))
        weight_R1C = self.mask_fcn_logits.weight[labels_R].flatten(1)[:, None]
        bias_R11 = cast("Tensor", self.mask_fcn_logits.bias)[labels_R][:, None, None]
        logits_R1S = (weight_R1C @ x_RCSS.flatten(2)).float() + bias_R11
        return logits_R1S.reshape(-1, *x_RCSS.shape[-2:])


def _kaiming(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(cast("Tensor", layer.bias))


class RoIHeads(nn.Module):
    """Both heads and their rules."""

    def __init__(self, config: MaskRCNNConfig, kernels: Kernels = FRAMEWORK) -> None:
        super().__init__()
        self.config = config
        self.kernels = kernels
        self.boxes = Boxes(inclusive=config.inclusive_boxes)
        self.box_head = BoxHead(config.fpn_channels * config.box_pool**2, config.box_head_dim)
        self.box_predictor = BoxPredictor(config.box_head_dim, config.num_classes)
        self.mask_head = MaskHead(config.fpn_channels, config.head_channels)
        self.mask_predictor = MaskPredictor(config.head_channels, config.num_classes)

    def pool(
        self, features: Sequence[Tensor], boxes: Sequence[Tensor], bins: int, *, channels_last: bool = False
    ) -> Tensor:
        """RoIAlign from P2..P5, float32 [R, C, bins, bins]."""
        boxes_R4 = torch.cat(tuple(boxes))
        levels_R = roi_levels(self.boxes, boxes_R4, 4, eps_inside=self.config.level_eps_inside)
        rule = PoolRule(_SCALES, bins, self.config.sampling_ratio, channels_last=channels_last)
        return self.kernels.roi_align(features[:4], RoIs(boxes_R4, image_indices(boxes), levels_R), rule)

    def box_outputs(self, features: Sequence[Tensor], boxes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Class logits [R, K] and box offsets [R, K, 4] of the RoIs of all images, float32."""
        logits_RK, deltas_RK4 = self.box_predictor(self.box_head(self.pool(features, boxes, self.config.box_pool)))
        return logits_RK, deltas_RK4

    def mask_features(self, features: Sequence[Tensor], boxes: Sequence[Tensor]) -> Tensor:
        """What the mask predictor reads, [R, C, 14, 14]."""
        weight = cast("nn.Conv2d", cast("nn.Sequential", self.mask_head[0])[0]).weight
        last = weight.is_contiguous(memory_format=torch.channels_last)
        hidden: Tensor = self.mask_head(self.pool(features, boxes, self.config.mask_pool, channels_last=last))
        return hidden

    @torch.no_grad()
    def sample(self, proposals: Sequence[Tensor], targets: Sequence[Target], sampler: Sampler) -> SampledRoIs:
        """Append the objects to the proposals, match, and draw `roi_samples` an image.

        Waits for the device once an image, to learn how many were drawn.
        """
        parts = [self._sample_image(*pair, sampler) for pair in zip(proposals, targets, strict=True)]
        boxes, objects, labels, deltas = (list(column) for column in zip(*parts, strict=True))
        return SampledRoIs(boxes, objects, torch.cat(labels), torch.cat(deltas))

    def _sample_image(
        self, proposals_N4: Tensor, target: Target, sampler: Sampler
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        config = self.config
        boxes_N4 = torch.cat((proposals_N4, target.boxes_N4))
        rule = MatchRule(config.roi_fg_iou, config.roi_fg_iou, one=self.boxes.one)
        object_1N, state_1N = self.kernels.match(target.boxes_N4[None], boxes_N4, rule, None)
        object_N, state_N = object_1N[0], state_1N[0]
        chosen_N = sampler.select(
            state_N, config.roi_samples, config.roi_positive_fraction, target.image_id, ROI_STREAM
        )
        index_R = chosen_N.nonzero()[:, 0]
        boxes_R4, object_R = boxes_N4[index_R], object_N[index_R]
        if not len(target.boxes_N4):
            return boxes_R4, object_R, torch.zeros_like(object_R), torch.zeros_like(boxes_R4)
        labels_R = target.labels_N[object_R] * (state_N[index_R] == 1)
        deltas_R4 = self.boxes.encode(target.boxes_N4[object_R], boxes_R4, config.box_weights)
        # an object without area is a proposal too, and what it should become is infinite: it is background, so zero
        return boxes_R4, object_R, labels_R, deltas_R4.masked_fill((labels_R == 0)[:, None], 0)

    def box_loss_sums(self, logits_RK: Tensor, deltas_RK4: Tensor, sampled: SampledRoIs) -> tuple[Tensor, Tensor]:
        """Cross entropy and smooth L1 of the true class's offsets, each summed over the sampled RoIs."""
        labels_R = sampled.labels_R
        rows_R = torch.arange(len(labels_R), device=labels_R.device)
        box_R4 = smooth_l1_loss(
            deltas_RK4[rows_R, labels_R], sampled.deltas_R4, beta=self.config.box_loss_beta, reduction="none"
        )
        class_sum = cross_entropy(logits_RK, labels_R, reduction="sum")
        return class_sum, (box_R4 * (labels_R > 0)[:, None]).sum()

    @torch.no_grad()
    def detect(
        self, logits_RK: Tensor, deltas_RK4: Tensor, proposals: Sequence[Tensor], sizes: Sequence[ImageSize]
    ) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Boxes [N, 4], scores [N] and labels [N] of each image, best first.

        Waits for the device twice an image, for the scores above the threshold and for the boxes that stay.
        """
        counts = [len(boxes) for boxes in proposals]
        scores, deltas = torch.split(logits_RK.softmax(dim=-1), counts), torch.split(deltas_RK4, counts)
        parts = zip(scores, deltas, proposals, sizes, strict=True)
        return [self._detect_image(*part) for part in parts]

    def _detect_image(
        self, scores_RK: Tensor, deltas_RK4: Tensor, proposals_R4: Tensor, size: ImageSize
    ) -> tuple[Tensor, Tensor, Tensor]:
        config = self.config
        roi_N, label_N = (scores_RK[:, 1:] > config.score_threshold).nonzero(as_tuple=True)
        label_N = label_N + 1
        scores_N = scores_RK[roi_N, label_N]
        boxes_N4 = self.boxes.decode(deltas_RK4[roi_N, label_N], proposals_R4[roi_N], config.box_weights)
        boxes_N4 = self.boxes.clip(boxes_N4, *size)
        large_N = self.boxes.large_enough(boxes_N4, config.detection_min_size)
        candidates = Candidates(boxes_N4[None], scores_N[None], label_N[None], large_N[None])
        limit = len(label_N) if config.keep_ties else config.detections
        rule = NmsRule(config.detection_nms_iou, limit, self.boxes.one)
        kept_1D, count_1 = self.kernels.nms(candidates, rule)
        keep = self._best(kept_1D[0, : int(count_1)], scores_N)
        return boxes_N4[keep], scores_N[keep], label_N[keep]

    def _best(self, keep: Tensor, scores_N: Tensor) -> Tensor:
        limit = self.config.detections
        if len(keep) <= limit:
            return keep
        if not self.config.keep_ties:
            return keep[:limit]
        return keep[scores_N[keep] >= scores_N[keep[limit - 1]]]
