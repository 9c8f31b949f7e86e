"""MLPerf training's rules for several runs of one benchmark: the result, and how fast it may converge.

Source: MLPerf Training Rules, "Benchmark Results", "Reference Convergence Points" and its appendix of worked examples
(github.com/mlcommons/training_policies, training_rules.adoc).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from harness.statistics.percentiles import finite
from harness.statistics.student import t_quantile

MIN_RUNS = 3
MAX_NOT_CONVERGED = 1
CHANCE = 0.05


@dataclass(frozen=True, slots=True)
class ConvergencePoint:
    """How many epochs the reference takes at one batch size: mean and deviation of `count` runs."""

    mean: float
    deviation: float
    count: int


def training_result(times: Sequence[float | None]) -> float | None:
    """Return the mean of the times to the target without the best and the worst; None is a run that never got there.

    Such a run is the worst. Of more than MAX_NOT_CONVERGED there is no result: None.

    Raises:
        ValueError: there are fewer than MIN_RUNS runs, or a time is not finite.
    """
    reached_N = finite([time for time in times if time is not None])
    lost = len(times) - len(reached_N)
    if len(times) < MIN_RUNS:
        raise ValueError(f"{len(times)} runs; without the best and the worst at least one must be left of {MIN_RUNS}")
    if lost > MAX_NOT_CONVERGED:
        return None
    return float(np.sort(reached_N)[1 : len(times) - 1].mean())


def convergence_point(epochs: Sequence[float]) -> ConvergencePoint:
    """Return the reference's point from the epochs of its runs (at least twice as many as a result has runs).

    Mean and deviation are without the best and the worst run, the deviation divided by the count, as the examples have
    it. MLCommons' own checker takes the deviation of all runs, which allows a little more.

    Raises:
        ValueError: there are fewer than MIN_RUNS runs, or a number is not finite.
    """
    kept_N = _without_extremes(epochs)
    return ConvergencePoint(float(kept_N.mean()), float(kept_N.std()), len(kept_N))


def interpolated_point(
    low: tuple[int, ConvergencePoint], high: tuple[int, ConvergencePoint], batch_size: int, runs: int
) -> ConvergencePoint:
    """Return the point at a batch size between two with points, straight between both; it counts as 2 * runs runs.

    Raises:
        ValueError: the batch size is not between those of the two.
    """
    if not low[0] < batch_size < high[0]:
        raise ValueError(f"batch size {batch_size}; it must lie between {low[0]} and {high[0]}")
    share = (batch_size - low[0]) / (high[0] - low[0])
    mean = low[1].mean + share * (high[1].mean - low[1].mean)
    return ConvergencePoint(mean, low[1].deviation + share * (high[1].deviation - low[1].deviation), 2 * runs)


def minimum_epochs(reference: ConvergencePoint, runs: int) -> float:
    """Return the mean of epochs below which a result of `runs` runs converges faster than the reference allows.

    The smallest mean that a one-sided two-sample t-test at CHANCE does not tell from the reference's, the result's
    deviation taken as the reference's and its best and worst run dropped.

    Raises:
        ValueError: there are fewer than MIN_RUNS runs.
    """
    if runs < MIN_RUNS:
        raise ValueError(f"{runs} runs; a result needs at least {MIN_RUNS}")
    kept = runs - 2
    error = reference.deviation * sqrt(1 / reference.count + 1 / kept)
    return reference.mean - t_quantile(1 - CHANCE, reference.count + kept - 2) * error


def maximum_speedup(reference: ConvergencePoint, runs: int) -> float:
    """Return by how much faster a result of `runs` runs may converge: 0.0368 is 3.68 %.

    Raises:
        ValueError: there are fewer than MIN_RUNS runs, or no mean above 0 would be told from the reference's.
    """
    least = minimum_epochs(reference, runs)
    if least <= 0:
        raise ValueError(f"a deviation of {reference.deviation} epochs around {reference.mean} tells no result apart")
    return reference.mean / least - 1


def _without_extremes(values: Sequence[float]) -> NDArray[np.float64]:
    if len(values) < MIN_RUNS:
        raise ValueError(f"{len(values)} runs; without the best and the worst at least one must be left of {MIN_RUNS}")
    return np.sort(finite(values))[1:-1]
