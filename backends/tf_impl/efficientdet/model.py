"""The whole model: pixels to losses, pixels to detections; one body for eager, tf.function and XLA.

Shapes: B images, H and W of the batch, M slots for objects, N anchors, A of them a position, K classes,
D detections.
"""

import tensorflow as tf

from backends.tf_impl.efficientdet.anchors import anchors_of
from backends.tf_impl.efficientdet.backbone import Backbone, tap_channels
from backends.tf_impl.efficientdet.config import EfficientDetConfig
from backends.tf_impl.efficientdet.fpn import BiFPN
from backends.tf_impl.efficientdet.heads import CLASS_BIAS, Head
from backends.tf_impl.efficientdet.losses import box_sum, focal_sum, l2_loss
from backends.tf_impl.efficientdet.matching import assign
from backends.tf_impl.efficientdet.nms import detect
from backends.tf_impl.kernels import Kernels, framework
from backends.tf_impl.layers import (
    Initializer,
    constant,
    fan_in,
    fan_out,
    initialise,
    kaiming_normal,
    kaiming_uniform,
    named_variables,
    truncated_normal,
)

LOSSES = ("loss_class", "loss_box", "loss_l2")
"""Names of the losses in the order of `EfficientDet.loss_sums`; the objective is the sum of the three."""


