"""What the mask head learns: each object under its RoI, at the mask head's resolution.

Shapes: B images, M padded objects, F foreground RoIs of an image, S pixels a side of a mask, H and W of the padded
batch.
"""

import tensorflow as tf

from backends.tf_impl.maskrcnn.config import MaskRCNNConfig
from backends.tf_impl.maskrcnn.targets import BORDER, CROP, CROP_SIDE

_CHUNK = 16
"""RoIs whose bitmaps are unpacked at once: 64 MiB of float32 for an image of 800 × 1333."""


def mask_targets(
    config: MaskRCNNConfig, targets: dict[str, tf.Tensor], rois_BF4: tf.Tensor, objects_BF: tf.Tensor
) -> tf.Tensor:
    """Targets of foreground RoIs, float32 [B, F, S, S]; of other rows any finite numbers.

    Args:
        config: which kind of masks there are.
        targets: of the batch.
        rois_BF4: foreground RoIs.
        objects_BF: object of each of them, int32.
    """
    rois_BF4, side = tf.stop_gradient(rois_BF4), config.mask_size
    if config.mask_target == "bitmap":
        return averages(targets["masks"], rois_BF4, objects_BF, side)
    boxes_BF4 = tf.gather(targets["boxes"], objects_BF, batch_dims=1)
    return samples(targets["masks"], rois_BF4, (objects_BF, boxes_BF4), side)


def samples(crops_BMSS: tf.Tensor, rois_BF4: tf.Tensor, objects: tuple[tf.Tensor, tf.Tensor], side: int) -> tf.Tensor:
    """Whether the object covers each bin, by one bilinear sample of its crop (NVIDIA), float32 [B, F, side, side].

    A sample stands at (i + .5) / side of the RoI, in the crop's pixels, without a half-pixel shift, as published.

    Args:
        crops_BMSS: uint8 [B, M, 116, 116], see `targets`.
        rois_BF4: foreground RoIs.
        objects: each RoI's object, int32 [B, F], and that object's box, [B, F, 4].
        side: bins a side.
    """
    object_BF, box_BF4 = objects
    row_BF = tf.range(crops_BMSS.shape[0])[:, None] * crops_BMSS.shape[1] + object_BF
    values = tf.cast(tf.reshape(crops_BMSS, (-1,)), tf.float32)  # GPUs gather no bytes
    total = tf.zeros((*object_BF.shape, side, side))
    for far_y in (0, 1):
        y_BFS, weight_y = _crop_tap(rois_BF4[..., 1::2], box_BF4[..., 1::2], far_y, side)
        for far_x in (0, 1):
            x_BFS, weight_x = _crop_tap(rois_BF4[..., 0::2], box_BF4[..., 0::2], far_x, side)
            index = (row_BF[..., None, None] * CROP_SIDE + y_BFS[..., None]) * CROP_SIDE + x_BFS[..., None, :]
            weight = weight_y[..., None] * weight_x[..., None, :]
            total += weight * tf.gather(values, index)
    return tf.cast(total >= 0.5, tf.float32)


