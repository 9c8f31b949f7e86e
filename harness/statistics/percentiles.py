"""Percentiles that are order statistics of raw samples, and that say when the samples are too few.

Percentiles are named as people name them, in percent: 50, 90, 99.9.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray

Samples = Sequence[float] | NDArray[np.floating]

EARLY_STOPPING_CONFIDENCE = 0.99
INTERVAL_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Percentile:
    """One percentile of raw samples, in the samples' unit.

    `value` is None where `count` < `needed`; `low` and `high`, the order-statistic interval at 95 %, are None where no
    order statistic bounds the percentile on both sides (below 36 samples for p90).
    """

    p: float
    value: float | None
    low: float | None
    high: float | None
    count: int
    needed: int


def percentile(samples: Samples, p: float) -> Percentile:
    """Return the p-th percentile (inverse of the empirical distribution function) with its interval.

    Raises:
        ValueError: p is not inside (0, 100), or a sample is not finite.
    """
    needed = minimum_count(p)
    ordered_N = finite(samples)
    ordered_N.sort()
    count = len(ordered_N)
    value = float(ordered_N[order_rank(count, p) - 1]) if count >= needed else None
    low, high = _interval(ordered_N, p) or (None, None)
    return Percentile(p, value, low, high, count, needed)


def finite(samples: Samples) -> NDArray[np.float64]:
    """Return a float64 copy of a flat series.

    Raises:
        ValueError: the series is not flat, or a sample is NaN or infinite.
    """
    values_N = np.array(samples, dtype=np.float64)
    if values_N.ndim != 1:
        raise ValueError(f"samples of shape {values_N.shape}; a flat series is needed")
    if not np.isfinite(values_N).all():
        first = int(np.flatnonzero(~np.isfinite(values_N))[0])
        raise ValueError(f"sample {first} is {values_N[first]}; samples must be finite")
    return values_N


def order_rank(count: int, p: float) -> int:
    """Return the rank, from 1, of the smallest sample that at least p percent of the samples do not exceed."""
    return max(1, ceil(percentile_share(p) * count))


@lru_cache
def minimum_count(p: float) -> int:
    """Return from how many samples a percentile may be printed: 11 for p50, 64 for p90, 662 for p99.

    The early-stopping rule of MLPerf's LoadGen at 99 % confidence: the smallest number of samples of which no more than
    one lies beyond the true percentile with a probability of at most 1 %. A percentile below 50 mirrors one above.
    """
    share = percentile_share(p)
    tail = float(min(share, 1 - share))
    low, high = 1, 2
    while _at_most_one(high, tail) > 1 - EARLY_STOPPING_CONFIDENCE:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if _at_most_one(middle, tail) > 1 - EARLY_STOPPING_CONFIDENCE:
            low = middle
        else:
            high = middle
    return high


@lru_cache
def interval_ranks(count: int, p: float, confidence: float = INTERVAL_CONFIDENCE) -> tuple[int, int] | None:
    """Return the ranks, from 1, of the samples that enclose a percentile, or None from too few samples.

    The number of samples at or below the percentile is binomial whatever the distribution (David and Nagaraja, Order
    Statistics, 7.1). Outermost are the ranks of which each side is wrong with at most half of 1 - confidence; where
    one rank further in, at one end, still covers with `confidence`, that is taken: ranks are whole, and without it the
    interval of p99 would cover 97 % and more up to 1,963 samples.
    """
    if count == 0:
        return None
    first, mass = binomial_masses(count, percentile_share(p))
    side = (1 - confidence) / 2
    below = int(np.count_nonzero(np.cumsum(mass) <= side))
    above = int(np.count_nonzero(np.cumsum(mass[::-1]) <= side))
    low, high = first + below, first + len(mass) - above
    if low < 1 or high > count:
        return None
    lost_low, lost_high = float(mass[low - first]), float(mass[high - 1 - first])
    spare = float(mass[low - first : high - first].sum()) - confidence
    # The dearer end of those that can be spared; equal ones (p50) are told apart by more than rounding.
    if lost_high <= spare and (lost_low > spare or lost_high >= lost_low * (1 - 1e-9)):
        return low, high - 1
    return (low + 1, high) if lost_low <= spare else (low, high)


def _interval(ordered_N: NDArray[np.float64], p: float) -> tuple[float, float] | None:
    ranks = interval_ranks(len(ordered_N), p)
    return ranks and (float(ordered_N[ranks[0] - 1]), float(ordered_N[ranks[1] - 1]))


def percentile_share(p: float) -> Fraction:
    """Return a percentile as a share of one: 999/1000 for 99.9.

    Raises:
        ValueError: p is not inside (0, 100).
    """
    if not 0 < p < 100:
        raise ValueError(f"percentile {p}; it must be between 0 and 100")
    # Through the shortest decimal: 99.9 means 999/1000, and 99.9 % of 1000 samples are 999, not 999.0000000001.
    return Fraction(str(p)) / 100


def _at_most_one(count: int, tail: float) -> float:
    """Probability of no or one success in `count` trials."""
    return float((1 - tail) ** (count - 1) * (1 - tail + count * tail))


def binomial_masses(count: int, share: Fraction) -> tuple[int, NDArray[np.float64]]:
    """Return the first number of successes whose mass matters (more than 10 deviations hold the rest), and the masses.

    From the ratios of neighbouring masses, scaled to sum to one: no factorial, so nothing overflows or cancels.
    """
    success, failure = float(share), float(1 - share)
    reach = ceil(10 * sqrt(count * success * failure)) + 50
    centre = int(count * share)
    first, last = max(0, centre - reach), min(count, centre + reach)
    k = np.arange(first, last)
    logs = np.concatenate([[0.0], np.cumsum(np.log((count - k) / (k + 1) * (success / failure)))])
    mass = np.exp(logs - logs.max())
    return first, mass / mass.sum()
