"""Greedy non-maximum suppression by its definition, in NumPy."""

import numpy as np
from kernel_oracles.box_iou import Float, box_iou
from numpy.typing import NDArray


def nms(
    boxes_K4: Float,
    groups_K: NDArray[np.int32] | None = None,
    valid_K: NDArray[np.uint8] | None = None,
    *,
    one: float = 0.0,
    iou: float = 0.5,
    max_keep: int,
) -> NDArray[np.int32]:
    """Indices of one image's boxes that stay, best first, padded with -1, [max_keep]."""
    kept: list[int] = []
    groups_K = np.zeros(len(boxes_K4), np.int32) if groups_K is None else groups_K
    left_K = np.ones(len(boxes_K4), bool) if valid_K is None else valid_K != 0
    for index in range(len(boxes_K4)):
        if left_K[index] and len(kept) < max_keep:
            kept.append(index)
            overlapped_K = box_iou(boxes_K4[index : index + 1], boxes_K4, one)[0] > np.float32(iou)
            left_K = left_K & ~(overlapped_K & (groups_K == groups_K[index]))
    return np.array(kept + [-1] * (max_keep - len(kept)), dtype=np.int32)
