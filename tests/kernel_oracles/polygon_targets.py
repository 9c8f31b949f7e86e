"""Polygons drawn into RoIs twice: by pycocotools, and by the NumPy form that the data pipeline uses."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import _mask

from harness.data.masks import crop_targets

Polygon = NDArray[np.float64]
Object = tuple[Polygon, ...]
"""Polygons [V, 2] of one object."""


def into_roi(polygon_V2: Polygon, box_4: Polygon, height: int, width: int, min_side: float) -> Polygon:
    """Vertices in pixels of the target."""
    scale_2 = np.array([width, height]) / np.maximum(box_4[2:] - box_4[:2], min_side)
    return (polygon_V2 - box_4[:2]) * scale_2


def by_coco(
    objects: Sequence[Object], boxes_R4: Polygon, height: int, width: int, min_side: float = 1.0
) -> NDArray[np.uint8]:
    """The COCO API's outlines, united and decoded; one object an RoI, [R, height, width]."""
    targets_RHW = np.zeros((len(boxes_R4), height, width), dtype=np.uint8)
    for target, polygons, box_4 in zip(targets_RHW, objects, boxes_R4, strict=True):
        scaled = [into_roi(polygon, box_4, height, width, min_side).ravel().tolist() for polygon in polygons]
        if drawn := [runs for polygon in scaled if polygon for runs in _mask.frPoly([polygon], height, width)]:
            target[...] = _mask.decode([_mask.merge(drawn)])[..., 0]
    return targets_RHW


def by_numpy(objects: Sequence[Object], boxes_R4: Polygon, side: int, min_side: float = 1.0) -> NDArray[Any]:
    """The data pipeline's square targets, [R, side, side]; coordinates may be of any size, or none."""
    flat = [tuple(polygon.ravel() for polygon in polygons) for polygons in objects]
    with np.errstate(all="ignore"):
        return crop_targets(flat, boxes_R4, side, min_side)
