"""Masks of boxes pasted into the image.

Shapes: N boxes, S pixels a side of a mask, H and W of the image.
"""

import tensorflow as tf


def paste_masks(
    masks_NSS: tf.Tensor, boxes_N4: tf.Tensor, height: int, width: int, *, threshold: float = 0.5
) -> tf.Tensor:
    """Stretch each mask over its box in a `height` × `width` image and cut at the threshold, bool [N, height, width].

    Mask R-CNN's published rule, which both flavours share: a border of one pixel of zeros, the box grown by the same
    factor about its centre and truncated to integers, bilinear interpolation with half-pixel centres onto all pixels
    from x1 to x2 inclusive. Works through a few masks at a time so that the float image stays below 64 MiB.
    """
    corners_N4 = _grown_corners(boxes_N4, masks_NSS.shape[-1])
    padded_NSS = tf.pad(tf.cast(masks_NSS, tf.float32), ((0, 0), (1, 1), (1, 1)))
    step = max(1, (16 << 20) // max(1, height * width))
    parts = [
        _stretch(padded_NSS[start : start + step], corners_N4[start : start + step], height, width) > threshold
        for start in range(0, masks_NSS.shape[0], step)
    ]
    return tf.concat(parts, axis=0) if parts else tf.zeros((0, height, width), tf.bool)


def _grown_corners(boxes_N4: tf.Tensor, side: int) -> tf.Tensor:
    boxes_N4 = tf.cast(boxes_N4, tf.float32)
    scale = (side + 2) / side
    half_N2 = (boxes_N4[:, 2:] - boxes_N4[:, :2]) * 0.5 * scale
    centre_N2 = (boxes_N4[:, 2:] + boxes_N4[:, :2]) * 0.5
    corners_N4 = tf.concat((centre_N2 - half_N2, centre_N2 + half_N2), axis=1)
    finite_N1 = tf.reduce_all(tf.math.is_finite(corners_N4), axis=1, keepdims=True)
    truncated_N4 = tf.sign(corners_N4) * tf.floor(tf.abs(corners_N4))
    return tf.where(finite_N1, truncated_N4, (0.0, 0.0, -1.0, -1.0))  # those hold no pixel


def _stretch(masks_NSS: tf.Tensor, corners_N4: tf.Tensor, height: int, width: int) -> tf.Tensor:
    rows_NHS = _weights(corners_N4[:, 1], corners_N4[:, 3], height, masks_NSS.shape[-1])
    cols_NWS = _weights(corners_N4[:, 0], corners_N4[:, 2], width, masks_NSS.shape[-1])
    return tf.matmul(rows_NHS @ masks_NSS, cols_NWS, transpose_b=True)


def _weights(near_N: tf.Tensor, far_N: tf.Tensor, length: int, side: int) -> tf.Tensor:
    """Bilinear weights of every mask row on every image row, [N, length, side]; zero outside the box."""
    extent_N = tf.maximum(far_N - near_N + 1, 1.0)
    pixel_L = tf.range(length, dtype=tf.float32)
    inside_NL = (pixel_L >= near_N[:, None]) & (pixel_L <= far_N[:, None])
    source_NL = (pixel_L - near_N[:, None] + 0.5) * (side / extent_N[:, None]) - 0.5
    source_NL = tf.clip_by_value(source_NL, 0.0, side - 1.0)
    weight_NLS = tf.maximum(1 - tf.abs(source_NL[..., None] - tf.range(side, dtype=tf.float32)), 0.0)
    return weight_NLS * tf.cast(inside_NL, tf.float32)[..., None]
