"""Gaussian soft-NMS by its definition, in NumPy."""

import numpy as np
from kernel_oracles.box_iou import Float, box_iou
from numpy.typing import NDArray

Indices = NDArray[np.int32]


def soft_nms(
    boxes_C4: Float,
    scores_C: Float,
    classes_C: Indices,
    *,
    sigma: float = 0.5,
    score_threshold: float = 0.0,
    max_keep: int,
    rounding: float = 0.0,
    taken_D: Indices | None = None,
) -> tuple[Indices, Float]:
    """What one image's candidates give: indices and lowered scores, best first, both [max_keep] and padded with 0.

    exp is rounded differently everywhere, so candidates that tie but for rounding may be taken in any order.

    Args:
        boxes_C4: corners.
        scores_C: in any order.
        classes_C: only equal ones lower each other.
        sigma: of the Gaussian.
        score_threshold: only higher scores are taken.
        max_keep: how many are taken at most.
        rounding: scores this near each other, as a fraction, count as a tie.
        taken_D: decides ties: what somebody else took. Else the first of equals is taken.
    """
    kept_D, kept_scores_D = np.zeros(max_keep, np.int32), np.zeros(max_keep, np.float32)
    left_C = np.where(np.isnan(scores_C), np.float32(-np.inf), scores_C)
    for slot in range(max_keep if len(left_C) else 0):
        best = int(left_C.argmax())
        if taken_D is not None and left_C[taken_D[slot]] >= left_C[best] * (1 - rounding):
            best = int(taken_D[slot])
        if not left_C[best] > np.float32(score_threshold):
            break
        kept_D[slot], kept_scores_D[slot] = best, left_C[best]
        left_C[best] = -np.inf
        iou_C = box_iou(boxes_C4[best : best + 1], boxes_C4)[0]
        factor_C = np.exp(-(iou_C * iou_C) / np.float32(sigma))
        factor_C = np.where(factor_C < np.finfo(np.float32).tiny, np.float32(0), factor_C)
        lowered_C = (classes_C == classes_C[best]) & (left_C > -np.inf)
        left_C[lowered_C] *= factor_C[lowered_C]
    return kept_D, kept_scores_D
