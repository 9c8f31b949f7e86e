"""From logits to detections: the best candidates, then hard or soft NMS, all of static shape and on the device.

Shapes: B images, N anchors, K classes, C candidates (pairs of anchor and class), D detections.
"""

from typing import NamedTuple

import tensorflow as tf

from backends.tf_impl.efficientdet.anchors import decode
from backends.tf_impl.efficientdet.config import EfficientDetConfig
from backends.tf_impl.kernels import Kernels, SoftSuppression, Suppression, framework
from backends.tf_impl.ops import EDGES


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
    outputs: tuple[tf.Tensor, tf.Tensor],
    anchors_N4: tf.Tensor,
    sizes_B2: tf.Tensor,
    config: EfficientDetConfig,
    kernels: Kernels = framework,
) -> dict[str, tf.Tensor]:
    """Detections of each image, see `EfficientDet.predict`.

    Args:
        outputs: class logits [B, N, K] and box codes [B, N, 4].
        anchors_N4: float32.
        sizes_B2: height and width of each image's valid area.
        config: how many candidates and detections, and which NMS.
        kernels: what suppresses.
    """
    logits_BNK, codes_BN4 = outputs
    best = best_candidates(logits_BNK, config.candidates)
    codes_BC4 = tf.gather(codes_BN4, best.anchors_BC, batch_dims=1)
    boxes_BC4 = EDGES.clip(decode(codes_BC4, tf.gather(anchors_N4, best.anchors_BC)), sizes_B2)
    index_BD, scores_BD = suppress(boxes_BC4, tf.sigmoid(best.logits_BC), best.classes_BC, config, kernels)
    found_BD = scores_BD > 0
    boxes_BD4 = tf.where(found_BD[..., None], tf.gather(boxes_BC4, index_BD, batch_dims=1), 0.0)
    labels_BD = tf.where(found_BD, tf.gather(best.classes_BC, index_BD, batch_dims=1) + 1, 0)
    counts_B = tf.reduce_sum(tf.cast(found_BD, tf.int32), axis=1)
    return {"boxes": boxes_BD4, "scores": scores_BD, "labels": labels_BD, "count": counts_B}


def suppress(
    boxes_BC4: tf.Tensor,
    scores_BC: tf.Tensor,
    classes_BC: tf.Tensor,
    config: EfficientDetConfig,
    kernels: Kernels = framework,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Non-maximum suppression inside each class, hard or soft (Bodla et al. 2017).

    Args:
        boxes_BC4: x1, y1, x2, y2.
        scores_BC: 0..1, falling.
        classes_BC: int32.
        config: which of the two, its numbers, and how many are wanted.
        kernels: what suppresses.

    Returns:
        Candidates int32 [B, D] and their scores float32 [B, D], best first; the score is 0 in slots that stay empty.
    """
    if config.nms == "hard":
        rules = Suppression(config.nms_iou, config.max_detections)
        return kernels.hard_nms(boxes_BC4, scores_BC, classes_BC, rules, config.score_threshold)
    soft = SoftSuppression(config.nms_sigma, config.score_threshold, config.max_detections)
    return kernels.soft_nms(boxes_BC4, scores_BC, classes_BC, soft)
