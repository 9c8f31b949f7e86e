"""Operations that both stages and both flavours share: boxes, NMS, RoIAlign over levels, pasting of masks.

All arithmetic is float32 whatever the layers compute in, and every shape is known when a function is traced, so that
one body runs eagerly, under `tf.function` and under XLA. Boxes are x1, y1, x2, y2; `Boxes.inclusive` decides whether x2
and y2 are the last pixel inside (width = x2 - x1 + 1) or the far edge (width = x2 - x1).

Shapes: B images, G groups, N boxes, M objects, K boxes of a group, R RoIs, C channels, H and W rows and columns, S
pixels a side of a mask.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tensorflow as tf

LOG_SIZE_LIMIT = math.log(1000 / 16)
"""Upper bound of dw and dh before they are exponentiated."""
TINY = 1.1754943508222875e-38
"""The smallest normal float32."""

Weights = tuple[float, float]
"""Weight of dx and dy, weight of dw and dh."""
Taps = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
"""Indices and weights of the n-th of the pixels that each output is a sum of."""


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

    def iou(self, left_M4: tf.Tensor, right_N4: tf.Tensor) -> tf.Tensor:
        """Intersection over union, [..., M, N]; boxes without area overlap nothing, not even themselves."""
        sides = []
        for axis in (0, 1):
            far = tf.minimum(left_M4[..., :, None, axis + 2], right_N4[..., None, :, axis + 2])
            near = tf.maximum(left_M4[..., :, None, axis], right_N4[..., None, :, axis])
            sides.append(tf.maximum(far - near + self.one, 0.0))
        inter_MN = sides[0] * sides[1]
        union_MN = self.areas(left_M4)[..., :, None] + self.areas(right_N4)[..., None, :] - inter_MN
        return inter_MN / tf.maximum(union_MN, TINY)

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


def greedy_nms(boxes_GK4: tf.Tensor, valid_GK: tf.Tensor, iou: float) -> tf.Tensor:
    """Which boxes of each group greedy NMS keeps, bool [G, K]; boxes come best first, invalid ones count for nothing.

    A box stays unless a better one that stays overlaps it by more than `iou`. That is a fixed point, and the only one,
    since who suppresses whom is strictly ordered: starting from all, each round is right for at least one more box, so
    the rounds end with what one box after the other would have given. They are as many as the longest chain of boxes
    that decide about each other, about ten in practice, instead of K.

    Args:
        boxes_GK4: edges, float32.
        valid_GK: bool.
        iou: overlap above which the later of two boxes goes.
    """
    rank_K = tf.range(boxes_GK4.shape[1])
    # row: who goes; column: who sends it away
    over_GKK = (EDGES.iou(boxes_GK4, boxes_GK4) > iou) & (rank_K[:, None] > rank_K)

    def again(keep_GK: tf.Tensor, before_GK: tf.Tensor) -> tf.Tensor:
        return tf.reduce_any(keep_GK != before_GK)

    def step(keep_GK: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return valid_GK & ~tf.reduce_any(over_GKK & keep_GK[:, None], axis=-1), keep_GK

    return tf.while_loop(again, step, (valid_GK, tf.zeros_like(valid_GK)))[0]


def roi_levels(rois_N4: tf.Tensor, levels: int, eps: float) -> tf.Tensor:
    """Pyramid level of each RoI as an index from P2, int32 [...] (FPN paper, equation 1: 224 px belongs to P4)."""
    octave_N = tf.math.log(tf.sqrt(tf.maximum(EDGES.areas(rois_N4), 0.0)) / 224) / math.log(2) + eps
    return tf.cast(tf.clip_by_value(tf.floor(4 + octave_N), 2.0, 1.0 + levels), tf.int32) - 2


@dataclass(frozen=True, slots=True)
class Pooling:
    """How RoIs are cut into bins."""

    bins: int
    """A side."""
    ratio: int
    """Samples a side of each bin."""
    min_side: float
    """An RoI's sides count as at least this many pixels of its level."""


def multilevel_roi_align(
    features: Sequence[tf.Tensor], rois_BR4: tf.Tensor, levels_BR: tf.Tensor, pooling: Pooling
) -> tf.Tensor:
    """Pool each RoI from its own level; level i has stride 4·2^i; float32 [B·R, bins, bins, C].

    Rows of all levels stand in one table, so that an RoI's level is part of an index and nothing is sorted or split.
    The output is summed up one pixel of each bin at a time (four for each sample), forward and backward, so that no
    more than the output's own size is ever gathered at once.
    """
    batch, channels = features[0].shape[0], features[0].shape[-1]
    flat = tf.concat([tf.reshape(level, (batch, -1, channels)) for level in features], axis=1)
    taps = _roi_taps([level.shape[1:3] for level in features], rois_BR4, levels_BR, pooling)
    return _weighted_rows(tf.reshape(flat, (-1, channels)), taps, 4 * pooling.ratio**2)


