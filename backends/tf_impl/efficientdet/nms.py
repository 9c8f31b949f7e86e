"""From logits to detections: the best candidates, then hard or soft NMS, all of static shape and on the device.

Shapes: B images, N anchors, K classes, C candidates (pairs of anchor and class), D detections.
"""

from typing import NamedTuple

import tensorflow as tf

from backends.tf_impl.efficientdet.anchors import decode
from backends.tf_impl.efficientdet.config import EfficientDetConfig
from backends.tf_impl.ops import EDGES, TINY

_TAKEN = -1.0
"""Score of a candidate that cannot be picked any more."""


class Candidates(NamedTuple):
    """The best pairs of anchor and class of each image, by falling logit."""

    logits_BC: tf.Tensor
    """float32."""
    anchors_BC: tf.Tensor
    """int32, 0..N-1."""
    classes_BC: tf.Tensor
    """int32, 0..K-1."""


def best_candidates(logits_BNK: tf.Tensor, count: int) -> Candidates:
    """The highest logits of each image; of equal ones the first in the order anchor, class.

    Anchors are sieved by their best class before the pairs are: no pair among the best `count` can belong to an anchor
    that is not among the best `count`. That is exact for equal logits too, since the anchors are put back in order.
    """
    anchors, classes = logits_BNK.shape[1:]
    if count < anchors:
        peak_BN = tf.cast(tf.reduce_max(logits_BNK, axis=-1), tf.float32)
        index_BC = tf.sort(tf.math.top_k(peak_BN, count).indices, axis=-1)
        logits_BNK = tf.gather(logits_BNK, index_BC, batch_dims=1)
    else:
        index_BC = tf.tile(tf.range(anchors)[None], (logits_BNK.shape[0], 1))
    flat_BC = tf.cast(tf.reshape(logits_BNK, (logits_BNK.shape[0], -1)), tf.float32)
    top = tf.math.top_k(flat_BC, min(count, flat_BC.shape[1]))
    return Candidates(top.values, tf.gather(index_BC, top.indices // classes, batch_dims=1), top.indices % classes)


def detect(
    logits_BNK: tf.Tensor, codes_BN4: tf.Tensor, anchors_N4: tf.Tensor, sizes_B2: tf.Tensor, config: EfficientDetConfig
) -> dict[str, tf.Tensor]:
    """Detections of each image, see `EfficientDet.predict`."""
    best = best_candidates(logits_BNK, config.candidates)
    codes_BC4 = tf.gather(codes_BN4, best.anchors_BC, batch_dims=1)
    boxes_BC4 = EDGES.clip(decode(codes_BC4, tf.gather(anchors_N4, best.anchors_BC)), sizes_B2)
    index_BD, scores_BD = suppress(boxes_BC4, tf.sigmoid(best.logits_BC), best.classes_BC, config)
    found_BD = scores_BD > 0
    boxes_BD4 = tf.where(found_BD[..., None], tf.gather(boxes_BC4, index_BD, batch_dims=1), 0.0)
    labels_BD = tf.where(found_BD, tf.gather(best.classes_BC, index_BD, batch_dims=1) + 1, 0)
    counts_B = tf.reduce_sum(tf.cast(found_BD, tf.int32), axis=1)
    return {"boxes": boxes_BD4, "scores": scores_BD, "labels": labels_BD, "count": counts_B}


def suppress(
    boxes_BC4: tf.Tensor, scores_BC: tf.Tensor, classes_BC: tf.Tensor, config: EfficientDetConfig
) -> tuple[tf.Tensor, tf.Tensor]:
    """Non-maximum suppression inside each class, hard or soft (Bodla et al. 2017).

    Picks the best candidate that is left, lowers or removes what overlaps it in its class, and so on: as many rounds as
    detections are wanted, each over all candidates. Since a class never sees another and picks fall in score, that is
    what suppression class by class and then the best of all classes would give. For 100 of 5,000 it needs far fewer
    overlaps than `ops.greedy_nms`, which finds all that stay and knows no scores.

    Args:
        boxes_BC4: x1, y1, x2, y2.
        scores_BC: 0..1; of equal ones the first counts as the better.
        classes_BC: int32.
        config: which of the two, its numbers, and how many are wanted.

    Returns:
        Candidates int32 [B, D] and their scores float32 [B, D], best first; the score is 0 in slots that stay empty.
    """
    table = _Table(boxes_BC4, classes_BC)
    slots = tf.range(scores_BC.shape[1])
    first = (
        tf.constant(0),
        scores_BC,
        tf.TensorArray(tf.int32, config.max_detections, element_shape=scores_BC.shape[:1]),
        tf.TensorArray(tf.float32, config.max_detections, element_shape=scores_BC.shape[:1]),
    )

    def more(_: tf.Tensor, left_BC: tf.Tensor, *__: tf.TensorArray) -> tf.Tensor:
        return tf.reduce_any(left_BC > config.score_threshold)

    def pick(
        step: tf.Tensor, left_BC: tf.Tensor, indices: tf.TensorArray, scores: tf.TensorArray
    ) -> tuple[tf.Tensor, tf.Tensor, tf.TensorArray, tf.TensorArray]:
        index_B = tf.argmax(left_BC, axis=1, output_type=tf.int32)
        score_B = tf.gather(left_BC, index_B, batch_dims=1)
        score_B = tf.where(score_B > config.score_threshold, score_B, 0.0)
        left_BC = _lowered(left_BC, table.overlaps(index_B), config)
        left_BC = tf.where(slots == index_B[:, None], _TAKEN, left_BC)
        return step + 1, left_BC, indices.write(step, index_B), scores.write(step, score_B)

    _, _, indices, scores = tf.while_loop(more, pick, first, maximum_iterations=config.max_detections)
    return tf.transpose(indices.stack()), tf.transpose(scores.stack())


class _Table:
    """The candidates' edges, areas and classes as rows of their own, which every round reads from end to end."""

    def __init__(self, boxes_BC4: tf.Tensor, classes_BC: tf.Tensor) -> None:
        areas_BC, classes_BC = EDGES.areas(boxes_BC4), tf.cast(classes_BC, tf.float32)
        self.packed_BC6 = tf.concat((boxes_BC4, areas_BC[..., None], classes_BC[..., None]), axis=-1)
        self.rows = tf.unstack(self.packed_BC6, axis=-1)

    def overlaps(self, index_B: tf.Tensor) -> tf.Tensor:
        """Intersection over union of a candidate of each image with all of its class, [B, C]; 0 for the others."""
        one = tf.unstack(tf.gather(self.packed_BC6, index_B[:, None], batch_dims=1), axis=-1)
        x1_BC, y1_BC, x2_BC, y2_BC, areas_BC, classes_BC = self.rows
        width_BC = tf.maximum(tf.minimum(x2_BC, one[2]) - tf.maximum(x1_BC, one[0]), 0.0)
        height_BC = tf.maximum(tf.minimum(y2_BC, one[3]) - tf.maximum(y1_BC, one[1]), 0.0)
        both_BC = width_BC * height_BC
        iou_BC = both_BC / tf.maximum(one[4] + areas_BC - both_BC, TINY)
        return tf.where(classes_BC == one[5], iou_BC, 0.0)


def _lowered(left_BC: tf.Tensor, iou_BC: tf.Tensor, config: EfficientDetConfig) -> tf.Tensor:
    if config.nms == "hard":
        return tf.where(iou_BC > config.nms_iou, _TAKEN, left_BC)
    return left_BC * tf.exp(-iou_BC * iou_BC / config.nms_sigma)
