"""What a printed number can have been, and what can come of several."""

import itertools
import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis.audit.intervals import Interval, deviation_of, mean_of, read_number


@pytest.mark.parametrize(
    ("text", "low", "high", "rest"),
    [
        ("21", 20.5, 21.5, ""),
        ("6.90", 6.895, 6.905, ""),
        ("1,436 (1)", 1435.5, 1436.5, " (1)"),
        ("-3.1", -3.15, -3.05, ""),
        ("1.84x", 1.835, 1.845, "x"),
        ("8.5 hrs", 8.45, 8.55, " hrs"),
        (".5", 0.45, 0.55, ""),
        ("1.0e-06", 0.95e-6, 1.05e-6, ""),
        ("12.3 (11.9–12.6)", 12.25, 12.35, " (11.9–12.6)"),
    ],
)
def test_printed_decimals_decide(text, low, high, rest):
    """A number is within half a unit of its last digit, trailing zeros counted."""
    printed, found = read_number(text)
    assert (pytest.approx(low), pytest.approx(high), rest) == (printed.interval.low, printed.interval.high, found)


@pytest.mark.parametrize(
    "text", ["", "-", "–", "n<64", "OOM", "baseline", "unsupported: tf32", "1e999", "1e200", "9" * 400, "e5", ".", ","]
)
def test_what_is_no_number_is_none(text):
    """Dashes, words and counts that were not reached are not read as numbers."""
    assert read_number(text) is None


def test_zeros_filled_in_can_be_taken_away():
    """1.300 may have been 1.3; 130 may not have been 100."""
    printed, _ = read_number("1.300")
    assert (pytest.approx(1.25), pytest.approx(1.35)) == (printed.loose.low, printed.loose.high)
    assert read_number("130")[0].loose == read_number("130")[0].interval


TRUE = st.lists(st.floats(0.001, 1e4), min_size=2, max_size=14)


@settings(max_examples=150, deadline=None)
@given(TRUE, st.integers(0, 4))
def test_what_was_computed_before_rounding_is_allowed(values, decimals):
    """Mean, quotient and both deviations of the true values lie in the intervals of the printed ones."""
    printed = [read_number(f"{value:.{decimals}f}")[0].interval for value in values]
    found = (
        mean_of(printed),
        printed[0] / printed[1],
        deviation_of(printed, sample=True),
        deviation_of(printed, sample=False),
    )
    true = (statistics.fmean(values), values[0] / values[1], statistics.stdev(values), statistics.pstdev(values))
    for interval, value in zip(found, true, strict=True):
        slack = 1e-9 * max(1.0, value)
        assert interval.low - slack <= value <= interval.high + slack


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 100), min_size=2, max_size=7), st.floats(0.01, 5), st.integers(0, 2**32))
def test_the_ends_of_a_deviation_are_reached(middles, half, seed):
    """No choice of values leaves the interval, and its upper end is the deviation of one of the corners."""
    found = deviation_of([Interval(middle - half, middle + half) for middle in middles], sample=True)
    inside = np.random.default_rng(seed).uniform(-half, half, (500, len(middles))) + middles
    spreads = inside.std(axis=1, ddof=1)
    assert found.low - 1e-6 <= spreads.min()
    assert spreads.max() <= found.high + 1e-6
    corners = np.array(list(itertools.product((-half, half), repeat=len(middles)))) + middles
    assert np.isclose(corners.std(axis=1, ddof=1).max(), found.high, rtol=1e-6, atol=1e-6)


def test_a_quotient_by_what_may_be_zero_has_no_bound():
    """0 stands for anything up to a half."""
    quotient = read_number("5")[0].interval / read_number("0")[0].interval
    assert (9.0, math.inf) == (quotient.low, quotient.high)
