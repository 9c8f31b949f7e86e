"""Anchors, made once for each size of canvas, and the code of boxes relative to them.

Shapes: N anchors of all levels, ordered level, row, column, octave, aspect.
"""

from functools import lru_cache

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from backends.tf_impl.efficientdet.config import EfficientDetConfig

STRIDES = (8, 16, 32, 64, 128)
"""Of P3..P7."""
_TINY = 1e-7


@lru_cache(maxsize=64)
def anchors_of(config: EfficientDetConfig, height: int, width: int) -> NDArray[np.float32]:
    """x1, y1, x2, y2 of every anchor about the middle of its cell, float32 [N, 4]; some reach beyond the canvas.

    Raises:
        ValueError: height or width is no multiple of the coarsest stride.
    """
    if height % STRIDES[-1] or width % STRIDES[-1]:
        msg = f"images are {height} × {width}; multiples of {STRIDES[-1]} are needed, the stride of the coarsest level"
        raise ValueError(msg)
    return np.concatenate([_of_level(config, stride, height, width) for stride in STRIDES]).astype(np.float32)


def _of_level(config: EfficientDetConfig, stride: int, height: int, width: int) -> NDArray[np.float64]:
    sides_O = config.anchor_scale * stride * 2 ** (np.arange(config.octaves) / config.octaves)
    half_A2 = (sides_O[:, None, None] * np.array(config.aspects) / 2).reshape(-1, 2)
    y_HW, x_HW = np.mgrid[stride / 2 : height : stride, stride / 2 : width : stride]
    centre_C12 = np.stack((x_HW, y_HW), axis=-1).reshape(-1, 1, 2)
    return np.concatenate((centre_C12 - half_A2, centre_C12 + half_A2), axis=-1).reshape(-1, 4)


def encode(boxes_N4: tf.Tensor, anchors_N4: tf.Tensor) -> tf.Tensor:
    """Offsets (cy, cx, h, w) that turn anchors into boxes, [N, 4]; finite for a box without area too."""
    centre_N2, size_N2 = _centres(anchors_N4)
    target_N2, wanted_N2 = _centres(boxes_N4)
    wanted_N2 = tf.maximum(wanted_N2, _TINY)
    codes_N4 = tf.concat(((target_N2 - centre_N2) / size_N2, tf.math.log(wanted_N2 / size_N2)), axis=-1)
    return tf.gather(codes_N4, (1, 0, 3, 2), axis=-1)


def decode(codes_N4: tf.Tensor, anchors_N4: tf.Tensor) -> tf.Tensor:
    """Boxes x1, y1, x2, y2 that offsets make of anchors, float32 [..., N, 4]."""
    centre_N2, size_N2 = _centres(anchors_N4)
    codes_N4 = tf.gather(tf.cast(codes_N4, tf.float32), (1, 0, 3, 2), axis=-1)
    middle_N2 = codes_N4[..., :2] * size_N2 + centre_N2
    half_N2 = tf.exp(codes_N4[..., 2:]) * size_N2 / 2
    return tf.concat((middle_N2 - half_N2, middle_N2 + half_N2), axis=-1)


def _centres(boxes_N4: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    near_N2, far_N2 = boxes_N4[..., :2], boxes_N4[..., 2:]
    return (near_N2 + far_N2) / 2, far_N2 - near_N2
