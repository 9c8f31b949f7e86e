"""Segmentations of COCO files as masks: whole images, and targets cropped to boxes.

A segmentation is a tuple of polygons, each float64 [2V] as x, y, x, y …, whose union counts; or run lengths.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data import rle as runs
from harness.data.polygon import toggles
from harness.data.rle import Rle
from harness.errors import DataError

Polygons = tuple[NDArray[np.float64], ...]
Segmentation = Polygons | Rle

MIN_COORDINATES = 6


def parse_segmentation(raw: Any) -> Segmentation:
    """Read the `segmentation` of a COCO annotation: a list of polygons, or run lengths in either form.

    Raises:
        DataError: It is neither, or a polygon has an odd number of coordinates or less than three points.
    """
    if isinstance(raw, dict):
        return runs.parse_rle(raw)
    try:
        polygons = tuple(np.asarray(polygon, dtype=np.float64) for polygon in raw)
    except (TypeError, ValueError) as error:
        raise DataError("the segmentation is neither a list of polygons nor run lengths") from error
    for polygon in polygons:
        if polygon.ndim != 1 or polygon.size % 2 or polygon.size < MIN_COORDINATES or not np.isfinite(polygon).all():
            raise DataError(
                f"a polygon has {polygon.size} numbers; an even number of finite ones, 6 or more, is needed"
            )
    return polygons


def rasterise(segmentation: Segmentation, height: int, width: int) -> NDArray[np.bool_]:
    """Return the mask of one object, bool [height, width]; equal to the COCO API's, bit for bit."""
    if isinstance(segmentation, Rle):
        if (segmentation.height, segmentation.width) != (height, width):
            found = f"{segmentation.height} x {segmentation.width}"
            raise DataError(f"run lengths of a mask of {found} pixels for an image of {height} x {width}")
        return runs.decode(segmentation)
    mask = np.zeros((width, height), dtype=np.bool_)
    if segmentation:
        polygon_T, place_T = _crossings(segmentation, height, width)
        for polygon in range(len(segmentation)):
            _fill(mask.reshape(-1), place_T[polygon_T == polygon])
    return mask.T


def _crossings(polygons: Sequence[NDArray[np.float64]], height: int, width: int) -> tuple[NDArray[Any], NDArray[Any]]:
    lengths_P = np.array([polygon.size // 2 for polygon in polygons])
    return toggles(np.concatenate(polygons).reshape(-1, 2), lengths_P, height, width)


def _fill(flat: NDArray[np.bool_], place_T: NDArray[np.int64]) -> None:
    """Set the pixels between each two crossings, as read down the columns."""
    if place_T.size == 0:
        return
    start, stop = int(place_T.min()), int(place_T.max())
    counts = np.bincount(place_T - start, minlength=stop - start + 1)
    flat[start:stop] |= (counts.cumsum() & 1)[:-1].astype(np.bool_)


def rasterise_all(segmentations: Sequence[Segmentation], height: int, width: int) -> NDArray[np.bool_]:
    """Return the masks of N objects, bool [N, height, width]."""
    if not segmentations:
        return np.zeros((0, height, width), dtype=np.bool_)
    return np.stack([rasterise(segmentation, height, width) for segmentation in segmentations])


def to_rle(segmentation: Segmentation, height: int, width: int) -> Rle:
    """Return an object's mask as run lengths."""
    return segmentation if isinstance(segmentation, Rle) else runs.encode(rasterise(segmentation, height, width))


def flip_polygons(segmentation: Segmentation, width: float) -> Segmentation:
    """Mirror an object left to right in a frame of that width: x becomes width - x."""
    if isinstance(segmentation, Rle):
        return runs.encode(runs.decode(segmentation)[:, ::-1])
    return tuple(_mirrored(polygon, width) for polygon in segmentation)


def _mirrored(polygon: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    mirrored = polygon.copy()
    mirrored[::2] = width - polygon[::2]
    return mirrored


def crop_targets(
    segmentations: Sequence[Segmentation], boxes_N4: NDArray[Any], size: int, min_side: float = 1.0
) -> NDArray[np.uint8]:
    """Return mask targets: each object inside its box, the box stretched to size × size pixels.

    Polygons are scaled into the box first and drawn then, as the published Mask R-CNN systems do; run lengths are read
    at the centres of the target's pixels. A segmentation may stand more than once, with one box each.

    Args:
        segmentations: N objects, in pixels of the image that the boxes are in.
        boxes_N4: x1, y1, x2, y2 of each object's box, x2 - x1 the width.
        size: Side of the targets in pixels.
        min_side: A box's sides count as at least this long, in pixels.

    Returns:
        uint8 [N, size, size], ones inside the object.
    """
    boxes = np.asarray(boxes_N4, dtype=np.float64).reshape(-1, 4)
    scale_N2 = size / np.maximum(boxes[:, 2:] - boxes[:, :2], min_side)
    targets = _polygon_targets(segmentations, boxes[:, :2], scale_N2, size)
    for index, segmentation in enumerate(segmentations):
        if isinstance(segmentation, Rle):
            targets[index] = _sampled(segmentation, boxes[index, :2], scale_N2[index], size)
    return targets


def _polygon_targets(
    segmentations: Sequence[Segmentation], corner_N2: NDArray[np.float64], scale_N2: NDArray[np.float64], size: int
) -> NDArray[np.uint8]:
    targets = np.zeros((len(segmentations), size * size), dtype=np.uint8)
    owners = [n for n, shape in enumerate(segmentations) if not isinstance(shape, Rle) for _ in shape]
    polygons = [polygon for shape in segmentations if not isinstance(shape, Rle) for polygon in shape]
    if polygons:
        lengths_P = np.array([polygon.size // 2 for polygon in polygons])
        owner_V = np.array(owners).repeat(lengths_P)
        points_V2 = (np.concatenate(polygons).reshape(-1, 2) - corner_N2[owner_V]) * scale_N2[owner_V]
        for owner, mask in zip(owners, _filled(points_V2, lengths_P, size), strict=True):
            targets[owner] |= mask
    return targets.reshape(-1, size, size).transpose(0, 2, 1)


def _filled(points_V2: NDArray[np.float64], lengths_P: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
    """Return the masks of P polygons in frames of size × size, uint8 [P, size * size], read down the columns."""
    polygon_T, place_T = toggles(points_V2, lengths_P, size, size)
    stride = size * size + 1  # a crossing may lie behind the last pixel
    counts = np.bincount(polygon_T * stride + place_T, minlength=lengths_P.size * stride)
    sides = counts.astype(np.uint8).reshape(-1, stride)[:, :-1]
    return np.asarray(sides.cumsum(axis=1, dtype=np.uint8) & 1)


def _sampled(rle: Rle, corner_2: NDArray[np.float64], scale_2: NDArray[np.float64], size: int) -> NDArray[np.bool_]:
    centres = np.arange(size) + 0.5
    columns = _places(corner_2[0] + centres / scale_2[0], rle.width)
    rows = _places(corner_2[1] + centres / scale_2[1], rle.height)
    grid_rows, grid_columns = np.meshgrid(rows, columns, indexing="ij")
    return runs.sample(rle, grid_rows.reshape(-1), grid_columns.reshape(-1)).reshape(size, size)


def _places(coordinate_S: NDArray[np.float64], size: int) -> NDArray[np.int64]:
    """Return the pixels that hold the coordinates; -1 for those outside and for NaN."""
    inside_S = (coordinate_S >= 0) & (coordinate_S < size)
    return np.where(inside_S, coordinate_S, -1).astype(np.int64)
