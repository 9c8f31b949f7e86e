"""Mask targets from outlines. TensorFlow cannot draw: NumPy does it on the host, so this is nothing for XLA.

Shapes: V vertices, P polygons, O objects, R RoIs, H and W of a target.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from backends.tf_impl.kernels.outlines import Outlines, Runs, Target
from harness.data import Rle, Segmentation, crop_targets


def polygon_targets(outlines: Outlines, object_R: tf.Tensor, boxes_R4: tf.Tensor, target: Target) -> tf.Tensor:
    """Each object cut to its RoI, stretched to the target, drawn by COCO's rule, uint8 [R, side, side].

    Args:
        outlines: of all objects.
        object_R: each RoI's object, int32.
        boxes_R4: float64.
        target: what RoIs are stretched to.
    """

    def draw(*arrays: NDArray[np.generic]) -> NDArray[np.uint8]:
        points_V2, polygon_starts, object_starts, objects_R, rois_R4 = arrays
        polygons = [part.reshape(-1) for part in np.split(points_V2, polygon_starts[1:-1])]
        shapes = [tuple(polygons[first:end]) for first, end in pairwise(object_starts)]
        return _cropped([shapes[index] for index in objects_R.tolist()], rois_R4, target)

    return _drawn(draw, (*outlines, object_R, boxes_R4), target)


def rle_targets(runs: Runs, object_R: tf.Tensor, boxes_R4: tf.Tensor, target: Target) -> tf.Tensor:
    """The object's pixel under the centre of each target pixel, uint8 [R, side, side].

    Args:
        runs: of all objects.
        object_R: each RoI's object, int32.
        boxes_R4: float64.
        target: what RoIs are stretched to.
    """

    def draw(*arrays: NDArray[np.generic]) -> NDArray[np.uint8]:
        counts, object_starts, sizes_O2, objects_R, rois_R4 = arrays
        parts = np.split(counts.astype(np.int64), object_starts[1:-1])
        sizes = zip(sizes_O2.tolist(), parts, strict=False)
        shapes = [Rle(height, width, part) for (height, width), part in sizes]
        return _cropped([shapes[index] for index in objects_R.tolist()], rois_R4, target)

    return _drawn(draw, (*runs, object_R, boxes_R4), target)


def _cropped(shapes: Sequence[Segmentation], boxes_R4: NDArray[np.generic], target: Target) -> NDArray[np.uint8]:
    return np.ascontiguousarray(crop_targets(shapes, boxes_R4, target.side, target.min_side))


def _drawn(draw: object, tensors: tuple[tf.Tensor, ...], target: Target) -> tf.Tensor:
    targets_RSS = tf.numpy_function(draw, tensors, tf.uint8, stateful=False)
    return tf.ensure_shape(targets_RSS, (tensors[-1].shape[0], target.side, target.side))
