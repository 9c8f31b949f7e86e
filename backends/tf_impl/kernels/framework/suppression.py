"""Non-maximum suppression: greedy inside groups, over levels, over classes, and soft.

Shapes: B images, K boxes of an image, D wanted ones, R RoIs, C classes.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate

import tensorflow as tf

from backends.tf_impl.kernels.framework.overlap import box_iou
from backends.tf_impl.kernels.rules import SoftSuppression, Suppression

_TAKEN = -1.0
"""Score of a candidate that cannot be picked any more."""
_EMPTY = -1
"""Index in slots that stay empty."""

Lowering = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""Scores that are left, after a candidate of such overlaps with the others was taken."""


def nms(
    boxes_BK4: tf.Tensor, groups_BK: tf.Tensor | None, valid_BK: tf.Tensor | None, rules: Suppression
) -> tuple[tf.Tensor, tf.Tensor]:
    """The first boxes that greedy NMS inside each group keeps.

    Args:
        boxes_BK4: edges, float32, best first.
        groups_BK: int32; None: all are one group.
        valid_BK: bool, false for boxes that count for nothing; None: all count.
        rules: which go, and how many are wanted.

    Returns:
        Places of the boxes that stay, best first, -1 behind them, int32 [B, D]; how many they are, int32 [B].
    """
    valid_BK = tf.ones(boxes_BK4.shape[:2], tf.bool) if valid_BK is None else valid_BK
    if not boxes_BK4.shape[1]:
        return tf.fill((boxes_BK4.shape[0], rules.count), _EMPTY), tf.zeros(boxes_BK4.shape[:1], tf.int32)
    return _places(_kept(boxes_BK4, groups_BK, valid_BK, rules.iou), rules.count)


