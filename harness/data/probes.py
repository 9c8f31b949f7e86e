"""Boxes on which detectors' heads are compared: fixed, so that no proposal and no suppression decides what is seen."""

import numpy as np
from numpy.typing import NDArray

_SCALES = (0.11, 0.23, 0.47, 0.83)
_ASPECTS = ((1.0, 1.0), (1.0, 0.45), (0.45, 1.0))
_PLACES = 2
_STEP_Y, _STEP_X = 0.7548776662, 0.5698402910
"""Of the additive recurrence that covers the unit square evenly: powers of the inverse of the plastic number."""


def probe_boxes(height: int, width: int) -> NDArray[np.float32]:
    """Boxes of four sizes and three aspect ratios, spread over an area and inside it.

    Args:
        height: Of the area, which begins at the origin; pixels.
        width: Likewise.

    Returns:
        float32 [24, 4] as x1, y1, x2, y2, the same at every call.
    """
    shares_N2 = np.array([(scale * y, scale * x) for scale in _SCALES for y, x in _ASPECTS for _ in range(_PLACES)])
    number_N1 = np.arange(1, len(shares_N2) + 1)[:, None]
    extents_N2 = shares_N2 * (height, width)
    starts_N2 = (number_N1 * (_STEP_Y, _STEP_X) % 1.0) * ((height, width) - extents_N2)
    corners_N4 = np.concatenate((starts_N2, starts_N2 + extents_N2), axis=1)
    return corners_N4[:, [1, 0, 3, 2]].astype(np.float32)
