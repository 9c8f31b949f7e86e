"""RoIAlign by its definition, in NumPy: float64, but coordinates are rounded as those of the kernels are.

Bilinear weights are products of a weight along each direction, so that pooling an RoI is `rows @ feature @ columns.T`,
and its gradient `rows.T @ upstream @ columns`.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
MOST_SAMPLES = 4096


@dataclass(frozen=True)
class Pooling:
    """How RoIs are cut into bins."""

    bins: int
    ratio: int
    """0: as many samples a direction as a bin has pixels, rounded up."""
    aligned: bool
    min_side: float


@dataclass(frozen=True)
class Regions:
    """RoIs and where they are."""

    rois_R4: Array
    images_R: NDArray[np.int32]
    levels_R: NDArray[np.int32]
    scales: Sequence[float]
    """Pixels of each level per pixel of the image."""


def axis_weights(near: Any, far: Any, scale: float, length: int, pooling: Pooling) -> NDArray[np.float64]:
    """What each pixel of a row weighs in each bin's average, [bins, length]."""
    kind = type(near)
    shift = kind(0.5 if pooling.aligned else 0)
    start = near * kind(scale) - shift
    side = far * kind(scale) - shift - start
    side = kind(pooling.min_side) if side < pooling.min_side else side
    size = side / kind(pooling.bins)
    wanted = math.ceil(min(size, kind(MOST_SAMPLES))) if size > 0 else 0
    count = pooling.ratio or wanted
    weights = np.zeros((pooling.bins, length))
    for place in range(pooling.bins) if count else ():
        numbers_S = np.arange(count).astype(kind)
        at_S = start + kind(place) * size + (numbers_S + kind(0.5)) * size / kind(count)
        at_S = at_S[(at_S >= -1) & (at_S <= length)] if length else at_S[:0]
        at_S = np.clip(at_S, 0, length - 1).astype(np.float64) if length else at_S
        low_S = at_S.astype(np.int64)
        np.add.at(weights[place], low_S, 1 - (at_S - low_S))
        np.add.at(weights[place], np.minimum(low_S + 1, max(length - 1, 0)), at_S - low_S)
    return weights / max(count, 1)


def placed(shapes: Sequence[tuple[int, ...]], regions: Regions, pooling: Pooling) -> Iterator[tuple[int, Array, Array]]:
    """Number, row weights and column weights of each RoI that has a level and an image; shapes are [B, C, H, W]."""
    for number, (box_4, image, level) in enumerate(
        zip(regions.rois_R4, regions.images_R, regions.levels_R, strict=True)
    ):
        if 0 <= level < len(shapes) and 0 <= image < shapes[level][0]:
            scale, (height, width) = regions.scales[level], shapes[level][2:]
            with np.errstate(all="ignore"):
                rows_BH = axis_weights(box_4[1], box_4[3], scale, height, pooling)
                yield number, rows_BH, axis_weights(box_4[0], box_4[2], scale, width, pooling)


def roi_align(features: Sequence[Array], channels: int, regions: Regions, pooling: Pooling) -> NDArray[np.float64]:
    """[R, C, bins, bins]; features are [B, C, H, W]."""
    pooled = np.zeros((len(regions.rois_R4), channels, pooling.bins, pooling.bins))
    for number, rows_BH, columns_BW in placed([level.shape for level in features], regions, pooling):
        feature_CHW = features[regions.levels_R[number]][regions.images_R[number]].astype(np.float64)
        pooled[number] = rows_BH @ feature_CHW @ columns_BW.T
    return pooled


def roi_align_backward(
    shapes: Sequence[tuple[int, ...]], regions: Regions, pooling: Pooling, upstream_RCBB: Array
) -> list[NDArray[np.float64]]:
    """Gradient of each level's features, [B, C, H, W]."""
    gradients = [np.zeros(shape) for shape in shapes]
    for number, rows_BH, columns_BW in placed(shapes, regions, pooling):
        gradient_CHW = rows_BH.T @ upstream_RCBB[number].astype(np.float64) @ columns_BW
        gradients[regions.levels_R[number]][regions.images_R[number]] += gradient_CHW
    return gradients
