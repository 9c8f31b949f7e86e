"""Summaries and the statistics of older tables."""

import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.statistics.legacy import legacy_mean_ucl, legacy_trimmed_mean, legacy_with_warmup_average
from harness.statistics.summary import summary

latencies = st.lists(st.floats(0.001, 1e4), min_size=2, max_size=50)


@given(samples=latencies)
@settings(max_examples=50, deadline=None)
def test_summary_is_that_of_the_standard_library(samples):
    """Median, mean, extremes and sample deviation agree with Python's own statistics module."""
    found = summary(samples)
    assert found.median == pytest.approx(statistics.median(samples))
    assert found.mean == pytest.approx(statistics.fmean(samples))
    assert found.std == pytest.approx(statistics.stdev(samples), rel=1e-6, abs=1e-9)
    assert (found.min, found.max, found.count) == (min(samples), max(samples), len(samples))


def test_one_sample_has_no_deviation():
    """The deviation of a single sample is unknown, not zero."""
    assert summary([4.0]).std is None


def test_trimmed_mean_is_the_mean_of_the_fastest():
    """Of the latencies 1 to 10 the fastest 90 % average 5: below the mean, as no percentile would be."""
    assert legacy_trimmed_mean([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], 0.9) == 5.0


@given(samples=st.lists(st.floats(0.001, 1e4), min_size=10, max_size=50))
@settings(max_examples=30, deadline=None)
def test_trimmed_mean_never_exceeds_the_mean(samples):
    """What older tables called a percentile of latency cannot exceed the average."""
    assert legacy_trimmed_mean(samples, 0.9) <= summary(samples).mean * (1 + 1e-12)


@pytest.mark.parametrize(("share", "z"), [(0.8, 1.282), (0.9, 1.645), (0.95, 1.960), (0.99, 2.576), (0.999, 3.291)])
def test_mean_ucl_uses_the_published_z(share, z):
    """Of samples with mean 2 and population deviation 1, four of them, the limit is 2 + z / 2."""
    assert legacy_mean_ucl([1, 3, 1, 3], share) == pytest.approx(2 + z / 2, abs=1e-12)


def test_average_with_warmup_counts_the_slow_first_steps():
    """Warm-up steps weigh as much as any other."""
    assert legacy_with_warmup_average([100], [1, 1, 2]) == 26.0


@pytest.mark.parametrize(
    "call",
    [
        lambda: summary([]),
        lambda: legacy_mean_ucl([], 0.9),
        lambda: legacy_with_warmup_average([], []),
        lambda: legacy_trimmed_mean([1], 0.9),
        lambda: legacy_trimmed_mean([1], 1.5),
        lambda: legacy_mean_ucl([1], 1),
    ],
)
def test_nothing_to_average_is_refused(call):
    """Too few samples, or a share that is none, raise instead of giving NaN."""
    with pytest.raises(ValueError, match=r"sample|share"):
        call()
