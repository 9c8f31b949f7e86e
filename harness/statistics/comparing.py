"""Comparing two sets of processes: the unit of replication is the process, one number each (its median)."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, comb, erfc, sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.statistics.percentiles import finite

Verdict = Literal["higher", "lower", "same", "inconclusive"]

RESAMPLES = 10_000
MAX_CHANCE = 0.01
MIN_PROCESSES = 5
"""At 5 against 5 the two most extreme of 252 orders are the first that are together rarer than MAX_CHANCE."""
EXACT_PAIRS = 90_000
"""Up to 300 against 300, a tenth of a second, orders are counted; above, their number is taken for normal."""
PLANNED_PAIRS = 2_500
"""The same where one only wants to know about how many processes would do."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Medians of processes side by side; no unit, all of it is relative.

    `ratio` is median(other) / median(base); `low` and `high` bound it (None of fewer than MIN_PROCESSES a side);
    `effect` is Cliff's delta, from -1 (every process of other is below every one of base) to 1; `chance` is the
    two-sided probability of ranks at least as far apart where nothing differs.
    """

    ratio: float
    low: float | None
    high: float | None
    effect: float
    verdict: Verdict
    base_count: int
    other_count: int
    chance: float | None = None


def compare_processes(
    base: Sequence[float],
    other: Sequence[float],
    *,
    tolerance: float = 0.02,
    confidence: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Compare one number per process of `base` with those of `other`.

    The ratio is of medians, its interval the percentile interval of 10,000 bootstrap resamples (Efron and Tibshirani,
    An Introduction to the Bootstrap, 13.3). Higher or lower takes two things: the interval wholly outside 1 +-
    tolerance, and ranks so far apart that identical processes show them in at most 1 % of comparisons (Mann and
    Whitney, 1947). The second makes false alarms rare whatever the noise: a 95 % interval alone misses the truth in up
    to 5 % of comparisons once the noise dwarfs the tolerance. Same takes the interval wholly inside.

    Raises:
        ValueError: a side is empty, or a number is not finite or not above 0.
    """
    base_N, other_M = _positive(base, "base"), _positive(other, "other")
    ratio = float(np.median(other_M) / np.median(base_N))
    effect = cliffs_delta(base_N, other_M)
    counts = len(base_N), len(other_M)
    if min(counts) < MIN_PROCESSES:
        return Comparison(ratio, None, None, effect, "inconclusive", *counts)
    low, high = _ratio_interval(base_N, other_M, confidence, seed)
    chance = rank_chance(effect, *counts)
    verdict: Verdict = "inconclusive"
    if low > 1 + tolerance and chance <= MAX_CHANCE:
        verdict = "higher"
    elif high < 1 - tolerance and chance <= MAX_CHANCE:
        verdict = "lower"
    elif 1 - tolerance <= low and high <= 1 + tolerance:
        verdict = "same"
    return Comparison(ratio, low, high, effect, verdict, *counts, chance)


def cliffs_delta(base: Sequence[float] | NDArray[np.float64], other: Sequence[float] | NDArray[np.float64]) -> float:
    """Return the share of pairs in which `other` is above `base`, less the share in which it is below (Cliff, 1993)."""
    ordered_N, other_M = np.sort(finite(base)), finite(other)
    below = np.searchsorted(ordered_N, other_M, side="left").sum()
    above = (len(ordered_N) - np.searchsorted(ordered_N, other_M, side="right")).sum()
    return float(below - above) / (len(ordered_N) * len(other_M))


