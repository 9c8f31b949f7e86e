"""The focal loss and its derivative by their definition, in float64."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Focal(NamedTuple):
    """The numbers of the loss."""

    alpha: float = 0.25
    gamma: float = 1.5
    smoothing: float = 0.0


def focal_loss(logits_NK: Array, classes_N: Array, focal: Focal) -> tuple[Array, Array]:
    """Loss of every finite logit and its derivative, both float64 [N, K]; 0 in rows that are not counted."""
    true_NK = classes_N[:, None] == np.arange(logits_NK.shape[1])
    counted_N1 = classes_N[:, None] >= -1
    sign_NK = np.where(true_NK, 1.0, -1.0)
    x_NK = np.where(counted_N1, logits_NK, 0).astype(np.float64) * sign_NK
    right_NK, wrong_NK = np.logaddexp(0, -x_NK), np.logaddexp(0, x_NK)
    smooth = focal.smoothing / 2
    p_NK, q_NK = np.exp(-right_NK), np.exp(-wrong_NK)
    weight_NK = np.where(true_NK, focal.alpha, 1 - focal.alpha) * np.exp(-focal.gamma * wrong_NK)
    entropy_NK = (1 - smooth) * right_NK + smooth * wrong_NK
    slope_NK = weight_NK * (smooth * p_NK - (1 - smooth) * q_NK - focal.gamma * p_NK * entropy_NK)
    return np.where(counted_N1, weight_NK * entropy_NK, 0), np.where(counted_N1, sign_NK * slope_NK, 0)
