"""Percentiles, their minimum counts and their intervals, against published tables and brute force."""

from fractions import Fraction
from itertools import accumulate
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.statistics.percentiles import interval_ranks, minimum_count, order_rank, percentile

PERCENTILES = [0.1, 5, 10, 50, 75, 90, 95, 97, 99, 99.9]


def exact_masses(count, p):
    """Binomial masses as exact fractions."""
    share = Fraction(str(p)) / 100
    return [comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(count + 1)]


@pytest.mark.parametrize(("p", "count"), [(50, 11), (90, 64), (95, 130), (97, 219), (99, 662), (99.9, 6636)])
def test_minimum_counts_are_the_published_ones(p, count):
    """The counts from which a percentile is printed are those of MLPerf's early-stopping table."""
    assert minimum_count(p) == count


@pytest.mark.parametrize("p", [10, 50, 60, 75, 90, 95, 97])
def test_minimum_count_is_the_first_that_meets_the_definition(p):
    """At the minimum count, and not one below, no more than one sample in the tail is a 1 % event."""
    tail = min(Fraction(p, 100), 1 - Fraction(p, 100))

    def at_most_one(count):
        return (1 - tail) ** count + count * tail * (1 - tail) ** (count - 1)

    assert [at_most_one(minimum_count(p) - 1) > Fraction(1, 100), at_most_one(minimum_count(p)) > Fraction(1, 100)] == [
        True,
        False,
    ]


@pytest.mark.parametrize(("p", "count"), [(50, 6), (10, 36), (90, 36), (95, 72), (99, 368), (99.9, 3688)])
def test_intervals_exist_from_the_published_counts(p, count):
    """A two-sided interval at 95 % exists from the published number of samples, and not from one fewer."""
    assert interval_ranks(count - 1, p) is None
    assert interval_ranks(count, p) is not None


@given(count=st.integers(1, 120), p=st.sampled_from([5, 10, 33.3, 50, 75, 90, 95, 99]))
@settings(max_examples=60, deadline=None)
def test_interval_ranks_are_the_tightest_by_exact_arithmetic(count, p):
    """As exact fractions say: innermost with 2.5 % a side, then one rank further in if 95 % are still covered."""
    masses, side = exact_masses(count, p), Fraction(25, 1000)
    below = list(accumulate(masses))
    low = max((r for r in range(1, count + 1) if below[r - 1] <= side), default=None)
    high = min((r for r in range(1, count + 1) if 1 - below[r - 1] <= side), default=None)
    found = interval_ranks(count, p)
    if None in {low, high}:
        assert found is None
        return
    inner = {ranks: sum(masses[ranks[0] : ranks[1]]) for ranks in [(low, high - 1), (low + 1, high)]}
    enough = {ranks: covered for ranks, covered in inner.items() if covered >= Fraction(95, 100)}
    assert found == (min(enough, key=enough.get) if enough else (low, high))


@pytest.mark.parametrize(("count", "p"), [(1_000_000, 50), (1_000_000, 99.9), (10_000, 99)])
def test_interval_ranks_of_many_samples_follow_the_normal_limit(count, p):
    """With very many samples the ranks lie where the normal approximation puts them, within a few."""
    share = p / 100
    reach = 1.959964 * np.sqrt(count * share * (1 - share))
    assert interval_ranks(count, p) == pytest.approx((count * share - reach, count * share + reach), abs=3)


@given(
    samples=st.lists(st.floats(-1e6, 1e6), min_size=64, max_size=200),
    p=st.sampled_from([25, 50, 75, 87.5]),
)
@settings(max_examples=60, deadline=None)
def test_value_is_numpys_inverted_cdf(samples, p):
    """The value is the one that numpy's inverted_cdf method gives, and it is one of the samples."""
    found = percentile(samples, p)
    assert found.value == np.percentile(samples, p, method="inverted_cdf")
    assert found.value in samples
    assert found.low <= found.value <= found.high


@pytest.mark.parametrize("p", PERCENTILES)
def test_value_needs_no_more_and_no_fewer_samples_than_it_says(p):
    """One sample below `needed` the value is None, at `needed` it is there, with its interval."""
    needed = minimum_count(p)
    few, enough = percentile(np.arange(needed - 1.0), p), percentile(np.arange(float(needed)), p)
    assert (few.value, few.count, few.needed) == (None, needed - 1, needed)
    assert None not in {enough.value, enough.low, enough.high}


def test_rank_is_exact_where_floats_are_not():
    """p99.9 of 1,000 samples is the 999th and p90 of 10 the 9th, not one above by rounding."""
    assert [order_rank(1000, 99.9), order_rank(10, 90), order_rank(1, 0.1), order_rank(1000, 55)] == [999, 9, 1, 550]


def test_no_samples_give_no_value():
    """An empty series gives empty cells and says from how many samples there is one."""
    found = percentile([], 90)
    assert (found.value, found.low, found.high, found.count, found.needed) == (None, None, None, 0, 64)


def test_samples_are_left_as_they_were():
    """The caller's array is not sorted in place."""
    samples = np.array([3.0, 1.0, 2.0])
    percentile(samples, 50)
    assert samples.tolist() == [3.0, 1.0, 2.0]


@pytest.mark.parametrize("p", [0, 100, -1, float("nan")])
def test_percentile_outside_its_range_is_refused(p):
    """Only percentiles strictly between 0 and 100 exist."""
    with pytest.raises(ValueError, match="must be between 0 and 100"):
        percentile([1.0], p)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_sample_that_is_not_finite_is_refused_by_its_place(bad):
    """A NaN or infinity among the samples is named by its index."""
    with pytest.raises(ValueError, match="sample 2 is"):
        percentile([1.0, 2.0, bad], 50)


def test_series_of_two_dimensions_is_refused():
    """A table is not a series."""
    with pytest.raises(ValueError, match="flat series"):
        percentile(np.ones((2, 2)), 50)
