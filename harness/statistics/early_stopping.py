"""The early-stopping estimate of MLPerf's LoadGen: a percentile's upper bound at 99 % confidence.

Source: github.com/mlcommons/inference, loadgen/early_stopping.cc and results.cc. LoadGen prints it beside the plain
percentile, which is an order statistic too, but one rank above `percentiles.order_rank` where p percent of the samples
are a whole number: index floor(p * n) from 0, so that its p90 of 10 samples is the largest.
"""

from dataclasses import dataclass

import numpy as np

from harness.statistics.percentiles import (
    EARLY_STOPPING_CONFIDENCE,
    Samples,
    binomial_masses,
    finite,
    minimum_count,
    percentile_share,
)


@dataclass(frozen=True, slots=True)
class EarlyStopping:
    """The estimate of a percentile in the samples' unit, None where `count` < `needed`.

    `beyond` is how many samples, the estimate itself among them, are at or above it: LoadGen "would discard" these
    less one.
    """

    p: float
    estimate: float | None
    beyond: int | None
    count: int
    needed: int


def early_stopping(samples: Samples, p: float) -> EarlyStopping:
    """Return LoadGen's estimate: with t tolerated beyond, the t-th largest sample.

    That t + 1 samples lie beyond the true percentile is 99 % sure, so the estimate is one rank above what that asks.

    Raises:
        ValueError: p is not inside [50, 100), or a sample is not finite.
    """
    needed = minimum_count(p)
    if p < 50:
        raise ValueError(f"percentile {p}; early stopping bounds slow samples, from 50 on")
    ordered_N = np.sort(finite(samples))
    count = len(ordered_N)
    if count < needed:
        return EarlyStopping(p, None, None, count, needed)
    beyond = tolerated_beyond(count, p)
    return EarlyStopping(p, float(ordered_N[count - beyond]), beyond, count, needed)


def tolerated_beyond(count: int, p: float) -> int:
    """Return the largest number that no more samples lie beyond the true percentile with a chance of at most 1 %.

    Is -1 where even none is likelier than that.
    """
    first, masses = binomial_masses(count, 1 - percentile_share(p))
    return first - 1 + int(np.count_nonzero(np.cumsum(masses) <= 1 - EARLY_STOPPING_CONFIDENCE))
