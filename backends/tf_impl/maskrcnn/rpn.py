"""Region proposals: the head, what it learns, and the boxes it proposes.

Shapes: B images, A anchors a position, N anchors of an image over all levels, M padded objects, K kept before NMS,
R proposals of an image, S sampled anchors.
"""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from backends.tf_impl.kernels import Kernels, Level, Selection, Suppression, Thresholds, framework
from backends.tf_impl.layers import Conv
from backends.tf_impl.maskrcnn.anchors import GridSize, make_anchors
from backends.tf_impl.maskrcnn.config import MaskRCNNConfig
from backends.tf_impl.maskrcnn.matching import Drawn, Sampler
from backends.tf_impl.ops import Boxes

ANCHOR_STREAM = 0
_UNIT = (1.0, 1.0)
_BETA = 1 / 9

Sums = tuple[list[tf.Tensor], list[tf.Tensor]]
"""Losses summed, and the counts that divide them, in the order of `MaskRCNN.losses`."""


class RPNOutputs(NamedTuple):
    """What the head says of every anchor, float32, anchors ordered level, row, column, ratio."""

    logits: list[tf.Tensor]
    """Objectness of each level, [B, N_level]."""
    deltas: list[tf.Tensor]
    """dx, dy, dw, dh of each level, [B, N_level, 4]."""
    anchors: list[tf.Tensor]
    """Anchors of each level, [N_level, 4], the same for every image."""


class Proposals(NamedTuple):
    """Boxes of each image, best first, padded to a fixed number."""

    boxes: tf.Tensor
    """float32 [B, R, 4]; zeros in padding."""
    scores: tf.Tensor
    """Probability of an object, float32 [B, R]; zeros in padding."""
    valid: tf.Tensor
    """bool [B, R]."""


