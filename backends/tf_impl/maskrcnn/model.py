"""The whole model: pixels to losses, pixels to detections.

Shapes: B images, H and W of the padded batch, D detections and R RoIs of an image, K classes, S pixels a side of a
mask, L losses.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

from backends.tf_impl.kernels import Kernels, framework
from backends.tf_impl.kernels.rules import TINY
from backends.tf_impl.layers import (
    Initializer,
    fan_in,
    fan_out,
    initialise,
    kaiming_normal,
    kaiming_uniform,
    named_variables,
    normal,
)
from backends.tf_impl.maskrcnn.anchors import GridSize
from backends.tf_impl.maskrcnn.backbone import BackboneWithFPN
from backends.tf_impl.maskrcnn.config import MaskRCNNConfig
from backends.tf_impl.maskrcnn.masks import mask_targets
from backends.tf_impl.maskrcnn.matching import Sampler
from backends.tf_impl.maskrcnn.roi_heads import RoIHeads, SampledRoIs
from backends.tf_impl.maskrcnn.rpn import RPN, Proposals, RPNOutputs

LOSSES = ("loss_objectness", "loss_rpn_box", "loss_class", "loss_box", "loss_mask")
"""The five losses, named as `torch_maskrcnn`'s."""

Targets = dict[str, tf.Tensor]
Predictions = dict[str, tf.Tensor]


