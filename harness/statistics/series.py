"""Whether a raw series is what its statistics take it for: independent samples of one distribution."""

from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from harness.statistics.percentiles import Samples, finite

AUTOCORRELATED = "autocorrelated"
DRIFTING = "drifting"

MIN_SAMPLES = 10
FALSE_FLAGS = 0.01
MIN_AUTOCORRELATION = 0.1
MIN_DRIFT = 0.01
MAX_BLOCKS = 50


@dataclass(frozen=True, slots=True)
class SeriesFlags:
    """What a series says of itself; None where it has fewer than MIN_SAMPLES samples, or all of them are equal.

    `autocorrelation` is that of neighbours (lag 1); `effective_count` is how many independent samples would know the
    mean as well; `drift` is how far the series moved from its first to its last sample, as a fraction of its median.
    """

    autocorrelation: float | None
    effective_count: float | None
    drift: float | None
    flags: tuple[str, ...]


def series_flags(samples: Samples) -> SeriesFlags:
    """Measure the autocorrelation and the drift of a series in the order in which it was taken.

    A flag needs both: an amount that matters (MIN_AUTOCORRELATION of either sign, MIN_DRIFT), and one that independent
    samples of any distribution would reach in FALSE_FLAGS of all series. So both tests rest on ranks.

    Raises:
        ValueError: a sample is not finite.
    """
    values_N = finite(samples)
    count = len(values_N)
    if count < MIN_SAMPLES or values_N.min() == values_N.max():
        return SeriesFlags(None, None, None, ())
    correlation = _lag_one(_normal_scores(values_N))
    drift, moved = _drift(values_N)
    shares = (1 - correlation) / (1 + correlation)
    unusual = NormalDist().inv_cdf(1 - FALSE_FLAGS / 2)
    flags = []
    if abs(correlation) >= MIN_AUTOCORRELATION and abs(correlation + 1 / count) * sqrt(count) > unusual:
        flags.append(AUTOCORRELATED)
    if drift is not None and abs(drift) >= MIN_DRIFT and abs(moved) > unusual:
        flags.append(DRIFTING)
    return SeriesFlags(correlation, min(float(count), count * shares), drift, tuple(flags))


def _lag_one(scores_N: NDArray[np.float64]) -> float:
    """Return the correlation of neighbours in a series of mean 0."""
    return float(scores_N[:-1] @ scores_N[1:] / (scores_N @ scores_N))


def _normal_scores(values_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each value's rank as a standard normal deviate (van der Waerden), ties at the middle of their ranks.

    Of a Gaussian series the correlation of scores is that of values; of any other, one outlier cannot make or hide it.
    """
    _, place_N, repeats = np.unique(values_N, return_inverse=True, return_counts=True)
    scores = np.concatenate([[0.0], np.cumsum(_deviates(len(values_N)))])
    ends = np.cumsum(repeats)
    return np.asarray(((scores[ends] - scores[ends - repeats]) / repeats)[place_N])


@lru_cache
def _deviates(count: int) -> NDArray[np.float64]:
    return np.array([NormalDist().inv_cdf(rank / (count + 1)) for rank in range(1, count + 1)])


def _drift(values_N: NDArray[np.float64]) -> tuple[float | None, float]:
    """Return Theil and Sen's slope over the whole series as a fraction of its median, and how unusual it is.

    The slope is the median over all pairs of at most MAX_BLOCKS medians of neighbours. How unusual: Mann and Kendall's
    count of rising less falling pairs in standard deviations, those of independent values widened by the
    autocorrelation that remains in the blocks once the slope is taken out (Hamed and Rao, 1998, at lag 1).
    """
    median = float(np.median(values_N))
    size = -(-len(values_N) // MAX_BLOCKS)
    blocks_B = _block_medians(values_N, size)
    count = len(blocks_B)
    early, late = np.triu_indices(count, 1)
    rises = blocks_B[late] - blocks_B[early]
    slope = float(np.median(rises / (late - early)))
    sign_sum = float(np.sign(rises).sum())
    repeats = np.unique(blocks_B, return_counts=True)[1]
    variance = (_kendall(count) - float(sum(_kendall(int(n)) for n in repeats))) / 18
    rest_B = blocks_B - slope * np.arange(count)
    kept = max(0.0, _lag_one(rest_B - rest_B.mean())) if np.ptp(rest_B) else 0.0
    deviation = sqrt(variance * (1 + kept) / (1 - kept)) if variance else 0.0
    moved = max(0.0, abs(sign_sum) - 1) / deviation if deviation else 0.0
    return (slope * (len(values_N) - 1) / size / abs(median) if median else None), moved


def _block_medians(values_N: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return the medians of neighbours, all of equally many: of unequal ones a skewed series would seem to drift."""
    count = len(values_N) // size
    return np.asarray(np.median(values_N[: count * size].reshape(count, size), axis=1))


def _kendall(count: int) -> int:
    return count * (count - 1) * (2 * count + 5)