def _roi_taps(grids: Sequence[tuple[int, int]], rois_BR4: tf.Tensor, levels_BR: tf.Tensor, pooling: Pooling) -> Taps:
    """Where the n-th pixel of every bin of every RoI stands in the table of all levels' pixels, and its weight."""
    rows = [height * width for height, width in grids]
    starts = [sum(rows[:level]) for level in range(len(rows))]
    level_R = tf.reshape(levels_BR, (-1,))
    height_R, width_R, start_R = (
        tf.gather(tf.constant(column, tf.int32), level_R)
        for column in ([grid[0] for grid in grids], [grid[1] for grid in grids], starts)
    )
    image_R = tf.repeat(tf.range(rois_BR4.shape[0]), rois_BR4.shape[1])
    scaled_R4 = (
        tf.reshape(rois_BR4, (-1, 4))
        * tf.gather(tf.constant([1 / (4 << level) for level in range(len(grids))]), level_R)[:, None]
    )

    def taps(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        sample, corner = number // 4, number % 4
        sub_y, sub_x = sample // pooling.ratio, sample % pooling.ratio
        row_RB, weight_y = _axis_tap(scaled_R4[:, 1::2], height_R, (sub_y, corner // 2), pooling)
        col_RB, weight_x = _axis_tap(scaled_R4[:, 0::2], width_R, (sub_x, corner % 2), pooling)
        base_R = image_R * sum(rows) + start_R
        index = base_R[:, None, None] + row_RB[:, :, None] * width_R[:, None, None] + col_RB[:, None]
        return index, weight_y[:, :, None] * weight_x[:, None]

    return taps


def _axis_tap(
    span_R2: tf.Tensor, length_R: tf.Tensor, which: tuple[tf.Tensor, tf.Tensor], pooling: Pooling
) -> tuple[tf.Tensor, tf.Tensor]:
    """Pixel and weight along one axis, [R, bins] each; `which` is the sample of the bin and its near or far pixel.

    Samples more than a pixel outside weigh nothing, those nearer take the border's value, as in the original kernel.
    """
    sub, far = which
    bin_R1 = (tf.maximum(span_R2[:, 1:] - span_R2[:, :1], pooling.min_side)) / pooling.bins
    place_B = tf.range(pooling.bins, dtype=tf.float32)
    at_RB = span_R2[:, :1] + place_B * bin_R1 + (tf.cast(sub, tf.float32) + 0.5) * bin_R1 / pooling.ratio
    length_R1 = tf.cast(length_R[:, None], tf.float32)
    inside_RB = (at_RB >= -1.0) & (at_RB <= length_R1)
    at_RB = tf.clip_by_value(at_RB, 0.0, length_R1 - 1)
    near_RB = tf.floor(at_RB)
    share_RB = at_RB - near_RB
    weight_RB = tf.where(far == 1, share_RB, 1 - share_RB) * tf.cast(inside_RB, tf.float32) / pooling.ratio
    pixel_RB = tf.minimum(near_RB + tf.cast(far, tf.float32), length_R1 - 1)
    return tf.cast(pixel_RB, tf.int32), weight_RB


def _weighted_rows(table_NC: tf.Tensor, taps: Taps, count: int) -> tf.Tensor:
    """Sum over n < count of weight_n · table[index_n], float32; its gradient adds to a table in the same way.

    The framework's own gradient would keep the rows of every tap until the last.
    """

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def pooled(values_NC: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        def gather(number: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            index, weight = taps(number)
            return number + 1, total + weight[..., None] * tf.cast(tf.gather(values_NC, index), tf.float32)

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            def scatter(number: tf.Tensor, total_NC: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                index, weight = taps(number)
                rows = tf.reshape(weight[..., None] * upstream, (-1, values_NC.shape[-1]))
                return number + 1, tf.tensor_scatter_nd_add(total_NC, tf.reshape(index, (-1, 1)), rows)

            return tf.cast(_loop(count, scatter, tf.zeros(values_NC.shape)), values_NC.dtype)

        shape = taps(tf.constant(0))[0].shape
        return _loop(count, gather, tf.zeros((*shape, values_NC.shape[-1]))), gradient

    return pooled(table_NC)


def _loop(
    count: int, step: Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]], start: tf.Tensor
) -> tf.Tensor:
    """Run `step` for 0..count-1, one after the other, and return what is left."""
    variables = (tf.constant(0), start)
    return tf.while_loop(lambda number, _: number < count, step, variables, parallel_iterations=1)[1]


def upsample(x_BHWC: tf.Tensor) -> tf.Tensor:
    """Every pixel twice in both directions, [B, 2H, 2W, C]; by broadcast, as XLA has no gradient of a resize."""
    batch, height, width, channels = x_BHWC.shape
    spread = tf.broadcast_to(x_BHWC[:, :, None, :, None], (batch, height, 2, width, 2, channels))
    return tf.reshape(spread, (batch, 2 * height, 2 * width, channels))


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
    scale = (side + 2) / side
    half_N2 = (boxes_N4[:, 2:] - boxes_N4[:, :2]) * 0.5 * scale
    centre_N2 = (boxes_N4[:, 2:] + boxes_N4[:, :2]) * 0.5
    corners_N4 = tf.concat((centre_N2 - half_N2, centre_N2 + half_N2), axis=1)
    return tf.cast(tf.cast(corners_N4, tf.int32), tf.float32)


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