class EfficientDet(tf.Module):
    """EfficientDet (Tan et al. 2020); variables are named as in effdet's `tf_efficientdet_d0`.

    H and W are multiples of 128 and static. Convolutions compute in `dtype`; variables, batch statistics, losses, box
    decoding and NMS are float32.
    """

    def __init__(self, config: EfficientDetConfig, dtype: tf.DType = tf.float32, kernels: Kernels = framework) -> None:
        super().__init__()
        self.config, self.dtype, self.kernels = config, dtype, kernels
        self.backbone = Backbone(config, dtype)
        self.fpn = BiFPN(tap_channels(config), config, dtype)
        self.class_net = Head(config.num_classes, config, dtype)
        self.box_net = Head(4, config, dtype)

    def initialise(self, seed: int) -> None:
        """Fill every variable anew from a seed, by the published rules; see `rule`."""
        initialise(self, seed, rule)

    def normalize(self, images_BHW3: tf.Tensor, sizes_B2: tf.Tensor) -> tf.Tensor:
        """RGB uint8 to what the backbone sees, `dtype` [B, H, W, 3].

        Pixels beyond an image's valid area (height, width of `sizes_B2`) are 0 after the first normalisation.
        """
        mean_3, std_3 = tf.constant(self.config.pixel_mean), tf.constant(self.config.pixel_std)
        pixels_BHW3 = (tf.cast(images_BHW3, tf.float32) / 255 - mean_3) / std_3
        rows_BH = tf.range(images_BHW3.shape[1]) < sizes_B2[:, :1]
        cols_BW = tf.range(images_BHW3.shape[2]) < sizes_B2[:, 1:]
        pixels_BHW3 = tf.where((rows_BH[:, :, None] & cols_BW[:, None])[..., None], pixels_BHW3, 0.0)
        if self.config.double_normalisation:
            pixels_BHW3 = (pixels_BHW3 - mean_3) / std_3
        return tf.cast(pixels_BHW3, self.dtype)

    def features(self, images_BHW3: tf.Tensor, *, training: bool = False) -> list[tf.Tensor]:
        """Backbone taps of normalised images at strides 8, 16, 32."""
        return self.backbone(images_BHW3, training=training)

    def pyramid(self, images_BHW3: tf.Tensor, *, training: bool = False) -> list[tf.Tensor]:
        """P3..P7 of normalised images."""
        return self.fpn(self.features(images_BHW3, training=training), training=training)

    def outputs(self, images_BHW3: tf.Tensor, *, training: bool = False) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Class logits [B, H·W·A, K] and box codes (cy, cx, h, w) [B, H·W·A, 4] of each level, in `dtype`."""
        maps = self.pyramid(images_BHW3, training=training)
        return self.class_net(maps, training=training), self.box_net(maps, training=training)

    def loss_sums(
        self, images_BHW3: tf.Tensor, sizes_B2: tf.Tensor, targets: dict[str, tf.Tensor], share: float | tf.Tensor = 1.0
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Sums and counts of `LOSSES`, float32 [3] each; a loss is its sum / the mean over the ranks of its count.

        The published divisor is the foreground anchors of the global batch plus 1. Sums of R ranks over a mean over R
        ranks are R times too large, which the mean over ranks of the gradients takes back, so the mean of the counts
        has to be (foreground of all ranks + 1) / R: each rank adds 1 / R, its `share` of the 1. The box loss has its
        weight in the sum and 4 in the count. The kernels' squares do not grow with the batch: every rank counts 1.

        Args:
            images_BHW3: uint8, RGB.
            sizes_B2: int32 height and width of each image's valid area.
            targets: `boxes_BM4` float32 (x1, y1, x2, y2 in the frame of the images) and `labels_BM` int32, 1..K, 0 for
                padding; others are ignored.
            share: 1 / ranks.
        """
        config = self.config
        anchors_N4 = self._anchors(images_BHW3)
        class_BN, code_BN4 = assign(
            targets["boxes_BM4"], targets["labels_BM"], anchors_N4, config.match_iou, self.kernels
        )
        logits, codes = self.outputs(self.normalize(images_BHW3, sizes_B2), training=True)
        sizes = [level.shape[1] for level in logits]
        class_sum = tf.add_n(
            [
                focal_sum(*level, config, self.kernels)
                for level in zip(logits, tf.split(class_BN, sizes, axis=1), strict=True)
            ]
        )
        code_sum = box_sum(tf.concat(codes, axis=1), code_BN4, config.huber_delta)
        decay = l2_loss(named_variables(self).values(), config.weight_decay)
        divisor = tf.reduce_sum(tf.cast(class_BN >= 0, tf.float32)) + tf.cast(share, tf.float32)
        return (
            tf.stack((class_sum, config.box_loss_weight * code_sum, decay)),
            tf.stack((divisor, 4 * divisor, tf.ones_like(divisor))),
        )

    def predict(self, images_BHW3: tf.Tensor, sizes_B2: tf.Tensor) -> dict[str, tf.Tensor]:
        """Detections, best first: `boxes` [B, D, 4] x1 y1 x2 y2, `scores` [B, D], `labels` int32 [B, D], `count` [B].

        Boxes are in the frame of the images, clipped to the valid area; labels are 1..K; slots from `count` on are 0.
        """
        anchors_N4 = self._anchors(images_BHW3)
        logits, codes = self.outputs(self.normalize(images_BHW3, sizes_B2))
        outputs = tf.concat(logits, axis=1), tf.concat(codes, axis=1)
        return detect(outputs, anchors_N4, sizes_B2, self.config, self.kernels)

    def _anchors(self, images_BHW3: tf.Tensor) -> tf.Tensor:
        return tf.constant(anchors_of(self.config, images_BHW3.shape[1], images_BHW3.shape[2]))


def rule(name: str) -> Initializer:
    """The published initialiser of a variable.

    Backbone: N(0, 2 / fan out) (Tan and Le 2019). Pyramid: Glorot's uniform. Heads: variance scaling by fan in. The
    class head's bias gives every class the prior 0.01; norms begin as the identity, fusion weights at 1.
    """
    part, _, kind = name.rpartition(".")
    if kind in {"edge_weights", "running_var"} or (kind == "weight" and _is_norm(part)):
        return constant(1.0)
    if name == "class_net.predict.conv_pw.bias":
        return constant(CLASS_BIAS)
    if kind != "weight":
        return constant(0.0)
    if name.startswith("backbone."):
        return kaiming_normal(fan_out)
    if name.startswith("fpn."):
        return kaiming_uniform(lambda shape: fan_in(shape) + fan_out(shape))
    return truncated_normal(fan_in)


def _is_norm(part: str) -> bool:
    return part.rpartition(".")[2].startswith("bn")
