"""Which object an anchor learns, and what it learns of it.

Shapes: B images, M slots for objects, N anchors.
"""

import tensorflow as tf

from backends.tf_impl.efficientdet.anchors import encode
from backends.tf_impl.kernels import Kernels, Thresholds, framework

BACKGROUND = -1


def assign(
    boxes_BM4: tf.Tensor, labels_BM: tf.Tensor, anchors_N4: tf.Tensor, iou: float, kernels: Kernels = framework
) -> tuple[tf.Tensor, tf.Tensor]:
    """Class and box code that each anchor of each image learns.

    An anchor takes the object that it overlaps most, if by at least `iou`. Then every object takes its best anchor
    whatever the overlap, the first of several objects first; but an object that overlaps no anchor takes none, where
    published code gives it the first anchor of all.

    Args:
        boxes_BM4: x1, y1, x2, y2 of the objects, float32.
        labels_BM: their classes, int32, 1..K; 0 marks an empty slot.
        anchors_N4: float32.
        iou: an anchor with at least this overlap is foreground.
        kernels: what matches.

    Returns:
        Class of each anchor, int32 [B, N], 0..K-1 or `BACKGROUND`, and its code, float32 [B, N, 4], 0 where background.
    """
    object_BN, state_BN = kernels.match(boxes_BM4, labels_BM > 0, anchors_N4, Thresholds(iou, iou, keep="first"))
    found_BN = state_BN == 1
    class_BN = tf.where(found_BN, tf.gather(labels_BM, object_BN, batch_dims=1) - 1, BACKGROUND)
    codes_BN4 = encode(tf.gather(boxes_BM4, object_BN, batch_dims=1), anchors_N4)
    return class_BN, tf.where(found_BN[..., None], codes_BN4, 0.0)
