"""Operations that both models share and that no kernel does: coding of boxes, levels of RoIs, doubling of images.

All arithmetic is float32 whatever the layers compute in, and every shape is known when a function is traced, so that
one body runs eagerly, under `tf.function` and under XLA. Boxes are x1, y1, x2, y2; `Boxes.inclusive` decides whether x2
and y2 are the last pixel inside (width = x2 - x1 + 1) or the far edge (width = x2 - x1).

Shapes: B images, N boxes, H and W rows and columns, C channels.
"""

import math
from dataclasses import dataclass

import tensorflow as tf

from backends.tf_impl.kernels.rules import LOG_SIZE_LIMIT, TINY

Weights = tuple[float, float]
"""Weight of dx and dy, weight of dw and dh."""


@dataclass(frozen=True, slots=True)
class Boxes:
    """Box arithmetic in one of the two conventions."""

    inclusive: bool

    @property
    def one(self) -> float:
        """What a width has beyond x2 - x1."""
        return 1.0 if self.inclusive else 0.0

    def sizes(self, boxes_N4: tf.Tensor) -> tf.Tensor:
        """Width and height, [..., 2]."""
        wh_N2 = boxes_N4[..., 2:] - boxes_N4[..., :2]
        return wh_N2 + self.one if self.inclusive else wh_N2

    def areas(self, boxes_N4: tf.Tensor) -> tf.Tensor:
        """Width times height, [...]."""
        sizes_N2 = self.sizes(boxes_N4)
        return sizes_N2[..., 0] * sizes_N2[..., 1]

    def clip(self, boxes_BN4: tf.Tensor, sizes_B2: tf.Tensor) -> tf.Tensor:
        """Move corners into each image (height, width): up to width, or width - 1 if inclusive; [B, ..., 4]."""
        height_B, width_B = (tf.cast(sizes_B2[:, axis], tf.float32) - self.one for axis in (0, 1))
        limit_B4 = tf.stack((width_B, height_B, width_B, height_B), axis=-1)
        shape = (-1,) + (1,) * (boxes_BN4.shape.rank - 2) + (4,)
        clipped_BN4 = tf.maximum(tf.minimum(boxes_BN4, tf.reshape(limit_B4, shape)), 0.0)
        # inclusive coding ends a box of less than a pixel before it begins
        return tf.concat((clipped_BN4[..., :2], tf.maximum(clipped_BN4[..., :2], clipped_BN4[..., 2:])), axis=-1)

    def encode(self, boxes_N4: tf.Tensor, anchors_N4: tf.Tensor, weights: Weights) -> tf.Tensor:
        """Offsets dx, dy, dw, dh that turn anchors into boxes, times the weights, [..., 4].

        Sides are kept above 0 so that a box without area gives finite offsets.
        """
        anchor_N2, size_N2 = (tf.maximum(self.sizes(part), TINY) for part in (anchors_N4, boxes_N4))
        centre_N2, target_N2 = anchors_N4[..., :2] + 0.5 * anchor_N2, boxes_N4[..., :2] + 0.5 * size_N2
        shift_N2 = weights[0] * (target_N2 - centre_N2) / anchor_N2
        return tf.concat((shift_N2, weights[1] * tf.math.log(size_N2 / anchor_N2)), axis=-1)

    def decode(self, deltas_N4: tf.Tensor, anchors_N4: tf.Tensor, weights: Weights) -> tf.Tensor:
        """Boxes that offsets make of anchors, [..., 4]; the inverse of `encode` up to the limit on dw and dh."""
        size_N2 = self.sizes(anchors_N4)
        centre_N2 = anchors_N4[..., :2] + 0.5 * size_N2
        shift_N2, scale_N2 = deltas_N4[..., :2], deltas_N4[..., 2:]
        centre_N2 = shift_N2 / weights[0] * size_N2 + centre_N2
        half_N2 = 0.5 * (tf.exp(tf.minimum(scale_N2 / weights[1], LOG_SIZE_LIMIT)) * size_N2)
        return tf.concat((centre_N2 - half_N2, centre_N2 + half_N2 - self.one), axis=-1)

    def large_enough(self, boxes_N4: tf.Tensor, min_size: float) -> tf.Tensor:
        """Whether both sides reach `min_size`, bool [...]."""
        return tf.reduce_all(self.sizes(boxes_N4) >= min_size, axis=-1)


EDGES = Boxes(inclusive=False)


def roi_levels(rois_N4: tf.Tensor, levels: int, eps: float) -> tf.Tensor:
    """Pyramid level of each RoI as an index from P2, int32 [...] (FPN paper, equation 1: 224 px belongs to P4)."""
    octave_N = tf.math.log(tf.sqrt(tf.maximum(EDGES.areas(rois_N4), 0.0)) / 224) / math.log(2) + eps
    return tf.cast(tf.clip_by_value(tf.floor(4 + octave_N), 2.0, 1.0 + levels), tf.int32) - 2


def upsample(x_BHWC: tf.Tensor) -> tf.Tensor:
    """Every pixel twice in both directions, [B, 2H, 2W, C]; by broadcast, as XLA has no gradient of a resize."""
    batch, height, width, channels = x_BHWC.shape
    spread = tf.broadcast_to(x_BHWC[:, :, None, :, None], (batch, height, 2, width, 2, channels))
    return tf.reshape(spread, (batch, 2 * height, 2 * width, channels))
