"""The whole model: pixels to losses, pixels to detections.

Shapes: B images, H and W of the padded batch, N detections, R RoIs, K classes, S pixels a side of a mask.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from backends.torch_impl.kernels import FRAMEWORK, Kernels
from backends.torch_impl.maskrcnn.backbone import BackboneWithFPN
from backends.torch_impl.maskrcnn.config import MaskRCNNConfig
from backends.torch_impl.maskrcnn.masks import mask_targets
from backends.torch_impl.maskrcnn.matching import Sampler
from backends.torch_impl.maskrcnn.roi_heads import RoIHeads, SampledRoIs
from backends.torch_impl.maskrcnn.rpn import RPN, RPNOutputs
from backends.torch_impl.maskrcnn.targets import ImageSize, Prediction, Target
from backends.torch_impl.ops import Boxes

__all__ = ["MaskRCNN", "Prediction", "Sampler", "Target"]

Reduce = Callable[[Tensor], Tensor]

LOSSES = ("loss_objectness", "loss_rpn_box", "loss_class", "loss_box", "loss_mask")


class MaskRCNN(nn.Module):
    """Mask R-CNN with a feature pyramid (He et al. 2017, Lin et al. 2017).

    Parameters are named as in torchvision's `maskrcnn_resnet50_fpn`. Convolutions and linear layers follow autocast;
    boxes, NMS, RoIAlign and losses are float32. `forward` is `losses` or `predict`, by whether targets are given, so
    that DistributedDataParallel can wrap the module. `kernels` decides what computes the operations that have native
    kernels: anchors, matching, selection, NMS, RoIAlign, mask targets and pasting.
    """

    pixel_gain_3: Tensor
    pixel_shift_3: Tensor

    def __init__(self, config: MaskRCNNConfig, kernels: Kernels = FRAMEWORK) -> None:
        super().__init__()
        self.config = config
        self.kernels = kernels
        self.boxes = Boxes(inclusive=config.inclusive_boxes)
        self.backbone = BackboneWithFPN(config)
        self.rpn = RPN(config, kernels)
        self.roi_heads = RoIHeads(config, kernels)
        gain_3, mean_3 = torch.tensor(config.pixel_std).reciprocal(), torch.tensor(config.pixel_mean)
        self._constant("pixel_gain_3", gain_3 * config.pixel_scale)
        self._constant("pixel_shift_3", -mean_3 * gain_3)

    def _constant(self, name: str, values_3: Tensor) -> None:
        """Keep a value of each channel of the trunk, as one of each channel of the RGB input."""
        self.register_buffer(
            name, values_3.flip(0) if self.config.channel_order == "bgr" else values_3, persistent=False
        )

    def forward(
        self,
        images_BHW3: Tensor,
        sizes_B2: Tensor,
        targets: Sequence[Target] | None = None,
        sampler: Sampler | None = None,
        reduce: Reduce | None = None,
    ) -> dict[str, Tensor] | list[Prediction]:
        """`losses` with targets and a sampler, `predict` without."""
        if targets is None or sampler is None:
            return self.predict(images_BHW3, sizes_B2)
        return self.losses(images_BHW3, sizes_B2, targets, sampler, reduce)

    def normalize(self, images_BHW3: Tensor, sizes_B2: Tensor) -> Tensor:
        """RGB uint8 to what the trunk sees, float32 [B, 3, H, W] in the memory format of the trunk's weights.

        Args:
            images_BHW3: uint8 [B, H, W, 3], RGB, on the model's device.
            sizes_B2: height and width of each image's valid area, int64 [B, 2]; on either device. Pixels beyond it
                come out as zero.
        """
        pixels_BHW3 = images_BHW3.float().mul_(self.pixel_gain_3).add_(self.pixel_shift_3)
        size_B2 = sizes_B2.to(images_BHW3.device, non_blocking=True)
        rows_BH = torch.arange(images_BHW3.shape[1], device=size_B2.device) < size_B2[:, :1]
        cols_BW = torch.arange(images_BHW3.shape[2], device=size_B2.device) < size_B2[:, 1:]
        pixels_BHW3.masked_fill_(~(rows_BH[:, :, None] & cols_BW[:, None])[..., None], 0)
        if self.config.channel_order == "bgr":
            pixels_BHW3 = pixels_BHW3.flip(-1)
        pixels_B3HW = pixels_BHW3.permute(0, 3, 1, 2)
        stem = self.backbone.body.conv1.weight
        return pixels_B3HW if stem.is_contiguous(memory_format=torch.channels_last) else pixels_B3HW.contiguous()

    def features(self, images_B3HW: Tensor) -> list[Tensor]:
        """P2..P6 of normalised images."""
        pyramid: list[Tensor] = self.backbone(images_B3HW)
        return pyramid

    def rpn_outputs(self, features: Sequence[Tensor], padded: ImageSize) -> RPNOutputs:
        """Objectness, offsets and anchors of every position; `padded` is the height and width of the batch."""
        outputs: RPNOutputs = self.rpn(features, padded)
        return outputs

    def box_outputs(self, features: Sequence[Tensor], proposals: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Class logits [R, K] and box offsets [R, K, 4] of the proposals of all images."""
        return self.roi_heads.box_outputs(features, proposals)

    def mask_outputs(self, features: Sequence[Tensor], boxes: Sequence[Tensor]) -> Tensor:
        """Mask logits of every class, [R, K, S, S]."""
        logits: Tensor = self.roi_heads.mask_predictor(self.roi_heads.mask_features(features, boxes))
        return logits

    def losses(
        self,
        images_BHW3: Tensor,
        sizes_B2: Tensor,
        targets: Sequence[Target],
        sampler: Sampler,
        reduce: Reduce | None = None,
    ) -> dict[str, Tensor]:
        """The five losses of a training step, float32 scalars whose sum is the objective.

        Each is a sum over the batch divided by a count of the batch: objectness (binary cross entropy) and RPN boxes
        (smooth L1, beta 1/9) by the sampled anchors; classes (cross entropy) and boxes (smooth L1, `box_loss_beta`) by
        the sampled RoIs; masks (binary cross entropy) by the pixels of the foreground RoIs. All are finite, and reach
        every trainable parameter, whatever the targets hold.

        Args:
            images_BHW3: uint8 [B, H, W, 3], RGB.
            sizes_B2: height and width of each image's valid area, int64 [B, 2]; best on the host.
            targets: the objects of each image, on the model's device.
            sampler: draws anchors and RoIs.
            reduce: maps the local counts to their mean over ranks (an all-reduce); called once, on a float32 [3]. The
                mean over ranks of the losses' gradients is then that of one process with the whole global batch.
        """
        sizes = _as_tuples(sizes_B2)
        images_B3HW = self.normalize(images_BHW3, sizes_B2)
        features = self.features(images_B3HW)
        outputs = self.rpn_outputs(features, (images_B3HW.shape[-2], images_B3HW.shape[-1]))
        with _float32(images_BHW3.device):
            objectness, rpn_box, anchors = self.rpn.loss_sums(outputs, targets, sizes, sampler)
            sampled = self.roi_heads.sample(self.rpn.propose(outputs, sizes, training=True), targets, sampler)
        logits_RK, deltas_RK4 = self.box_outputs(features, sampled.boxes)
        mask, foreground = self._mask_loss_sum(features, sampled, targets)
        with _float32(images_BHW3.device):
            class_, box = self.roi_heads.box_loss_sums(logits_RK, deltas_RK4, sampled)
        counts_3 = torch.stack((anchors.float(), torch.full_like(foreground, len(logits_RK)), foreground))
        counts_3 = (counts_3 if reduce is None else reduce(counts_3)).clamp(min=torch.finfo(torch.float32).tiny)
        divisors = (counts_3[0], counts_3[0], counts_3[1], counts_3[1], counts_3[2] * self.config.mask_size**2)
        sums = (objectness, rpn_box, class_, box, mask)
        return {name: total / divisor for name, total, divisor in zip(LOSSES, sums, divisors, strict=True)}

    def _mask_loss_sum(
        self, features: Sequence[Tensor], sampled: SampledRoIs, targets: Sequence[Target]
    ) -> tuple[Tensor, Tensor]:
        """Binary cross entropy summed over the foreground RoIs' pixels, and the number of these RoIs, float32."""
        boxes, objects, labels_F = sampled.foreground()
        hidden = self.roi_heads.mask_features(features, boxes)
        logits_FSS = self.roi_heads.mask_predictor.of_class(hidden, labels_F)
        with _float32(logits_FSS.device):
            wanted_FSS = mask_targets(targets, boxes, objects, self.config.mask_size, self.kernels)
            total = binary_cross_entropy_with_logits(logits_FSS, wanted_FSS, reduction="sum")
        return total, torch.full_like(total, len(labels_F))

    @torch.no_grad()
    def predict(self, images_BHW3: Tensor, sizes_B2: Tensor) -> list[Prediction]:
        """Detections of each image, in the frame of the resized image.

        Args:
            images_BHW3: uint8 [B, H, W, 3], RGB.
            sizes_B2: height and width of each image's valid area, int64 [B, 2]; best on the host.
        """
        sizes = _as_tuples(sizes_B2)
        images_B3HW = self.normalize(images_BHW3, sizes_B2)
        features = self.features(images_B3HW)
        outputs = self.rpn_outputs(features, (images_B3HW.shape[-2], images_B3HW.shape[-1]))
        with _float32(images_BHW3.device):
            proposals = self.rpn.propose(outputs, sizes, training=False)
        logits_RK, deltas_RK4 = self.box_outputs(features, proposals)
        with _float32(images_BHW3.device):
            found = self.roi_heads.detect(logits_RK, deltas_RK4, proposals, sizes)
        masks = self._masks(features, found)
        return [Prediction(*detections, masks_NSS) for detections, masks_NSS in zip(found, masks, strict=True)]

    def _masks(self, features: Sequence[Tensor], found: Sequence[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, ...]:
        hidden = self.roi_heads.mask_features(features, [boxes_N4 for boxes_N4, _, _ in found])
        labels_R = torch.cat([labels_N for _, _, labels_N in found])
        logits_RSS = self.roi_heads.mask_predictor.of_class(hidden, labels_R)
        return torch.split(logits_RSS.sigmoid(), [len(labels_N) for _, _, labels_N in found])

    @torch.no_grad()
    def intermediates(self, images_BHW3: Tensor, sizes_B2: Tensor, boxes: Sequence[Tensor]) -> dict[str, Tensor]:
        """What the layers compute on the way, by name: both stages, the second on given boxes instead of proposals.

        Args:
            images_BHW3: uint8 [B, H, W, 3], RGB.
            sizes_B2: height and width of each image's valid area, int64 [B, 2].
            boxes: of each image, [R_image, 4].

        Returns:
            C2..C5 and P2..P6, [B, C, H, W]; rpn_objectness_0..4, [B, A, H, W]; rpn_deltas_0..4, [B, 4A, H, W];
            box_logits, [R, K]; box_deltas, [R, 4K]; mask_logits, [R, K, S, S].
        """
        stages = self.backbone.body(self.normalize(images_BHW3, sizes_B2))
        pyramid = list(self.backbone.fpn(stages).values())
        head = self.rpn.head
        hidden = [head.conv(feature) for feature in pyramid]
        logits_RK, deltas_RK4 = self.box_outputs(pyramid, boxes)
        return {
            **{f"C{level}": tensor for level, tensor in enumerate(stages.values(), start=2)},
            **{f"P{level}": tensor for level, tensor in enumerate(pyramid, start=2)},
            **{f"rpn_objectness_{level}": head.cls_logits(x) for level, x in enumerate(hidden)},
            **{f"rpn_deltas_{level}": head.bbox_pred(x) for level, x in enumerate(hidden)},
            "box_logits": logits_RK,
            "box_deltas": deltas_RK4.flatten(1),
            "mask_logits": self.mask_outputs(pyramid, boxes),
        }

    def paste(self, masks_NSS: Tensor, boxes_N4: Tensor, height: int, width: int) -> Tensor:
        """Masks over their boxes in an image of that size, bool [N, height, width]; boxes in the image's frame."""
        with _float32(masks_NSS.device):
            return self.kernels.paste_masks(masks_NSS, boxes_N4, (height, width), self.config.mask_threshold)


def _as_tuples(sizes_B2: Tensor) -> list[ImageSize]:
    return [(height, width) for height, width in sizes_B2.tolist()]


def _float32(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, enabled=False)
