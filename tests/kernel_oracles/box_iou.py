"""Intersection over union by its definition, in NumPy."""

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]


def areas(boxes_N4: Float, one: float) -> Float:
    """Width times height, [N]."""
    return (boxes_N4[:, 2] - boxes_N4[:, 0] + np.float32(one)) * (boxes_N4[:, 3] - boxes_N4[:, 1] + np.float32(one))


def box_iou(left_M4: Float, right_N4: Float, one: float = 0.0) -> Float:
    """[M, N]; 0 where the quotient is no positive number."""
    with np.errstate(all="ignore"):
        near_MN2 = np.maximum(left_M4[:, None, :2], right_N4[:, :2])
        far_MN2 = np.minimum(left_M4[:, None, 2:], right_N4[:, 2:])
        sides_MN2 = np.maximum(far_MN2 - near_MN2 + np.float32(one), np.float32(0))
        both_MN = sides_MN2[..., 0] * sides_MN2[..., 1]
        quotient_MN = both_MN / (areas(left_M4, one)[:, None] + areas(right_N4, one) - both_MN)
        return np.where(quotient_MN > 0, quotient_MN, np.float32(0))
