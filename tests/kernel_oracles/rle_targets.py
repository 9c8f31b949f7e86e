"""Run lengths read at the centres of target pixels, by their definition: decoded first, in NumPy."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]


def read(pixels: int, near: float, far: float, min_side: float) -> Float:
    """The row or column of the mask under each of a target's, which may be outside or NaN."""
    scale = pixels / np.maximum(far - near, min_side)
    place: Float = np.floor(near + (np.arange(pixels) + 0.5) / scale)
    return place


def rle_targets(
    masks: Sequence[Mask], boxes_R4: Float, height: int, width: int, min_side: float = 1.0
) -> NDArray[np.uint8]:
    """[R, height, width] of one mask an RoI."""
    targets_RHW = np.zeros((len(boxes_R4), height, width), dtype=np.uint8)
    with np.errstate(all="ignore"):
        for target, mask_HW, (x1, y1, x2, y2) in zip(targets_RHW, masks, boxes_R4, strict=True):
            rows, columns = read(height, y1, y2, min_side), read(width, x1, x2, min_side)
            row_inside, column_inside = (
                (at >= 0) & (at < size) for at, size in zip((rows, columns), mask_HW.shape, strict=True)
            )
            found = mask_HW[np.ix_(rows[row_inside].astype(int), columns[column_inside].astype(int))]
            target[np.ix_(row_inside, column_inside)] = found
    return targets_RHW
