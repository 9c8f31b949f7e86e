"""Which object an anchor learns, and what it learns of it.

Shapes: B images, M slots for objects, N anchors.
"""

import tensorflow as tf

from backends.tf_impl.efficientdet.anchors import encode
from backends.tf_impl.ops import EDGES

BACKGROUND = -1
_NEVER = -1.0
"""Overlap of an empty slot: less than that of any object."""


def assign(
    boxes_BM4: tf.Tensor, labels_BM: tf.Tensor, anchors_N4: tf.Tensor, iou: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Class and box code that each anchor of each image learns.

    Works through the images one by one, so that only one [M, N] table of overlaps is held.

    Args:
        boxes_BM4: x1, y1, x2, y2 of the objects, float32.
        labels_BM: their classes, int32, 1..K; 0 marks an empty slot.
        anchors_N4: float32.
        iou: an anchor with at least this overlap is foreground.

    Returns:
        Class of each anchor, int32 [B, N], 0..K-1 or `BACKGROUND`, and its code, float32 [B, N, 4], 0 where background.
    """
    wanted = (tf.TensorSpec(anchors_N4.shape[:1], tf.int32), tf.TensorSpec(anchors_N4.shape, tf.float32))
    class_BN, code_BN4 = tf.map_fn(
        lambda image: _assign_image(image[0], image[1], anchors_N4, iou),
        (boxes_BM4, labels_BM),
        fn_output_signature=wanted,
    )
    # targets are constants: a gradient of the loop would need its history, which cannot leave an XLA cluster
    return class_BN, tf.stop_gradient(code_BN4)


def _assign_image(
    boxes_M4: tf.Tensor, labels_M: tf.Tensor, anchors_N4: tf.Tensor, iou: float
) -> tuple[tf.Tensor, tf.Tensor]:
    iou_MN = tf.where(labels_M[:, None] > 0, EDGES.iou(boxes_M4, anchors_N4), _NEVER)
    object_N = match(iou_MN, iou)
    found_N = object_N >= 0
    index_N = tf.maximum(object_N, 0)
    class_N = tf.where(found_N, tf.gather(labels_M, index_N) - 1, BACKGROUND)
    codes_N4 = encode(tf.gather(boxes_M4, index_N), anchors_N4)
    return class_N, tf.where(found_N[:, None], codes_N4, 0.0)


def match(iou_MN: tf.Tensor, foreground: float) -> tf.Tensor:
    """Object of each anchor, int32 [N], -1 for background.

    An anchor takes the object that it overlaps most, if by at least `foreground`. Then every object takes its best
    anchor whatever the overlap, the first of several objects first; but an object that overlaps no anchor takes none,
    where published code gives it the first anchor of all.
    """
    count = iou_MN.shape[0]
    own_N = tf.where(tf.reduce_max(iou_MN, axis=0) >= foreground, tf.argmax(iou_MN, axis=0, output_type=tf.int32), -1)
    anchor_M = tf.argmax(iou_MN, axis=1, output_type=tf.int32)
    anchor_M = tf.where(tf.reduce_max(iou_MN, axis=1) > 0, anchor_M, -1)
    taken_N = tf.math.unsorted_segment_min(tf.range(count), anchor_M, iou_MN.shape[1])
    return tf.where(taken_N < count, taken_N, own_N)
