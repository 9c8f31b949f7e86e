"""RoIAlign from every RoI's own level of a pyramid (He et al. 2017).

Shapes: B images, R RoIs of an image or of all, C channels.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

from backends.tf_impl.kernels.rules import Pooling

Taps = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
"""Indices and weights of the n-th of the pixels that each output is a sum of."""


def roi_align(features: Sequence[tf.Tensor], rois_BR4: tf.Tensor, levels_BR: tf.Tensor, pooling: Pooling) -> tf.Tensor:
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