def rank_chance(effect: float, base_count: int, other_count: int, exact_pairs: int = EXACT_PAIRS) -> float:
    """Return the two-sided probability of an effect of at least this size among identical processes.

    The Mann-Whitney test: U = (1 + effect) / 2 * pairs, in how many of all orders it is as far from its middle. Exact
    up to so many pairs; above, by the normal distribution with a correction for continuity, whose tails are heavier
    than those of U, so that it errs on the side of no difference: at 300 against 300 by 3 % of a chance of 0.001. Ties
    are not corrected for either: they only make an effect rarer than said.
    """
    pairs = base_count * other_count
    reached = ceil((1 + abs(effect)) / 2 * pairs - 1e-9)
    if pairs <= exact_pairs:
        tail = float(_orders(min(base_count, other_count), max(base_count, other_count))[pairs - reached])
    else:
        deviation = sqrt(pairs * (base_count + other_count + 1) / 12)
        tail = erfc((reached - 0.5 - pairs / 2) / deviation / sqrt(2)) / 2
    return min(1.0, 2 * tail)


def processes_for(effect: float, chance: float, most: int) -> int | None:
    """Return from about how many processes a side an effect of this size is as rare as `chance`; None beyond `most`."""

    def rare(count: int) -> bool:
        return rank_chance(effect, count, count, PLANNED_PAIRS) <= chance

    found = bisect_left(range(most + 1), True, lo=1, key=rare)
    return found if found <= most else None


@lru_cache
def _orders(few: int, many: int) -> NDArray[np.float64]:
    """Return for U = 0 ... few * many / 2 the probability that U is at most that, all orders being equally likely.

    How many orders have U = u is the coefficient of q^u in the product of (1 - q^(many + i)) / (1 - q^i) for i = 1 ...
    few (Gauss). Each step leaves counts, so that rounding does not add up: 1e-14 of the exact at 100 against 100.
    """
    size = few * many // 2 + 1
    counts = np.zeros(size)
    counts[0] = 1
    for i in range(1, few + 1):
        if many + i < size:
            counts[many + i :] -= counts[: size - many - i].copy()
        rows = -(-size // i)
        counts = np.pad(counts, (0, rows * i - size)).reshape(rows, i).cumsum(axis=0).ravel()[:size]
    return np.cumsum(counts) / float(comb(few + many, few))


def _ratio_interval(
    base_N: NDArray[np.float64], other_M: NDArray[np.float64], confidence: float, seed: int
) -> tuple[float, float]:
    """Return the percentile interval of the ratio of medians over resampled processes, each side for itself."""
    base_ranks, other_ranks = _resampled_ranks(len(base_N), seed, 0), _resampled_ranks(len(other_M), seed, 1)
    ratios_R = np.sort(other_M)[other_ranks].sum(axis=0) / np.sort(base_N)[base_ranks].sum(axis=0)
    tail = (1 - confidence) / 2
    low, high = np.quantile(ratios_R, [tail, 1 - tail])
    return float(low), float(high)


@lru_cache(maxsize=64)
def _resampled_ranks(count: int, seed: int, side: int) -> NDArray[np.intp]:
    """Return the ranks, from 0, of the two values in the middle of RESAMPLES draws of `count` values: shape (2, R).

    A draw with replacement is n uniform numbers, each times n and rounded up to a rank. The middle one of them is beta
    distributed, and the next is the least of what lies above it, so two numbers stand for n. Of an odd count the two
    are one and the same: the sum of the values is twice the median, as it is of an even count.
    """
    draws = np.random.default_rng([seed, side])
    middle = (count + 1) // 2
    first_R = draws.beta(middle, count - middle + 1, RESAMPLES)
    second_R = first_R if count % 2 else 1 - (1 - first_R) * (1 - draws.beta(1, count - middle, RESAMPLES))
    return np.minimum((np.stack([first_R, second_R]) * count).astype(np.intp), count - 1)


def _positive(values: Sequence[float], side: str) -> NDArray[np.float64]:
    values_N = finite(values)
    if not len(values_N):
        raise ValueError(f"no process of {side}; a comparison needs at least one a side")
    if not (values_N > 0).all():
        raise ValueError(f"{side} has {values_N.min()}; a ratio needs numbers above 0")
    return values_N