class MaskRCNN(tf.Module):
    """Mask R-CNN with a feature pyramid (He et al. 2017, Lin et al. 2017).

    Variables are named as in torchvision's `maskrcnn_resnet50_fpn` (`layers.named_variables`). Convolutions and dense
    layers compute in `dtype`; boxes, NMS, RoIAlign and losses are float32. Every shape follows from those of the
    arguments, so that each method also runs under `tf.function`, with or without XLA.
    """

    def __init__(self, config: MaskRCNNConfig, dtype: tf.DType = tf.float32, kernels: Kernels = framework) -> None:
        super().__init__()
        self.config, self.kernels = config, kernels
        self.backbone = BackboneWithFPN(config, dtype)
        self.rpn = RPN(config, dtype, kernels)
        self.roi_heads = RoIHeads(config, dtype, kernels)

    @property
    def losses(self) -> tuple[str, ...]:
        """Names of what `loss_sums` returns.

        Where the RPN's box loss is divided by a count of each level (`nvidia`), each level has a loss of its own, so
        that ranks can average every divisor.
        """
        objectness, rpn_box, *heads = LOSSES
        levels = range(2, 2 + len(self.config.anchor_sizes))
        boxes = [f"{rpn_box}_p{level}" for level in levels] if self.config.rpn_loss == "matched" else [rpn_box]
        return (objectness, *boxes, *heads, *(("loss_l2",) if self.config.l2_weight else ()))

    def initialise(self, seed: int) -> None:
        """Fill every variable as published, from the seed; norms start as the identity."""
        initialise(self, seed, lambda name: _initializer(name, self.config))

    def normalize(self, images_BHW3: tf.Tensor, sizes_B2: tf.Tensor) -> tf.Tensor:
        """RGB uint8 to what the trunk sees, float32 [B, H, W, 3].

        Args:
            images_BHW3: uint8, RGB.
            sizes_B2: height and width of each image's valid area, int32; pixels beyond it come out as zero.
        """
        config = self.config
        gain_3 = [config.pixel_scale / std for std in config.pixel_std]
        shift_3 = [-mean / std for mean, std in zip(config.pixel_mean, config.pixel_std, strict=True)]
        pixels_BHW3 = tf.cast(images_BHW3, tf.float32) * tf.constant(gain_3) + tf.constant(shift_3)
        rows_BH = tf.range(images_BHW3.shape[1]) < sizes_B2[:, :1]
        cols_BW = tf.range(images_BHW3.shape[2]) < sizes_B2[:, 1:]
        return tf.where((rows_BH[:, :, None] & cols_BW[:, None])[..., None], pixels_BHW3, 0.0)

    def features(self, images_BHW3: tf.Tensor, *, training: bool = False) -> list[tf.Tensor]:
        """P2..P6 of normalised images; H and W are multiples of `size_divisible`."""
        return self.backbone(images_BHW3, training=training)

    def rpn_outputs(self, features: Sequence[tf.Tensor], padded: GridSize) -> RPNOutputs:
        """Objectness, offsets and anchors of every position; `padded` is the height and width of the batch."""
        return self.rpn(features, padded)

    def box_outputs(self, features: Sequence[tf.Tensor], boxes_BR4: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Class logits [B, R, K] and box offsets [B, R, K, 4] of boxes."""
        return self.roi_heads.box_outputs(features, boxes_BR4)

    def mask_outputs(self, features: Sequence[tf.Tensor], boxes_BR4: tf.Tensor) -> tf.Tensor:
        """Mask logits of every class, [B·R, S, S, K]."""
        return self.roi_heads.mask_predictor(self.roi_heads.mask_features(features, boxes_BR4))

    def loss_sums(
        self, images_BHW3: tf.Tensor, sizes_B2: tf.Tensor, targets: Targets, step: tf.Tensor, seed: int | tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Each loss summed over the batch, and the count that divides it, float32 [L] each, in the order of `losses`.

        A loss of the global batch is the mean over ranks of its sums over the mean over ranks of its counts: ranks
        times batch are exactly one big batch. All are finite whatever the targets hold.

        Args:
            images_BHW3: uint8, RGB.
            sizes_B2: height and width of each image's valid area, int32.
            targets: of the batch, see `targets`.
            step: optimizer step, int64; with the seed and an image's id it decides what is sampled.
            seed: of the run.
        """
        sampler = Sampler(seed, step)
        features = self.features(self.normalize(images_BHW3, sizes_B2), training=True)
        outputs = self.rpn_outputs(features, images_BHW3.shape[1:3])
        sums, counts = self.rpn.loss_sums(outputs, targets, sampler)
        proposals = self.rpn.propose(outputs, sizes_B2, training=True)
        sampled = self.roi_heads.sample(proposals, targets, sampler)
        head_sums, head_counts = self.head_loss_sums(features, sampled, targets)
        sums, counts = sums + head_sums, counts + head_counts
        if self.config.l2_weight:
            sums, counts = [*sums, self._l2_loss()], [*counts, tf.constant(1.0)]
        return tf.stack(sums), tf.stack(counts)

    def head_loss_sums(
        self, features: Sequence[tf.Tensor], sampled: SampledRoIs, targets: Targets
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Sums and counts of the class, box and mask losses on given RoIs."""
        sums, counts = self.roi_heads.box_loss_sums(*self.box_outputs(features, sampled.boxes), sampled)
        mask, pixels = self._mask_loss_sum(features, sampled, targets)
        return [*sums, mask], [*counts, pixels]

    def _mask_loss_sum(
        self, features: Sequence[tf.Tensor], sampled: SampledRoIs, targets: Targets
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Binary cross entropy summed over the foreground RoIs' pixels, and the number of these pixels."""
        slots, side = min(self.config.mask_rois, sampled.boxes.shape[1]), self.config.mask_size
        boxes_BF4, objects_BF, labels_BF = (
            part[:, :slots] for part in (sampled.boxes, sampled.objects, sampled.labels)
        )
        hidden = self.roi_heads.mask_features(features, boxes_BF4)
        logits_RSS = self.roi_heads.mask_predictor.of_class(hidden, tf.reshape(labels_BF, (-1,)))
        wanted_BFSS = tf.stop_gradient(mask_targets(self.config, targets, boxes_BF4, objects_BF))
        loss_RSS = tf.nn.sigmoid_cross_entropy_with_logits(tf.reshape(wanted_BFSS, (-1, side, side)), logits_RSS)
        foreground_R = tf.cast(tf.reshape(labels_BF > 0, (-1,)), tf.float32)
        return tf.reduce_sum(loss_RSS * foreground_R[:, None, None]), tf.reduce_sum(foreground_R) * side**2

    def _l2_loss(self) -> tf.Tensor:
        """Half the squares of the trained kernels; norms and biases are left alone."""
        kernels = [v for v in named_variables(self).values() if v.trainable and v.shape.rank > 1]
        return self.config.l2_weight * tf.add_n([tf.nn.l2_loss(kernel) for kernel in kernels])

    def predict(self, images_BHW3: tf.Tensor, sizes_B2: tf.Tensor) -> Predictions:
        """Detections of each image, best first, in the frame of the resized image, padded with zeros.

        `boxes` [B, D, 4], `scores` [B, D], `labels` int32 [B, D], `masks` [B, D, S, S] (probability of the predicted
        class over the box), `count` int32 [B].

        Args:
            images_BHW3: uint8, RGB.
            sizes_B2: height and width of each image's valid area, int32.
        """
        features = self.features(self.normalize(images_BHW3, sizes_B2))
        outputs = self.rpn_outputs(features, images_BHW3.shape[1:3])
        proposals = self.rpn.propose(outputs, sizes_B2, training=False)
        return self.detections(features, proposals, sizes_B2)

    def detections(self, features: Sequence[tf.Tensor], proposals: Proposals, sizes_B2: tf.Tensor) -> Predictions:
        """What `predict` returns, from given proposals."""
        logits_BRK, deltas_BRK4 = self.box_outputs(features, proposals.boxes)
        found = self.roi_heads.detect(logits_BRK, deltas_BRK4, proposals, sizes_B2)
        hidden = self.roi_heads.mask_features(features, found.boxes)
        logits_RSS = self.roi_heads.mask_predictor.of_class(hidden, tf.reshape(found.labels, (-1,)))
        masks_BDSS = tf.reshape(tf.sigmoid(logits_RSS), (*found.labels.shape, *logits_RSS.shape[1:]))
        masks_BDSS = tf.where((found.labels > 0)[..., None, None], masks_BDSS, 0.0)
        return {**found._asdict(), "masks": masks_BDSS}

    def paste(self, masks_NSS: tf.Tensor, boxes_N4: tf.Tensor, height: int, width: int) -> tf.Tensor:
        """Masks over their boxes in an image of that size, bool [N, height, width]; boxes in the image's frame."""
        return self.kernels.paste_masks(masks_NSS, boxes_N4, height, width, threshold=self.config.mask_threshold)


def total_loss(sums_L: tf.Tensor, counts_L: tf.Tensor) -> tf.Tensor:
    """The objective of one process: the sum of the losses."""
    return tf.reduce_sum(sums_L / tf.maximum(counts_L, TINY))


def _initializer(name: str, config: MaskRCNNConfig) -> Initializer | None:
    """As published: Kaiming for trunk and mask head, narrow normals for what predicts; nothing for norms and biases.

    Pyramid and dense layers are Kaiming uniform with a = 1 in torchvision's flavour, Glorot uniform in NVIDIA's.
    """
    if not name.endswith("weight") or ".bn" in name or "downsample.1" in name:
        return None
    rules: tuple[tuple[str, Callable[[], Initializer]], ...] = (
        ("rpn.", lambda: normal(0.01)),
        ("cls_score", lambda: normal(0.01)),
        ("bbox_pred", lambda: normal(0.001)),
        ("body.", lambda: kaiming_normal(fan_out)),
        (".mask_", lambda: kaiming_normal(fan_out)),
    )
    for part, make in rules:
        if part in name:
            return make()
    if config.flavour == "nvidia":
        return kaiming_uniform(lambda shape: fan_in(shape) + fan_out(shape))
    return kaiming_uniform(fan_in, a=1)
