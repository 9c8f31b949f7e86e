"""MLPerf training's rules against its worked examples and MLCommons' own checker."""

import numpy as np
import pytest
from mlperf_logging.rcp_checker.rcp_checker import RCP_Checker

from harness.statistics.mlperf import (
    ConvergencePoint,
    convergence_point,
    interpolated_point,
    maximum_speedup,
    minimum_epochs,
    training_result,
)

# MLPerf Training Rules, appendix "RCP Examples": benchmark A, five runs a result.
RUNS = 5
BATCH_128 = [16, 14, 16, 17, 16, 16, 15, 16, 15, 16]
BATCH_256 = [20, 21, 21, 20, 22, 22, 21, 21, 20, 20]


def example_at_192():
    """The point that the policy interpolates."""
    return interpolated_point((128, convergence_point(BATCH_128)), (256, convergence_point(BATCH_256)), 192, RUNS)


@pytest.mark.parametrize(
    ("epochs", "mean", "deviation", "speedup", "least"),
    [(BATCH_128, "15.75", "0.43", "3.53%", "15.21"), (BATCH_256, "20.75", "0.66", "4.12%", "19.93")],
)
def test_points_of_the_policy_have_the_policys_limits(epochs, mean, deviation, speedup, least):
    """Mean, deviation, speed-up and least epochs of the two worked examples are the printed ones, digit for digit."""
    point = convergence_point(epochs)
    found = minimum_epochs(point, RUNS)
    assert (f"{point.mean:.2f}", f"{point.deviation:.2f}") == (mean, deviation)
    assert (f"{maximum_speedup(point, RUNS):.2%}", f"{found:.2f}") == (speedup, least)


def test_interpolated_point_of_the_policy_allows_the_policys_speedup():
    """Half way between the two batch sizes the mean is 18.25 and 3.68 % are allowed."""
    point = example_at_192()
    assert (point.mean, f"{point.deviation:.3f}", point.count) == (18.25, "0.547", 10)
    assert f"{maximum_speedup(point, RUNS):.2%}" == "3.68%"


@pytest.mark.parametrize(
    ("point", "epochs", "passes"),
    [
        (convergence_point(BATCH_128), [15, 15, 15, 16, 16], True),
        (convergence_point(BATCH_256), [19, 19, 19, 20, 21], False),
        (example_at_192(), [17, 18, 18, 18, 20], True),
    ],
)
def test_submissions_of_the_policy_pass_or_fail_as_it_says(point, epochs, passes):
    """The three results that the policy judges are judged alike."""
    assert (training_result(epochs) >= minimum_epochs(point, RUNS)) == passes


def test_limits_are_those_of_mlcommons_checker():
    """Over 200 random points the least epochs equal those that the checker finds by bisection, to its tolerance."""
    checker = RCP_Checker("training", "3.0.0", "maskrcnn", verbose=False)
    draws = np.random.default_rng(2)
    for _ in range(200):
        point = ConvergencePoint(draws.uniform(5, 60), draws.uniform(0.05, 2), int(draws.integers(3, 40)))
        expected = checker._find_min_acceptable_mean(point.mean, point.deviation, point.count)
        assert minimum_epochs(point, RUNS) == pytest.approx(expected, abs=2e-4)


def test_result_drops_the_best_and_the_worst():
    """Of the times 1, 5, 6, 7 and 100 the result is 6."""
    assert training_result([100, 5, 1, 7, 6]) == 6.0


def test_one_run_that_never_converged_is_the_worst():
    """It is dropped in place of the slowest that did; the best is dropped still."""
    assert training_result([None, 5, 1, 7, 6]) == 6.0


def test_two_runs_that_never_converged_leave_no_result():
    """There is no number to print then, and none is made up."""
    assert training_result([None, 5, None, 7, 6]) is None


@pytest.mark.parametrize(
    "call",
    [
        lambda: training_result([1, 2]),
        lambda: convergence_point([1, 2]),
        lambda: minimum_epochs(ConvergencePoint(10, 1, 8), 2),
        lambda: maximum_speedup(ConvergencePoint(1, 10, 8), 5),
        lambda: interpolated_point((128, convergence_point(BATCH_128)), (256, convergence_point(BATCH_256)), 512, 5),
    ],
)
def test_what_the_rules_cannot_judge_is_refused(call):
    """Too few runs, a batch size outside the points and a spread that hides everything raise."""
    with pytest.raises(ValueError, match=r"runs|batch size|deviation"):
        call()
