"""Overlaps of boxes, and which object each candidate learns.

Shapes: B images, M padded objects, N candidates (anchors or proposals).
"""

import tensorflow as tf

from backends.tf_impl.kernels.rules import Thresholds


def box_iou(left_M4: tf.Tensor, right_N4: tf.Tensor, *, inclusive: bool = False) -> tf.Tensor:
    """Intersection over union of every pair, float32 [..., M, N]; no gradient flows through it.

    Boxes without area overlap nothing, not even themselves; nor do boxes with a coordinate that is NaN.

    Args:
        left_M4: float32 [..., M, 4].
        right_N4: float32 [..., N, 4].
        inclusive: x2 and y2 are the last pixel inside.
    """
    left_M4, right_N4 = (tf.stop_gradient(tf.cast(boxes, tf.float32)) for boxes in (left_M4, right_N4))
    one = 1.0 if inclusive else 0.0
    sides = []
    for axis in (0, 1):
        far = tf.minimum(left_M4[..., :, None, axis + 2], right_N4[..., None, :, axis + 2])
        near = tf.maximum(left_M4[..., :, None, axis], right_N4[..., None, :, axis])
        sides.append(tf.maximum(far - near + one, 0.0))
    both_MN = sides[0] * sides[1]
    union_MN = _areas(left_M4, one)[..., :, None] + _areas(right_N4, one)[..., None, :] - both_MN
    quotient_MN = both_MN / union_MN
    return tf.where(quotient_MN > 0, quotient_MN, 0.0)


def _areas(boxes_N4: tf.Tensor, one: float) -> tf.Tensor:
    return (boxes_N4[..., 2] - boxes_N4[..., 0] + one) * (boxes_N4[..., 3] - boxes_N4[..., 1] + one)


def match(
    objects_BM4: tf.Tensor, present_BM: tf.Tensor, candidates: tf.Tensor, rules: Thresholds, *, inclusive: bool = False
) -> tuple[tf.Tensor, tf.Tensor]:
    """Assign to each candidate the object it overlaps most.

    Works through the images one by one, so that only one table of overlaps is held.

    Args:
        objects_BM4: float32.
        present_BM: bool, false in padding.
        candidates: float32, [N, 4] of every image or [B, N, 4].
        rules: thresholds.
        inclusive: x2 and y2 are the last pixel inside.

    Returns:
        Object of each candidate, int32 [B, N] (0 where there is none), and its state, int32 [B, N]: 1 foreground,
        0 background, -1 ignored.
    """
    batch, objects = objects_BM4.shape[:2]
    count = candidates.shape[-2]
    if not (batch and objects and count):
        return tf.zeros((batch, count), tf.int32), tf.zeros((batch, count), tf.int32)

    def one_image(image: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, tf.Tensor]:
        objects_M4, present_M, *own = image
        iou_MN = box_iou(objects_M4, own[0] if own else candidates, inclusive=inclusive)
        return _match_image(tf.where(present_M[:, None], iou_MN, -1.0), rules)

    images = (objects_BM4, present_BM) if candidates.shape.rank == 2 else (objects_BM4, present_BM, candidates)
    if batch == 1:
        object_N, state_N = one_image(tuple(part[0] for part in images))
        return object_N[None], state_N[None]
    found = (tf.TensorSpec((count,), tf.int32), tf.TensorSpec((count,), tf.int32))
    object_BN, state_BN = tf.map_fn(one_image, images, parallel_iterations=1, fn_output_signature=found)
    return object_BN, state_BN


def _match_image(iou_MN: tf.Tensor, rules: Thresholds) -> tuple[tf.Tensor, tf.Tensor]:
    """Object and state of each candidate; the overlap of an absent object is -1."""
    best_N = tf.reduce_max(iou_MN, axis=0)
    object_N = tf.argmax(iou_MN, axis=0, output_type=tf.int32)
    foreground_N = best_N > rules.foreground if rules.strict else best_N >= rules.foreground
    top_M = tf.reduce_max(iou_MN, axis=1)
    if rules.keep == "ties":
        foreground_N |= tf.reduce_any((iou_MN == top_M[:, None]) & (top_M > 0)[:, None], axis=0)
    elif rules.keep == "first":
        first_M = tf.where(top_M > 0, tf.argmax(iou_MN, axis=1, output_type=tf.int32), -1)
        count = iou_MN.shape[0]
        taker_N = tf.math.unsorted_segment_min(tf.range(count), first_M, iou_MN.shape[1])
        foreground_N |= taker_N < count
        object_N = tf.where(taker_N < count, taker_N, object_N)
    ignored_N = ~foreground_N & (best_N >= rules.background)
    return object_N, tf.cast(foreground_N, tf.int32) - tf.cast(ignored_N, tf.int32)