def _crop_tap(roi_BF2: tf.Tensor, box_BF2: tf.Tensor, far: int, side: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Pixel of the crop and weight of each bin's sample along one axis, [B, F, side] each."""
    scale_BF = CROP / (box_BF2[..., 1] - box_BF2[..., 0] + 1e-8)
    start_BF = (roi_BF2[..., 0] - box_BF2[..., 0]) * scale_BF + BORDER
    length_BF = (roi_BF2[..., 1] - roi_BF2[..., 0]) * scale_BF
    at_BFS = start_BF[..., None] + (tf.range(side, dtype=tf.float32) + 0.5) * length_BF[..., None] / side
    at_BFS = tf.clip_by_value(at_BFS, 0.0, CROP_SIDE - 1.0)
    near_BFS = tf.floor(at_BFS)
    share_BFS = at_BFS - near_BFS
    pixel_BFS = tf.minimum(tf.cast(near_BFS, tf.int32) + far, CROP_SIDE - 1)
    return pixel_BFS, share_BFS if far else 1 - share_BFS


def averages(packed_BMHW: tf.Tensor, rois_BF4: tf.Tensor, object_BF: tf.Tensor, side: int) -> tf.Tensor:
    """Average of the mask's pixels under each bin, as RoIAlign with its adaptive sampling (torchvision), [B, F, S, S].

    Samples stand on a grid, so that the average is a product of two matrices with the bitmap, one for each axis. RoIs
    are worked through a few at a time.

    Args:
        packed_BMHW: uint8 [B, M, H, W / 8], see `targets`.
        rois_BF4: foreground RoIs.
        object_BF: each RoI's object, int32.
        side: bins a side.
    """
    batch, objects, height, packed_width = packed_BMHW.shape
    count = batch * object_BF.shape[1]
    chunk = min(_CHUNK, count)
    spare = -count % chunk
    flat = tf.reshape(tf.range(batch)[:, None] * objects + object_BF, (-1,))
    index_NC = tf.reshape(tf.pad(flat, ((0, spare),)), (-1, chunk))
    rois_NC4 = tf.reshape(tf.pad(tf.reshape(rois_BF4, (-1, 4)), ((0, spare), (0, 0))), (-1, chunk, 4))
    # GPUs gather no bytes, but four of them as one number
    table = tf.bitcast(tf.reshape(packed_BMHW, (-1, height, packed_width // 4, 4)), tf.int32)

    def average(part: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        index_C, rois_C4 = part
        rows_CSH = _axis_average(rois_C4[:, 1::2], height, side)
        cols_CSW = _axis_average(rois_C4[:, 0::2], 8 * packed_width, side)
        packed_CHW = tf.reshape(tf.bitcast(tf.gather(table, index_C), tf.uint8), (chunk, height, packed_width))
        return tf.matmul(rows_CSH @ unpacked(packed_CHW), cols_CSW, transpose_b=True)

    found = tf.map_fn(average, (index_NC, rois_NC4), parallel_iterations=1, fn_output_signature=tf.float32)
    return tf.reshape(tf.reshape(found, (-1, side, side))[:count], (batch, -1, side, side))


def unpacked(packed_NHW: tf.Tensor) -> tf.Tensor:
    """Bitmaps of one float32 a pixel, [N, H, W], of eight pixels a byte, the leftmost in the highest bit."""
    count, height, width = packed_NHW.shape
    shifts_8 = tf.range(7, -1, -1)
    bits = tf.bitwise.right_shift(tf.cast(packed_NHW, tf.int32)[..., None], shifts_8) & 1
    return tf.cast(tf.reshape(bits, (count, height, 8 * width)), tf.float32)


def _axis_average(span_C2: tf.Tensor, length: int, side: int) -> tf.Tensor:
    """Weight of every pixel of an axis in every bin, [C, side, length]: bilinear, averaged over the bin's samples."""
    size_C = tf.maximum(span_C2[:, 1] - span_C2[:, 0], 1.0)
    per_bin_C, bin_C = tf.math.ceil(size_C / side), size_C / side
    bins_S, pixel_L = tf.range(side, dtype=tf.float32), tf.range(length, dtype=tf.float32)
    start_CS = span_C2[:, :1] + bins_S * bin_C[:, None]

    def add(number: tf.Tensor, total_CSL: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        sample = tf.cast(number, tf.float32)
        at_CS = start_CS + ((sample + 0.5) * bin_C / per_bin_C)[:, None]
        counts_CS = (at_CS >= -1.0) & (at_CS <= float(length)) & (sample < per_bin_C)[:, None]
        at_CS = tf.clip_by_value(at_CS, 0.0, length - 1.0)
        weight_CSL = tf.maximum(1 - tf.abs(at_CS[..., None] - pixel_L), 0.0)
        return number + 1, total_CSL + weight_CSL * tf.cast(counts_CS, tf.float32)[..., None]

    # an RoI lies in the image, so that no bin has more samples than this
    most = -(-length // side)
    start = (tf.constant(0), tf.zeros((span_C2.shape[0], side, length)))
    total_CSL = tf.while_loop(lambda number, _: number < most, add, start)[1]
    return total_CSL / per_bin_C[:, None, None]
