"""Second stage: box head, mask head, what they learn and what they report.

Shapes: B images, R RoIs of an image, F foreground RoIs of an image, M padded objects, K classes, C channels, S pixels a
side of a mask, D detections of an image.
"""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from backends.tf_impl.kernels import Kernels, Pooling, Suppression, Thresholds, framework
from backends.tf_impl.layers import Conv, Dense
from backends.tf_impl.maskrcnn.config import MaskRCNNConfig
from backends.tf_impl.maskrcnn.matching import Sampler
from backends.tf_impl.maskrcnn.rpn import Proposals, Sums, huber
from backends.tf_impl.ops import Boxes, roi_levels

ROI_STREAM = 1
_BETA = 1 / 9


class SampledRoIs(NamedTuple):
    """What the second stage trains on: foreground first, then background, then empty slots."""

    boxes: tf.Tensor
    """float32 [B, R, 4]; zeros in empty slots."""
    objects: tf.Tensor
    """Object that each RoI overlaps most, int32 [B, R]."""
    labels: tf.Tensor
    """Class of each RoI, 0 for background and empty slots, int32 [B, R]."""
    deltas: tf.Tensor
    """Wanted box offsets, float32 [B, R, 4]; zeros but for foreground."""
    used: tf.Tensor
    """bool [B, R]; false for empty slots."""


class Found(NamedTuple):
    """Detections of each image, best first, zeros behind them."""

    boxes: tf.Tensor
    """float32 [B, D, 4]."""
    scores: tf.Tensor
    """float32 [B, D]."""
    labels: tf.Tensor
    """int32 [B, D], 1..num_classes-1."""
    count: tf.Tensor
    """int32 [B]."""


class BoxHead(tf.Module):
    """Two fully connected layers; rows of the first are in the order row, column, channel."""

    def __init__(self, in_features: int, width: int, dtype: tf.DType) -> None:
        super().__init__()
        self.fc6, self.fc7 = Dense((in_features, width), dtype=dtype), Dense((width, width), dtype=dtype)

    def __call__(self, pooled_RSSC: tf.Tensor) -> tf.Tensor:
        """Hidden features, [R, width]."""
        flat_RF = tf.reshape(pooled_RSSC, (pooled_RSSC.shape[0], -1))
        return tf.nn.relu(self.fc7(tf.nn.relu(self.fc6(flat_RF))))