class RPNHead(tf.Module):
    """One 3×3 convolution and two 1×1 convolutions, shared by all levels."""

    def __init__(self, channels: int, anchors: int, dtype: tf.DType) -> None:
        super().__init__()
        self.conv = [[Conv((channels, channels), 3, padding=1, dtype=dtype)]]
        self.cls_logits = Conv((channels, anchors), 1, dtype=dtype)
        self.bbox_pred = Conv((channels, 4 * anchors), 1, dtype=dtype)

    def __call__(self, features: Sequence[tf.Tensor]) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Logits [B, H·W·A] and deltas [B, H·W·A, 4] of each level, float32, ordered row, column, anchor."""
        hidden = [tf.nn.relu(self.conv[0][0](feature)) for feature in features]
        batch = hidden[0].shape[0]
        logits = [tf.cast(tf.reshape(self.cls_logits(x), (batch, -1)), tf.float32) for x in hidden]
        deltas = [tf.cast(tf.reshape(self.bbox_pred(x), (batch, -1, 4)), tf.float32) for x in hidden]
        return logits, deltas


class RPN(tf.Module):
    """Proposals and their losses; only the head has parameters."""

    def __init__(self, config: MaskRCNNConfig, dtype: tf.DType, kernels: Kernels = framework) -> None:
        super().__init__()
        self.config, self.kernels = config, kernels
        self.boxes = Boxes(inclusive=config.inclusive_coding)
        self.target_boxes = Boxes(inclusive=config.inclusive_rpn_targets)
        self.head = RPNHead(config.fpn_channels, len(config.anchor_aspects), dtype)

    def __call__(self, features: Sequence[tf.Tensor], padded: GridSize) -> RPNOutputs:
        """Run the head over P2..P6 of a batch padded to `padded` (height, width)."""
        grids = [(feature.shape[1], feature.shape[2]) for feature in features]
        return RPNOutputs(*self.head(features), make_anchors(self.config, padded, grids))

    def propose(self, outputs: RPNOutputs, sizes_B2: tf.Tensor, *, training: bool) -> Proposals:
        """The best boxes of each image after NMS inside each level; no gradient flows through them."""
        config = self.config
        levels = [self._best(*level, training=training) for level in zip(*outputs, strict=True)]
        rules = Selection(self.boxes.inclusive, min_size=config.rpn_min_size)
        found = self.kernels.select_boxes(levels, sizes_B2, rules)
        limit = config.rpn_post_nms_train if training else config.rpn_post_nms_test
        lengths = [level.indices_BK.shape[1] for level in levels]
        index_BR = self.kernels.best_of_levels(*found, lengths, Suppression(config.rpn_nms_iou, limit))
        valid_BR, index_BR = index_BR >= 0, tf.maximum(index_BR, 0)
        boxes_BR4, scores_BR = (tf.gather(part, index_BR, batch_dims=1) for part in found[:2])
        boxes_BR4 = tf.where(valid_BR[..., None], boxes_BR4, 0.0)
        return Proposals(boxes_BR4, tf.where(valid_BR, scores_BR, 0.0), valid_BR)

    def _best(self, logits_BN: tf.Tensor, deltas_BN4: tf.Tensor, anchors_N4: tf.Tensor, *, training: bool) -> Level:
        """The anchors of highest logit of a level."""
        count = self.config.rpn_pre_nms_train if training else self.config.rpn_pre_nms_test
        top = tf.math.top_k(tf.stop_gradient(logits_BN), min(count, logits_BN.shape[1]))
        return Level(top.indices, top.values, tf.stop_gradient(deltas_BN4), anchors_N4)

    def assign(self, anchors_N4: tf.Tensor, targets: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Object of each anchor and its state, int32 [B, N]: 1 foreground, 0 background, -1 ignored."""
        config = self.config
        rules = Thresholds(config.rpn_fg_iou, config.rpn_bg_iou, keep=config.rpn_keep_best)
        return self.kernels.match(targets["boxes"], targets["labels"] > 0, anchors_N4, rules)

    def loss_sums(self, outputs: RPNOutputs, targets: dict[str, tf.Tensor], sampler: Sampler) -> Sums:
        """Objectness and box losses summed, and their counts, as `rpn_loss` of the config has them."""
        config = self.config
        anchors_N4 = tf.concat(outputs.anchors, axis=0)
        object_BN, state_BN = self.assign(anchors_N4, targets)
        share = (config.rpn_samples, config.rpn_positive_fraction)
        drawn = sampler.draw(state_BN, targets["image_ids"], share, ANCHOR_STREAM)
        logits_BS = tf.gather(tf.concat(outputs.logits, axis=1), drawn.index_BS, batch_dims=1)
        wanted_BS = tf.cast(drawn.foreground_BS, tf.float32)
        used_BS = tf.cast(drawn.used_BS, tf.float32)
        loss_BS = tf.nn.sigmoid_cross_entropy_with_logits(wanted_BS, logits_BS)
        objectness, count = tf.reduce_sum(loss_BS * used_BS), tf.reduce_sum(used_BS)
        if config.rpn_loss == "matched":
            box_sums, box_counts = self._matched_box_loss(outputs, targets, object_BN, state_BN)
            slots = tf.constant(float(logits_BS.shape[0] * config.rpn_samples))
            return [objectness, *box_sums], [slots, *box_counts]
        box = self._sampled_box_loss(outputs, targets["boxes"], object_BN, drawn)
        return [objectness, box], [count, count]

    def _sampled_box_loss(
        self, outputs: RPNOutputs, objects_BM4: tf.Tensor, object_BN: tf.Tensor, drawn: Drawn
    ) -> tf.Tensor:
        """Smooth L1 of the sampled foreground anchors; only sampled slots are gathered and encoded."""
        anchors_BS4 = tf.gather(tf.concat(outputs.anchors, axis=0), drawn.index_BS)
        object_BS = tf.gather(object_BN, drawn.index_BS, batch_dims=1)
        wanted_BS4 = self.target_boxes.encode(tf.gather(objects_BM4, object_BS, batch_dims=1), anchors_BS4, _UNIT)
        wanted_BS4 = tf.where(drawn.foreground_BS[..., None], wanted_BS4, 0.0)
        deltas_BS4 = tf.gather(tf.concat(outputs.deltas, axis=1), drawn.index_BS, batch_dims=1)
        loss_BS4 = huber(deltas_BS4 - wanted_BS4, _BETA) / _BETA
        return tf.reduce_sum(tf.where(drawn.foreground_BS[..., None], loss_BS4, 0.0))

    def _matched_box_loss(
        self, outputs: RPNOutputs, targets: dict[str, tf.Tensor], object_BN: tf.Tensor, state_BN: tf.Tensor
    ) -> Sums:
        """Huber of every foreground anchor, by level; offsets whose target is just 0 neither add nor count."""
        counts = [level.shape[1] for level in outputs.deltas]
        parts = (outputs.deltas, outputs.anchors, tf.split(object_BN, counts, 1), tf.split(state_BN, counts, 1))
        sums, divisors = [], []
        for deltas_BN4, anchors_N4, level_object_BN, level_state_BN in zip(*parts, strict=True):
            objects_BN4 = tf.gather(targets["boxes"], level_object_BN, batch_dims=1)
            wanted_BN4 = self.target_boxes.encode(objects_BN4, anchors_N4[None], _UNIT)
            learns_BN4 = (level_state_BN == 1)[..., None] & (wanted_BN4 != 0)
            # what an image without objects would learn is huge, and 0 times that has a gradient of nan
            loss_BN4 = huber(deltas_BN4 - tf.where(learns_BN4, wanted_BN4, 0.0), _BETA)
            sums.append(tf.reduce_sum(tf.where(learns_BN4, loss_BN4, 0.0)))
            divisors.append(tf.reduce_sum(tf.cast(learns_BN4, tf.float32)))
        return sums, divisors


def huber(difference: tf.Tensor, delta: float) -> tf.Tensor:
    """Half the square up to delta, linear beyond, element by element; over delta this is smooth L1 with beta delta."""
    size = tf.abs(difference)
    return tf.where(size < delta, 0.5 * size * size, delta * (size - 0.5 * delta))
