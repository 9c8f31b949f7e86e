"""Noise as benchmarks meet it: one number per process around 1, of identical code, and series of one process."""

from math import exp, log
from statistics import NormalDist

import numpy as np

ITERATIONS = 100
NORMAL = NormalDist()


def autocorrelated(draws, shape, correlation=0.7):
    """Series along the last axis in which each value carries `correlation` of the one before; Student t innovations."""
    series = draws.standard_t(3, shape)
    for step in range(1, shape[-1]):
        series[..., step] += correlation * series[..., step - 1]
    return series


def two_levels(draws, shape):
    """Medians of processes: 5 % between processes, autocorrelated heavy-tailed iterations within, as was measured."""
    between = draws.normal(0, 0.05, shape)
    return np.median(np.exp(between[..., None] + 0.05 * autocorrelated(draws, (*shape, ITERATIONS))), axis=-1)


def outliers(draws, shape):
    """One process in ten is 20 to 100 % off, the others 3 %."""
    return (1 + 0.03 * draws.normal(size=shape)) * np.where(draws.random(shape) < 0.1, draws.uniform(1.2, 2, shape), 1)


def modes(draws, shape):
    """Half of the processes run 15 % slower, as an unlucky memory layout does."""
    return np.where(draws.random(shape) < 0.5, 1.0, 1.15) * (1 + 0.01 * draws.normal(size=shape))


# In the order of the table in docs/statistics.md; MEASURED names those as large as was measured of real processes.
PROCESSES = {
    "two levels": two_levels,
    "log-normal 5 %": lambda draws, shape: draws.lognormal(0, 0.05, shape),
    "Student t, 2 degrees": lambda draws, shape: np.exp(0.03 * draws.standard_t(2, shape)),
    "outliers": outliers,
    "two modes": modes,
    "log-normal 30 %": lambda draws, shape: draws.lognormal(0, 0.3, shape),
    "ties, 5 % apart": lambda draws, shape: np.round(draws.lognormal(0, 0.2, shape) * 20) / 20 + 0.05,
}
MEASURED = ("two levels", "log-normal 5 %", "Student t, 2 degrees", "outliers")

# White noise: no drift, no memory.
SERIES = {
    "normal": lambda draws, shape: draws.normal(10, 0.5, shape),
    "log-normal": lambda draws, shape: draws.lognormal(2, 0.5, shape),
    "Student t, 1.5 degrees": lambda draws, shape: 10 + 0.2 * draws.standard_t(1.5, shape),
    "outliers": outliers,
    "rounded": lambda draws, shape: np.round(draws.normal(10, 0.5, shape), 1),
}


def bimodal(draws, shape):
    """Nine of ten batches at 10 ms, one at 20, both with a little noise: a cache that misses."""
    return np.where(draws.random(shape) < 0.9, 10.0, 20.0) + 0.2 * draws.normal(size=shape)


def bimodal_truth(share):
    """Bisect the distribution function of `bimodal`."""
    low, high = 0.0, 30.0
    for _ in range(100):
        middle = (low + high) / 2
        below = 0.9 * NormalDist(10, 0.2).cdf(middle) + 0.1 * NormalDist(20, 0.2).cdf(middle)
        low, high = (middle, high) if below < share else (low, middle)
    return low


# Latencies of one process, each with its true percentile of a share.
LATENCIES = {
    "normal": (lambda draws, shape: draws.normal(100, 5, shape), lambda share: 100 + 5 * NORMAL.inv_cdf(share)),
    "lognormal": (lambda draws, shape: draws.lognormal(0, 1, shape), lambda share: exp(NORMAL.inv_cdf(share))),
    "exponential": (lambda draws, shape: draws.exponential(1, shape), lambda share: -log(1 - share)),
    "bimodal": (bimodal, bimodal_truth),
}