class BoxPredictor(tf.Module):
    """Class logits and class-specific box offsets."""

    def __init__(self, in_features: int, classes: int, dtype: tf.DType) -> None:
        super().__init__()
        self.cls_score = Dense((in_features, classes), dtype=dtype)
        self.bbox_pred = Dense((in_features, 4 * classes), dtype=dtype)

    def __call__(self, hidden_RF: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Logits [R, K] and offsets [R, 4K], float32."""
        return tf.cast(self.cls_score(hidden_RF), tf.float32), tf.cast(self.bbox_pred(hidden_RF), tf.float32)


class Deconv2x(tf.Module):
    """Transposed 2×2 convolution of stride 2; `weight` is [2, 2, out, in].

    Its windows do not overlap, so it is one matrix product and a change of order.
    """

    def __init__(self, channels: tuple[int, int], dtype: tf.DType) -> None:
        super().__init__()
        self.weight = tf.Variable(tf.zeros((2, 2, channels[1], channels[0])))
        self.bias = tf.Variable(tf.zeros(channels[1]))
        self.dtype = dtype

    def __call__(self, x_RSSC: tf.Tensor) -> tf.Tensor:
        """[R, S, S, in] to [R, 2S, 2S, out]."""
        rois, side, _, entering = x_RSSC.shape
        leaving = self.weight.shape[2]
        weight_CF = tf.reshape(tf.cast(self.weight, self.dtype), (4 * leaving, entering))
        x_NC = tf.reshape(tf.cast(x_RSSC, self.dtype), (-1, entering))
        y_NF = tf.reshape(tf.matmul(x_NC, weight_CF, transpose_b=True), (rois, side, side, 2, 2, leaving))
        y_RSSC = tf.reshape(tf.transpose(y_NF, (0, 1, 3, 2, 4, 5)), (rois, 2 * side, 2 * side, leaving))
        return tf.nn.bias_add(y_RSSC, tf.cast(self.bias, self.dtype))


class MaskPredictor(tf.Module):
    """Doubles the resolution, then one logit map a class."""

    def __init__(self, channels: int, classes: int, dtype: tf.DType) -> None:
        super().__init__()
        self.conv5_mask = Deconv2x((channels, channels), dtype)
        self.mask_fcn_logits = Conv((channels, classes), 1, dtype=dtype)

    def __call__(self, x_RSSC: tf.Tensor) -> tf.Tensor:
        """Logits of every class, float32 [R, 2S, 2S, K]."""
        return tf.cast(self.mask_fcn_logits(tf.nn.relu(self.conv5_mask(x_RSSC))), tf.float32)

    def of_class(self, x_RSSC: tf.Tensor, labels_R: tf.Tensor) -> tf.Tensor:
        """Logits of one class for each RoI, float32 [R, 2S, 2S]; the other classes are never computed."""
        x_RSSC = tf.nn.relu(self.conv5_mask(x_RSSC))
        rois, side, _, channels = x_RSSC.shape
        layer = self.mask_fcn_logits
        # a product with ones and zeros picks rows, and its gradient is no sparse tensor
        pick_RK = tf.one_hot(labels_R, layer.weight.shape[-1])
        weight_RC = tf.matmul(pick_RK, layer.weight[0, 0], transpose_b=True)
        bias_R = tf.linalg.matvec(pick_RK, layer.bias)
        flat_RNC = tf.reshape(x_RSSC, (rois, side * side, channels))
        logits_RN = tf.linalg.matvec(flat_RNC, tf.cast(weight_RC, flat_RNC.dtype))
        return tf.reshape(tf.cast(logits_RN, tf.float32) + bias_R[:, None], (rois, side, side))


class RoIHeads(tf.Module):
    """Both heads and their rules."""

    def __init__(self, config: MaskRCNNConfig, dtype: tf.DType, kernels: Kernels = framework) -> None:
        super().__init__()
        self.config, self.kernels = config, kernels
        self.boxes = Boxes(inclusive=config.inclusive_coding)
        channels, width = config.fpn_channels, config.head_channels
        self.box_head = BoxHead(channels * config.box_pool**2, config.box_head_dim, dtype)
        self.box_predictor = BoxPredictor(config.box_head_dim, config.num_classes, dtype)
        entering = (channels, width, width, width)
        self.mask_head = [[Conv((given, width), 3, padding=1, dtype=dtype)] for given in entering]
        self.mask_predictor = MaskPredictor(width, config.num_classes, dtype)

    def pool(self, features: Sequence[tf.Tensor], boxes_BR4: tf.Tensor, bins: int) -> tf.Tensor:
        """RoIAlign from P2 on, float32 [B·R, bins, bins, C]."""
        config, boxes_BR4 = self.config, tf.stop_gradient(boxes_BR4)
        levels_BR = roi_levels(boxes_BR4, config.roi_levels, config.level_eps)
        pooling = Pooling(bins, config.sampling_ratio, config.roi_min_side)
        return self.kernels.roi_align(features[: config.roi_levels], boxes_BR4, levels_BR, pooling)

    def box_outputs(self, features: Sequence[tf.Tensor], boxes_BR4: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Class logits [B, R, K] and box offsets [B, R, K, 4] of the RoIs, float32."""
        logits_RK, deltas_RF = self.box_predictor(self.box_head(self.pool(features, boxes_BR4, self.config.box_pool)))
        shape = (*boxes_BR4.shape[:2], logits_RK.shape[-1])
        return tf.reshape(logits_RK, shape), tf.reshape(deltas_RF, (*shape, 4))

    def mask_features(self, features: Sequence[tf.Tensor], boxes_BR4: tf.Tensor) -> tf.Tensor:
        """What the mask predictor reads, [B·R, 14, 14, C]."""
        hidden = self.pool(features, boxes_BR4, self.config.mask_pool)
        for (layer,) in self.mask_head:
            hidden = tf.nn.relu(layer(hidden))
        return hidden

    def sample(self, proposals: Proposals, targets: dict[str, tf.Tensor], sampler: Sampler) -> SampledRoIs:
        """Append the objects to the proposals, match, and draw `roi_samples` an image."""
        config = self.config
        present_BM = targets["labels"] > 0
        boxes_BN4 = tf.concat((proposals.boxes, targets["boxes"]), axis=1)
        rules = Thresholds(config.roi_fg_iou, config.roi_fg_iou, strict=config.roi_fg_strict)
        object_BN, state_BN = self.kernels.match(targets["boxes"], present_BM, boxes_BN4, rules)
        state_BN = tf.where(tf.concat((proposals.valid, present_BM), axis=1), state_BN, -1)
        share = (config.roi_samples, config.roi_positive_fraction)
        drawn = sampler.draw(state_BN, targets["image_ids"], share, ROI_STREAM)
        boxes_BR4 = tf.gather(boxes_BN4, drawn.index_BS, batch_dims=1)
        objects_BR = tf.gather(object_BN, drawn.index_BS, batch_dims=1)
        labels_BR = tf.where(drawn.foreground_BS, tf.gather(targets["labels"], objects_BR, batch_dims=1), 0)
        wanted_BR4 = tf.gather(targets["boxes"], objects_BR, batch_dims=1)
        deltas_BR4 = self.boxes.encode(wanted_BR4, boxes_BR4, config.box_weights)
        return SampledRoIs(
            boxes=tf.where(drawn.used_BS[..., None], boxes_BR4, 0.0),
            objects=objects_BR,
            labels=labels_BR,
            deltas=tf.where(drawn.foreground_BS[..., None], deltas_BR4, 0.0),
            used=drawn.used_BS,
        )

    def box_loss_sums(self, logits_BRK: tf.Tensor, deltas_BRK4: tf.Tensor, sampled: SampledRoIs) -> Sums:
        """Cross entropy, and smooth L1 or Huber of the true class's offsets; sums over the RoIs, and their counts."""
        used_BR = tf.cast(sampled.used, tf.float32)
        foreground_BR = tf.cast(sampled.labels > 0, tf.float32)
        class_BR = tf.nn.sparse_softmax_cross_entropy_with_logits(sampled.labels, logits_BRK)
        pick_BRK = tf.one_hot(sampled.labels, self.config.num_classes)
        difference_BR4 = tf.reduce_sum(deltas_BRK4 * pick_BRK[..., None], axis=2) - sampled.deltas
        published = self.config.box_loss == "huber"
        box_BR4 = huber(difference_BR4, 1.0) if published else huber(difference_BR4, _BETA) / _BETA
        rois = tf.reduce_sum(used_BR)
        sums = [tf.reduce_sum(class_BR * used_BR), tf.reduce_sum(box_BR4 * foreground_BR[..., None])]
        return sums, [rois, 4 * tf.reduce_sum(foreground_BR) if published else rois]

    def detect(self, logits_BRK: tf.Tensor, deltas_BRK4: tf.Tensor, proposals: Proposals, sizes_B2: tf.Tensor) -> Found:
        """The best detections of each image: greedy NMS inside each class, exact whatever the number of candidates."""
        config = self.config
        scores_BRK = tf.nn.softmax(logits_BRK)[..., 1:]
        rois_BRK4 = tf.broadcast_to(proposals.boxes[:, :, None], (*scores_BRK.shape, 4))
        boxes_BRK4 = self.boxes.decode(deltas_BRK4[:, :, 1:], rois_BRK4, config.box_weights)
        boxes_BRK4 = self.boxes.clip(boxes_BRK4, sizes_B2)
        usable_BRK = (scores_BRK > config.score_threshold) & self.boxes.large_enough(
            boxes_BRK4, config.detection_min_size
        )
        scores_BRK = tf.where(usable_BRK & proposals.valid[..., None], scores_BRK, -1.0)
        rules = Suppression(config.detection_nms_iou, config.detections)
        scores_BD, index_BD = self.kernels.best_of_classes(boxes_BRK4, scores_BRK, rules)
        found_BD = scores_BD > 0
        flat_BN4 = tf.reshape(boxes_BRK4, (boxes_BRK4.shape[0], -1, 4))
        return Found(
            boxes=tf.where(found_BD[..., None], tf.gather(flat_BN4, index_BD, batch_dims=1), 0.0),
            scores=scores_BD,
            labels=tf.where(found_BD, index_BD % scores_BRK.shape[2] + 1, 0),
            count=tf.reduce_sum(tf.cast(found_BD, tf.int32), axis=1),
        )