def _places(keep_BK: tf.Tensor, count: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Where the first `count` true values stand, -1 behind them, and how many they are."""
    length = keep_BK.shape[1]
    places_BK = tf.sort(tf.where(keep_BK, tf.range(length), length), axis=1)[:, :count]
    kept_BD = tf.pad(places_BK, ((0, 0), (0, max(0, count - length))), constant_values=length)
    return tf.where(kept_BD < length, kept_BD, _EMPTY), tf.reduce_sum(tf.cast(kept_BD < length, tf.int32), axis=1)


def _kept(boxes_GK4: tf.Tensor, groups_GK: tf.Tensor | None, valid_GK: tf.Tensor, iou: float) -> tf.Tensor:
    """Which boxes greedy NMS keeps, bool [G, K].

    A box stays unless a better one that stays overlaps it by more than `iou`. That is a fixed point, and the only one,
    since who suppresses whom is strictly ordered: starting from all, each round is right for at least one more box, so
    the rounds end with what one box after the other would have given. They are as many as the longest chain of boxes
    that decide about each other, about ten in practice, instead of K.
    """
    rank_K = tf.range(boxes_GK4.shape[1])
    # row: who goes; column: who sends it away
    over_GKK = (box_iou(boxes_GK4, boxes_GK4) > iou) & (rank_K[:, None] > rank_K)
    if groups_GK is not None:
        over_GKK &= groups_GK[:, :, None] == groups_GK[:, None]

    def again(keep_GK: tf.Tensor, before_GK: tf.Tensor) -> tf.Tensor:
        return tf.reduce_any(keep_GK != before_GK)

    def step(keep_GK: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return valid_GK & ~tf.reduce_any(over_GKK & keep_GK[:, None], axis=-1), keep_GK

    return tf.while_loop(again, step, (valid_GK, tf.zeros_like(valid_GK)))[0]


def best_of_levels(
    boxes_BK4: tf.Tensor, scores_BK: tf.Tensor, valid_BK: tf.Tensor, lengths: Sequence[int], rules: Suppression
) -> tf.Tensor:
    """The best boxes of each image after NMS inside each level.

    Args:
        boxes_BK4: edges, float32, the levels one after the other, each best first.
        scores_BK: float32, 0 or more.
        valid_BK: bool, false for boxes that count for nothing.
        lengths: how many boxes each level has; their sum is K.
        rules: which go, and how many are wanted.

    Returns:
        Places of the boxes, int32 [B, min(D, K)], by falling score, of equal ones the first; -1 behind them.
    """
    batch = boxes_BK4.shape[0]
    keep: dict[int, tf.Tensor] = {}
    starts = list(accumulate(lengths, initial=0))
    for length in sorted(set(lengths)):  # levels of one length times images at once
        which = [level for level, its in enumerate(lengths) if its == length]
        boxes_GK4, valid_GK = (
            tf.concat([part[:, starts[level] : starts[level] + length] for level in which], axis=0)
            for part in (boxes_BK4, valid_BK)
        )
        kept_GK = _kept(boxes_GK4, None, valid_GK, rules.iou)
        keep |= {level: kept_GK[batch * place : batch * (place + 1)] for place, level in enumerate(which)}
    keep_BK = tf.concat([keep[level] for level in range(len(lengths))], axis=1)
    top = tf.math.top_k(tf.where(keep_BK, scores_BK, -1.0), min(rules.count, sum(lengths)))
    return tf.where(top.values >= 0, top.indices, _EMPTY)


def best_of_classes(boxes_BRC4: tf.Tensor, scores_BRC: tf.Tensor, rules: Suppression) -> tuple[tf.Tensor, tf.Tensor]:
    """The best boxes that greedy NMS inside each class keeps, exact whatever the number of candidates.

    One after the other: take the best, and drop what overlaps it in its class. That is NMS of each class followed by a
    choice of the best of all, without ever ordering all R·C candidates.

    Args:
        boxes_BRC4: edges, float32.
        scores_BRC: float32; boxes whose score is not above 0 count for nothing.
        rules: which go, and how many are wanted.

    Returns:
        Scores, float32 [B, D], best first, and places among R·C, int32 [B, D]; both 0 in slots that stay empty.
    """
    batch, rois, classes = scores_BRC.shape
    columns_D, scores_BRC = tf.range(rules.count), tf.stop_gradient(scores_BRC)

    def take(number: tf.Tensor, left_BRC: tf.Tensor, picks: tuple[tf.Tensor, tf.Tensor]) -> tuple[object, ...]:
        flat_BN = tf.reshape(left_BRC, (batch, rois * classes))
        place_B = tf.argmax(flat_BN, axis=1, output_type=tf.int32)
        best_B = tf.reduce_max(flat_BN, axis=1)
        roi_B, class_B = place_B // classes, place_B % classes
        rows_BR4 = tf.gather(boxes_BRC4, class_B, axis=2, batch_dims=1)
        box_B14 = tf.gather(rows_BR4, roi_B[:, None], batch_dims=1)
        own_BR = tf.range(rois) == roi_B[:, None]
        gone_BR = (box_iou(box_B14, rows_BR4)[:, 0] > rules.iou) | own_BR
        gone_BRC = gone_BR[..., None] & (tf.range(classes) == class_B[:, None])[:, None]
        here_BD = (columns_D == number) & (best_B > 0)[:, None]
        scores_BD = tf.where(here_BD, best_B[:, None], picks[0])
        places_BD = tf.where(here_BD, place_B[:, None], picks[1])
        return number + 1, tf.where(gone_BRC, _TAKEN, left_BRC), (scores_BD, places_BD)

    picks = (tf.zeros((batch, rules.count)), tf.zeros((batch, rules.count), tf.int32))
    start = (tf.constant(0), tf.where(scores_BRC > 0, scores_BRC, _TAKEN), picks)
    return tf.while_loop(lambda number, *_: number < rules.count, take, start)[2]


def hard_nms(
    boxes_BK4: tf.Tensor, scores_BK: tf.Tensor, classes_BK: tf.Tensor, rules: Suppression, score_threshold: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """The best boxes that greedy NMS inside each class keeps; for 100 of 5,000 far cheaper than `nms`.

    Args:
        boxes_BK4: edges, float32, best first.
        scores_BK: float32, falling.
        classes_BK: int32.
        rules: which go, and how many are wanted.
        score_threshold: nothing is taken whose score is not above it; 0 or more.

    Returns:
        Places, int32 [B, D], and scores, float32 [B, D], best first; both 0 in slots that stay empty.
    """

    def lowered(left_BK: tf.Tensor, iou_BK: tf.Tensor) -> tf.Tensor:
        return tf.where(iou_BK > rules.iou, _TAKEN, left_BK)

    table = _Table(boxes_BK4, classes_BK)
    return _picked(table, scores_BK, lowered, (rules.count, score_threshold))


def soft_nms(
    boxes_BK4: tf.Tensor, scores_BK: tf.Tensor, classes_BK: tf.Tensor, rules: SoftSuppression
) -> tuple[tf.Tensor, tf.Tensor]:
    """Gaussian soft-NMS inside each class (Bodla et al. 2017).

    Args:
        boxes_BK4: edges, float32, in any order.
        scores_BK: float32, 0..1; of equal ones the first counts as the better, NaN is never taken.
        classes_BK: int32.
        rules: how scores fall, and how many boxes are wanted.

    Returns:
        Places, int32 [B, D], and scores as lowered, float32 [B, D], best first; both 0 in slots that stay empty.
    """

    def lowered(left_BK: tf.Tensor, iou_BK: tf.Tensor) -> tf.Tensor:
        return left_BK * tf.exp(-iou_BK * iou_BK / rules.sigma)

    table = _Table(boxes_BK4, classes_BK)
    return _picked(table, scores_BK, lowered, (rules.count, rules.score_threshold))


def _picked(
    table: "_Table", scores_BK: tf.Tensor, lowered: Lowering, limits: tuple[int, float]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Pick the best candidate that is left, lower or remove what overlaps it in its class, and so on.

    As many rounds as boxes are wanted, each over all candidates. Since a class never sees another and picks fall in
    score, that is what suppression class by class and then the best of all classes would give.
    """
    count, threshold = limits
    batch, length = scores_BK.shape
    if not length:
        return tf.zeros((batch, count), tf.int32), tf.zeros((batch, count))
    slots_K, scores_BK = tf.range(length), tf.stop_gradient(scores_BK)
    start = (
        tf.constant(0),
        tf.where(scores_BK > threshold, scores_BK, _TAKEN),  # NaN is not above
        tf.TensorArray(tf.int32, count, element_shape=(batch,)),
        tf.TensorArray(tf.float32, count, element_shape=(batch,)),
    )

    def more(_: tf.Tensor, left_BK: tf.Tensor, *__: tf.TensorArray) -> tf.Tensor:
        return tf.reduce_any(left_BK > threshold)

    def pick(
        step: tf.Tensor, left_BK: tf.Tensor, places: tf.TensorArray, scores: tf.TensorArray
    ) -> tuple[tf.Tensor, tf.Tensor, tf.TensorArray, tf.TensorArray]:
        place_B = tf.argmax(left_BK, axis=1, output_type=tf.int32)
        score_B = tf.gather(left_BK, place_B, batch_dims=1)
        found_B = score_B > threshold
        left_BK = lowered(left_BK, table.overlaps(place_B))
        left_BK = tf.where(slots_K == place_B[:, None], _TAKEN, left_BK)
        places = places.write(step, tf.where(found_B, place_B, 0))
        return step + 1, left_BK, places, scores.write(step, tf.where(found_B, score_B, 0.0))

    _, _, places, scores = tf.while_loop(more, pick, start, maximum_iterations=count)
    return tf.transpose(places.stack()), tf.transpose(scores.stack())


class _Table:
    """The candidates' edges, areas and classes as rows of their own, which every round reads from end to end."""

    def __init__(self, boxes_BK4: tf.Tensor, classes_BK: tf.Tensor) -> None:
        boxes_BK4 = tf.stop_gradient(boxes_BK4)
        areas_BK = (boxes_BK4[..., 2] - boxes_BK4[..., 0]) * (boxes_BK4[..., 3] - boxes_BK4[..., 1])
        classes_BK = tf.cast(classes_BK, tf.float32)
        self.packed_BK6 = tf.concat((boxes_BK4, areas_BK[..., None], classes_BK[..., None]), axis=-1)
        self.rows = tf.unstack(self.packed_BK6, axis=-1)

    def overlaps(self, place_B: tf.Tensor) -> tf.Tensor:
        """Intersection over union of a candidate of each image with all of its class, [B, K]; 0 for the others."""
        one = tf.unstack(tf.gather(self.packed_BK6, place_B[:, None], batch_dims=1), axis=-1)
        x1_BK, y1_BK, x2_BK, y2_BK, areas_BK, classes_BK = self.rows
        width_BK = tf.maximum(tf.minimum(x2_BK, one[2]) - tf.maximum(x1_BK, one[0]), 0.0)
        height_BK = tf.maximum(tf.minimum(y2_BK, one[3]) - tf.maximum(y1_BK, one[1]), 0.0)
        both_BK = width_BK * height_BK
        quotient_BK = both_BK / (one[4] + areas_BK - both_BK)
        return tf.where((classes_BK == one[5]) & (quotient_BK > 0), quotient_BK, 0.0)
