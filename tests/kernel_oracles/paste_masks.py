"""Masks pasted into images by the rule of paste_masks.h: places in float32, values in float64, in NumPy."""

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]


def weights(near: np.float32, far: np.float32, length: int, taps: int) -> NDArray[np.float64]:
    """Of every row of a mask with its border on every row of the image, [length, taps]; 0 outside the box."""
    ratio = np.float32(taps) / np.maximum(far - near + np.float32(1), np.float32(1))
    pixel_L = np.arange(length, dtype=np.float32)
    place_L = (pixel_L - near + np.float32(0.5)) * ratio - np.float32(0.5)
    place_L = place_L.clip(np.float32(0), np.float32(taps - 1)).astype(np.float64)
    inside_L = (pixel_L >= near) & (pixel_L <= far) & np.isfinite(far - near + np.float32(1))
    weight_LT = np.maximum(1 - np.abs(place_L[:, None] - np.arange(taps)), 0)
    return np.where(inside_L[:, None], weight_LT, 0.0)


def paste_values(masks_NSS: Float, boxes_N4: Float, height: int, width: int) -> NDArray[np.float64]:
    """Values before the threshold, [N, height, width]."""
    side = masks_NSS.shape[-1]
    scale = np.float32(side + 2) / np.float32(side)
    values_NHW = np.zeros((len(masks_NSS), height, width))
    with np.errstate(all="ignore"):
        half_N2 = (boxes_N4[:, 2:] - boxes_N4[:, :2]) * np.float32(0.5) * scale
        centre_N2 = (boxes_N4[:, 2:] + boxes_N4[:, :2]) * np.float32(0.5)
        near_N2, far_N2 = np.trunc(centre_N2 - half_N2), np.trunc(centre_N2 + half_N2)
        for values_HW, mask_SS, near, far in zip(values_NHW, masks_NSS, near_N2, far_N2, strict=True):
            rows_HT = weights(near[1], far[1], height, side + 2)
            columns_WT = weights(near[0], far[0], width, side + 2)
            values_HW[...] = rows_HT @ np.pad(mask_SS, 1).astype(np.float64) @ columns_WT.T
    return values_NHW
