"""From chosen anchors to boxes.

Shapes: B images, N anchors of a level, K chosen ones, of a level or of all.
"""

from collections.abc import Sequence

import tensorflow as tf

from backends.tf_impl.kernels.levels import Level, Selected
from backends.tf_impl.kernels.rules import Selection


def select_boxes(levels: Sequence[Level], sizes_B2: tf.Tensor, rules: Selection) -> Selected:
    """Gather, decode and clip chosen anchors, and sieve them by size; no gradient flows through them.

    Args:
        levels: what was chosen of each.
        sizes_B2: height and width of each image's valid area.
        rules: how.

    Returns:
        Boxes of all levels, in the levels' order.
    """
    sizes_B2 = tf.cast(sizes_B2, tf.float32)
    parts = [_select(Level(*map(tf.stop_gradient, level)), sizes_B2, rules) for level in levels]
    return Selected(*(tf.concat(column, axis=1) for column in zip(*parts, strict=True)))


def _select(level: Level, sizes_B2: tf.Tensor, rules: Selection) -> Selected:
    one, last = 1.0 if rules.inclusive else 0.0, level.anchors_N4.shape[0] - 1
    inside_BK = (level.indices_BK >= 0) & (level.indices_BK <= last)
    index_BK = tf.clip_by_value(level.indices_BK, 0, last)
    deltas_BK4 = tf.cast(tf.gather(level.deltas_BN4, index_BK, batch_dims=1), tf.float32)
    boxes_BK4 = _decoded(deltas_BK4, tf.gather(level.anchors_N4, index_BK), rules, one)
    boxes_BK4 = _clipped(boxes_BK4, sizes_B2 - one, ordered=rules.ordered)
    sides_BK2 = boxes_BK4[..., 2:] - boxes_BK4[..., :2] + one
    scores_BK = tf.sigmoid(tf.cast(level.logits_BK, tf.float32))
    large_BK = tf.reduce_all(sides_BK2 >= rules.min_size, axis=-1)
    return Selected(boxes_BK4, scores_BK, inside_BK & large_BK & ~tf.math.is_nan(scores_BK))


def _decoded(deltas_K4: tf.Tensor, anchors_K4: tf.Tensor, rules: Selection, one: float) -> tf.Tensor:
    """Boxes that offsets make of anchors (R-CNN), [..., 4]."""
    size_K2 = anchors_K4[..., 2:] - anchors_K4[..., :2] + one
    centre_K2 = anchors_K4[..., :2] + 0.5 * size_K2
    weight_xy, weight_wh = rules.weights
    centre_K2 = deltas_K4[..., :2] / weight_xy * size_K2 + centre_K2
    half_K2 = 0.5 * (tf.exp(tf.minimum(deltas_K4[..., 2:] / weight_wh, rules.log_limit)) * size_K2)
    return tf.concat((centre_K2 - half_K2, centre_K2 + half_K2 - one), axis=-1)


def _clipped(boxes_BK4: tf.Tensor, limits_B2: tf.Tensor, *, ordered: bool) -> tf.Tensor:
    """Corners moved into 0..limit (rows, columns) of each image, [B, K, 4]."""
    limit_B14 = tf.gather(limits_B2, (1, 0, 1, 0), axis=1)[:, None]
    clipped_BK4 = tf.maximum(tf.minimum(boxes_BK4, limit_B14), 0.0)
    near_BK2, far_BK2 = clipped_BK4[..., :2], clipped_BK4[..., 2:]
    return tf.concat((near_BK2, tf.maximum(near_BK2, far_BK2)), axis=-1) if ordered else clipped_BK4
