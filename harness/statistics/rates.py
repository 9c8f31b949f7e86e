"""Rates from stretches of a window: how well the window knows its rate, and whether a warm-up has settled."""

from collections.abc import Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from harness.statistics.percentiles import finite
from harness.statistics.student import t_quantile

MIN_STRETCHES = 5
MAX_BATCHES = 20
MAX_MEMORY = 0.9
INTERVAL_CONFIDENCE = 0.95

SETTLED_STRETCHES = 8
MAX_TREND = 0.05
MAX_SPREAD = 0.10


def rate_interval(images: Sequence[int], elapsed_s: Sequence[float]) -> float | None:
    """Return half of the 95 % interval of sum(images) / sum(elapsed_s), as a fraction of it; None of few stretches.

    Batch means with the ratio estimator (Law, Simulation Modeling and Analysis, 9.5): neighbouring stretches are put
    together until at most MAX_BATCHES are left, so that what lasts longer than a stretch counts, and the residuals of
    their images against the common rate are spread as Student's t says, wider where batches remember each other. None
    under MIN_STRETCHES. It covers about 95 % of independent stretches, less of few with a long memory.

    Raises:
        ValueError: the lengths differ, a time is not above 0, or no image was counted.
    """
    images_N, elapsed_N = finite(images), finite(elapsed_s)
    if len(images_N) != len(elapsed_N):
        raise ValueError(f"{len(images_N)} counts of images and {len(elapsed_N)} times; one of each a stretch")
    if len(images_N) < MIN_STRETCHES:
        return None
    if not (elapsed_N > 0).all() or not images_N.sum() > 0:
        raise ValueError("a stretch without time, or no image at all; a rate needs both")
    batches = min(len(images_N), MAX_BATCHES)
    images_B, elapsed_B = _merged(images_N, batches), _merged(elapsed_N, batches)
    rate = images_B.sum() / elapsed_B.sum()
    residuals_B = images_B - rate * elapsed_B
    deviation = sqrt(float(residuals_B @ residuals_B) / (batches - 1) * batches) / float(images_B.sum())
    return t_quantile((1 + INTERVAL_CONFIDENCE) / 2, batches - 1) * deviation * _widening(residuals_B)


def steady(rates: Sequence[float]) -> bool:
    """Whether a warm-up has settled: the later half of its rates has no trend and lies in a small band.

    The half grows with the warm-up, so that a slow climb is watched for longer than a fast one: of an exponential
    approach from 40 % of the rate about 1 % is left of either. It is SETTLED_STRETCHES at least, and as many medians
    of neighbours if more. No trend: their median slope over all pairs (Theil and Sen) moves them by at most
    MAX_TREND of their median. A small band: their middle half spans at most MAX_SPREAD of it. One slow stretch among
    eight unsettles neither; a step in the last two is not told from it.

    Raises:
        ValueError: a rate is not finite.
    """
    values_N = finite(rates)
    if len(values_N) < SETTLED_STRETCHES:
        return False
    recent_N = values_N[-max(SETTLED_STRETCHES, len(values_N) // 2) :]
    recent_B = np.array([np.median(part) for part in np.array_split(recent_N, SETTLED_STRETCHES)])
    early, late = np.triu_indices(SETTLED_STRETCHES, 1)
    slope = float(np.median((recent_B[late] - recent_B[early]) / (late - early)))
    median = float(np.median(recent_B))
    low, high = np.quantile(recent_B, [0.25, 0.75])
    return bool(abs(slope) * (SETTLED_STRETCHES - 1) <= MAX_TREND * median and high - low <= MAX_SPREAD * median)


def _merged(values_N: NDArray[np.float64], batches: int) -> NDArray[np.float64]:
    return np.array([part.sum() for part in np.array_split(values_N, batches)])


def _widening(residuals_B: NDArray[np.float64]) -> float:
    """Return by how much memory from batch to batch widens the deviation of their mean, at least 1.

    sqrt((1 + r) / (1 - r)) of an AR(1) series, r being the correlation of neighbours without its bias of small counts,
    - (1 + 4 r) / n (Marriott and Pope, 1954), at most MAX_MEMORY.
    """
    spread = float(residuals_B @ residuals_B)
    if not spread:
        return 1.0
    count = len(residuals_B)
    found = float(residuals_B[:-1] @ residuals_B[1:]) / spread
    memory = min(MAX_MEMORY, max(0.0, (count * found + 1) / (count - 4)))
    return sqrt((1 + memory) / (1 - memory))
