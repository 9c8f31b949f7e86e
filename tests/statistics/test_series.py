"""Flags of raw series: rare on white noise of any tail, common where there is memory or drift."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from noise import SERIES, autocorrelated
from scipy.stats import kendalltau, theilslopes

from harness.statistics.series import AUTOCORRELATED, DRIFTING, MIN_SAMPLES, SeriesFlags, _drift, series_flags

RUNS = 1000


def shares(series):
    """Share of the rows with each flag."""
    found = [series_flags(row).flags for row in series]
    return {flag: np.mean([flag in flags for flags in found]) for flag in (AUTOCORRELATED, DRIFTING)}


@pytest.mark.parametrize("count", [30, 120])
@pytest.mark.parametrize("name", SERIES)
def test_white_noise_is_flagged_in_about_one_run_of_a_hundred(name, count):
    """Of 1,000 series without memory or drift each flag is on in at most 2 %, whatever the tails."""
    found = shares(SERIES[name](np.random.default_rng(21), (RUNS, count)))
    assert {flag: share for flag, share in found.items() if share > 0.02} == {}


@pytest.mark.parametrize("correlation", [0.5, 0.9])
def test_memory_is_flagged_and_not_taken_for_drift(correlation):
    """Of 300 series with memory and heavy tails nearly all are called autocorrelated, few drifting."""
    found = shares(10 + 0.3 * autocorrelated(np.random.default_rng(22), (300, 200), correlation))
    assert (found[AUTOCORRELATED] >= 0.99, found[DRIFTING] <= 0.03) == (True, True)


def test_drift_is_flagged():
    """A climb of 5 % in noise of 3 % is seen in nearly all of 300 series of 200, whatever the outliers."""
    draws = np.random.default_rng(23)
    noise = 0.03 * draws.standard_t(2, (300, 200))
    found = [series_flags(row) for row in 10 * (1 + noise + np.linspace(0, 0.05, 200))]
    assert np.mean([DRIFTING in each.flags for each in found]) >= 0.9
    assert np.median([each.drift for each in found]) == pytest.approx(0.05 / 1.025, rel=0.1)


@pytest.mark.parametrize("correlation", [0.3, 0.6, 0.9])
def test_effective_count_is_that_of_the_textbook(correlation):
    """Of an AR(1) series of 2,000 it is about n (1 - r) / (1 + r)."""
    series = autocorrelated(np.random.default_rng(24), (100, 2000), correlation)
    found = [series_flags(row) for row in series]
    assert np.median([each.autocorrelation for each in found]) == pytest.approx(correlation, abs=0.06)
    expected = 2000 * (1 - correlation) / (1 + correlation)
    assert np.median([each.effective_count for each in found]) == pytest.approx(expected, rel=0.2)


def test_alternating_series_is_flagged_and_counts_no_more_than_its_samples():
    """Fast and slow in turns is a memory too; the effective count is never above the count."""
    found = series_flags([1.0, 1.2] * 20)
    assert (found.flags, found.effective_count) == ((AUTOCORRELATED,), 40)
    assert found.autocorrelation < -0.9


@given(values=st.lists(st.floats(0.5, 2), min_size=MIN_SAMPLES, max_size=40, unique=True))
@settings(max_examples=60, deadline=None)
def test_drift_is_theil_and_sens_slope_with_kendalls_direction(values):
    """Below the number of blocks the drift is scipy's slope over the series, and it is as unusual as Kendall's tau."""
    drift, moved = _drift(np.array(values))
    slope = theilslopes(values).slope
    assert drift == pytest.approx(slope * (len(values) - 1) / np.median(values), abs=1e-9)
    count = len(values)
    pairs, variance = count * (count - 1) / 2, count * (count - 1) * (2 * count + 5) / 18
    tau = kendalltau(np.arange(count), values).statistic
    assert moved <= max(0, abs(tau) * pairs - 1) / np.sqrt(variance) + 1e-9


@given(values=st.lists(st.floats(0.5, 2), min_size=MIN_SAMPLES, max_size=200), scale=st.sampled_from([2**-10, 2**10]))
@settings(max_examples=60, deadline=None)
def test_units_do_not_matter(values, scale):
    """A series in another unit (by powers of two, so that nothing is rounded) has the same flags."""
    assert series_flags([scale * value for value in values]).flags == series_flags(values).flags


@pytest.mark.parametrize("values", [[], [1.0], list(range(1, MIN_SAMPLES)), [3.0] * 50])
def test_what_cannot_be_judged_is_null_and_not_flagged(values):
    """Too few samples, or all alike, say nothing."""
    assert series_flags(values) == SeriesFlags(None, None, None, ())


def test_series_around_zero_has_no_relative_drift():
    """A median of 0 is nothing to relate a drift to; its memory is known all the same."""
    found = series_flags([-1.0, 0.0, 1.0] * 10)
    assert found.drift is None
    assert found.autocorrelation is not None


def test_skewed_series_of_any_length_does_not_drift():
    """A strongly skewed series drifts no more often where its length is no multiple of the blocks."""
    found = shares(np.random.default_rng(25).lognormal(0, 2, (RUNS, 74)))
    assert found[DRIFTING] <= 0.02


def test_series_that_is_not_finite_is_refused():
    """A NaN is named by its place."""
    with pytest.raises(ValueError, match="sample 1 is nan"):
        series_flags([1.0, float("nan")])
