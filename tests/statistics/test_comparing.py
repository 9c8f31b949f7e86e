"""Comparisons that do not cry wolf: false alarms on identical code, power on a real difference, and the parts."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from noise import MEASURED, PROCESSES
from scipy.stats import mannwhitneyu

from harness.statistics.comparing import (
    EXACT_PAIRS,
    MIN_PROCESSES,
    RESAMPLES,
    _resampled_ranks,
    cliffs_delta,
    compare_processes,
    processes_for,
    rank_chance,
)

PAIRS = 1000
numbers = st.lists(st.floats(0.1, 10), min_size=MIN_PROCESSES, max_size=12)


def verdicts(base, other):
    """Share of each verdict over the rows of two tables."""
    found = [compare_processes(one, two).verdict for one, two in zip(base, other, strict=True)]
    return {word: found.count(word) / len(found) for word in ("higher", "lower", "same", "inconclusive")}


@pytest.mark.parametrize("count", [MIN_PROCESSES, 20])
@pytest.mark.parametrize("name", PROCESSES)
def test_identical_code_is_called_different_in_at_most_1_percent(name, count):
    """Of 1,000 pairs of identical code at most ten are called higher or lower, whatever the noise and its size."""
    pairs = PROCESSES[name](np.random.default_rng(11), (2, PAIRS, count))
    found = verdicts(pairs[0], pairs[1])
    assert found["higher"] + found["lower"] <= 0.01


@pytest.mark.parametrize("name", MEASURED)
def test_ten_percent_are_found_with_twenty_processes_a_side(name):
    """Of 1,000 pairs at least 900 show +10 %, at noise as large as was measured, and none shows the contrary."""
    pairs = PROCESSES[name](np.random.default_rng(12), (2, PAIRS, 20))
    found = verdicts(pairs[0], 1.1 * pairs[1])
    assert (found["higher"] >= 0.9, found["lower"]) == (True, 0)


def test_interleaved_processes_of_a_drifting_machine_raise_no_alarm():
    """Where the machine's own speed wanders by 10 % with a long memory, A B A B keeps it out of the comparison."""
    draws = np.random.default_rng(13)
    machine = np.cumsum(draws.normal(0, 0.01, (PAIRS, 40)), axis=1)
    speed = np.exp(machine + 0.02 * draws.normal(size=machine.shape))
    found = verdicts(speed[:, 0::2], speed[:, 1::2])
    assert found["higher"] + found["lower"] <= 0.01


def test_quiet_processes_are_called_the_same():
    """At 1 % between processes twenty a side show that nothing moved by 2 %, nearly always."""
    pairs = np.random.default_rng(14).lognormal(0, 0.01, (2, PAIRS, 20))
    assert verdicts(pairs[0], pairs[1])["same"] >= 0.95


@pytest.mark.parametrize("count", [5, 20])
def test_interval_holds_the_true_ratio(count):
    """The 95 % interval holds the true ratio of medians in at least 94 % of pairs, at few processes too."""
    draws = np.random.default_rng(15)
    base, other = draws.lognormal(0, 0.1, (2, PAIRS, count))
    found = [compare_processes(one, 1.3 * two) for one, two in zip(base, other, strict=True)]
    assert np.mean([each.low <= 1.3 <= each.high for each in found]) >= 0.94


@given(base=numbers, other=numbers, scale=st.floats(0.01, 100))
@settings(max_examples=60, deadline=None)
def test_units_do_not_matter(base, other, scale):
    """Seconds or milliseconds on both sides: the same comparison."""
    one = compare_processes(base, other)
    two = compare_processes([scale * x for x in base], [scale * x for x in other])
    assert (two.ratio, two.low, two.high) == pytest.approx((one.ratio, one.low, one.high))


@given(base=numbers, other=numbers)
@settings(max_examples=60, deadline=None)
def test_interval_encloses_the_ratio_within_what_was_measured(base, other):
    """The ratio lies in its interval, and the interval between the extremes of the processes."""
    found = compare_processes(base, other)
    assert found.low <= found.ratio <= found.high
    assert min(other) / max(base) <= found.low * (1 + 1e-12)
    assert found.high <= max(other) / min(base) * (1 + 1e-12)


def test_too_few_processes_are_inconclusive_however_far_apart():
    """Four against four can come out in the most extreme order by chance in 2 of 70: no verdict, no interval."""
    found = compare_processes([1, 1, 1, 1], [9, 9, 9, 9])
    assert (found.verdict, found.low, found.high, found.ratio, found.effect) == ("inconclusive", None, None, 9, 1)
    assert (rank_chance(1, 4, 4), rank_chance(1, 5, 5)) == pytest.approx((2 / 70, 2 / 252))


def test_far_apart_needs_the_interval_and_the_ranks():
    """A ratio beyond the tolerance whose ranks are not unusual stays inconclusive."""
    base, other = [1.00, 1.01, 1.02, 1.40, 1.41], [1.03, 1.39, 1.42, 1.43, 1.44]
    found = compare_processes(base, other)
    assert found.chance > 0.01
    assert found.verdict == "inconclusive"


def test_direction_and_size_of_an_effect():
    """Twice as much everywhere is higher, half is lower, and the effect is whole."""
    base = [1.0, 1.01, 1.02, 1.03, 1.04, 1.05]
    up, down = compare_processes(base, [2 * x for x in base]), compare_processes(base, [x / 2 for x in base])
    assert (up.verdict, up.ratio, up.effect) == ("higher", pytest.approx(2), 1)
    assert (down.verdict, down.ratio, down.effect) == ("lower", pytest.approx(0.5), -1)


def test_same_seed_gives_the_same_interval_and_another_nearly_the_same():
    """A comparison can be repeated to the bit; how it was resampled hardly matters."""
    base, other = np.random.default_rng(16).lognormal(0, 0.05, (2, 20))
    one, again, two = (compare_processes(base, other, seed=seed) for seed in (0, 0, 1))
    assert one == again
    assert (two.low, two.high) == pytest.approx((one.low, one.high), rel=0.01)


@pytest.mark.parametrize("count", [5, 6, 20])
def test_resampled_ranks_are_distributed_as_drawing_with_replacement_has_them(count):
    """The pairs of middle ranks come as often as when every value of every resample is drawn."""
    draws = np.sort(np.random.default_rng(17).integers(0, count, (200_000, count)), axis=1)
    expected = np.zeros((count, count))
    np.add.at(expected, (draws[:, (count - 1) // 2], draws[:, count // 2]), 1 / len(draws))
    found = np.zeros((count, count))
    np.add.at(found, tuple(np.sort(_resampled_ranks(count, 0, 0), axis=0)), 1 / RESAMPLES)
    assert np.abs(found - expected).max() < 4 * np.sqrt(expected.max() / RESAMPLES)


@given(
    base=st.lists(st.integers(1, 9), min_size=1, max_size=9), other=st.lists(st.integers(1, 9), min_size=1, max_size=9)
)
@settings(max_examples=60, deadline=None)
def test_effect_is_the_share_of_pairs_won_less_those_lost(base, other):
    """Cliff's delta by its definition, ties counting for neither side."""
    won = sum(int(np.sign(two - one)) for one in base for two in other)
    assert cliffs_delta(base, other) == pytest.approx(won / (len(base) * len(other)))


@pytest.mark.parametrize(("base_count", "other_count"), [(5, 5), (5, 9), (12, 7), (20, 20), (60, 3), (100, 100)])
def test_chance_of_ranks_is_the_mann_whitney_test(base_count, other_count):
    """At equal and unequal counts the chance equals scipy's exact test."""
    draws = np.random.default_rng(18)
    for shift in (0, 0.3, 1.0):
        base, other = draws.normal(size=base_count), shift + draws.normal(size=other_count)
        expected = mannwhitneyu(base, other, method="exact").pvalue
        assert rank_chance(cliffs_delta(base, other), base_count, other_count) == pytest.approx(expected)


def test_chance_of_ranks_is_the_share_of_all_orders():
    """Of the 56 ways to deal three and five ranks, those at least as far apart, counted one by one."""
    effects = [cliffs_delta([x for x in range(8) if x not in few], few) for few in combinations(range(8), 3)]
    for effect in set(effects):
        share = Fraction(sum(abs(other) >= abs(effect) - 1e-12 for other in effects), len(effects))
        assert rank_chance(effect, 5, 3) == pytest.approx(float(share))


@pytest.mark.parametrize(("base_count", "other_count"), [(301, 301), (1000, 400), (20_000, 5)])
def test_chance_of_ranks_of_many_processes_is_the_normal_one(base_count, other_count):
    """Beyond what is counted the chance equals scipy's, which corrects for continuity too."""
    assert base_count * other_count > EXACT_PAIRS
    draws = np.random.default_rng(19)
    for shift in (0, 0.1, 0.3):
        base, other = draws.normal(size=base_count), shift + draws.normal(size=other_count)
        expected = mannwhitneyu(base, other, method="asymptotic").pvalue
        assert rank_chance(cliffs_delta(base, other), base_count, other_count) == pytest.approx(expected)


@pytest.mark.parametrize(("base_count", "other_count"), [(50, 50), (100, 100), (300, 300), (30, 2000)])
def test_normal_chance_calls_nothing_rare_that_is_not(base_count, other_count):
    """Where it matters, up to 2 %, it is never below the counted one; at 300 a side hardly above it, up to 0.1 %."""
    pairs = base_count * other_count
    effects = np.linspace(2, 5, 60) * np.sqrt((base_count + other_count + 1) / 3 / pairs)
    found = [[rank_chance(each, base_count, other_count, counted) for counted in (pairs, 0)] for each in effects]
    assert all(counted <= normal for counted, normal in found if counted <= 0.02)
    if base_count == 300:
        assert all(normal <= 1.03 * counted for counted, normal in found if counted >= 0.001)


@pytest.mark.parametrize(
    ("effect", "chance", "count"), [(1, 0.01, 5), (1, 0.01 / 15, 7), (1, 0.0002, 8), (0, 0.01, None)]
)
def test_processes_that_make_an_effect_rare(effect, chance, count):
    """Of five a side the most extreme order is rarer than 1 %, of seven than that of thirty points."""
    assert processes_for(effect, chance, 1000) == count


@given(effect=st.floats(0.05, 1), chance=st.floats(1e-6, 0.01))
@settings(max_examples=60, deadline=None)
def test_fewer_processes_would_not_make_it_rare(effect, chance):
    """The number is the least that does."""
    count = processes_for(effect, chance, 1000)
    if count is not None and count <= 50:
        assert rank_chance(effect, count, count) <= chance < rank_chance(effect, count - 1, count - 1)


@pytest.mark.parametrize(
    ("base", "other", "message"),
    [
        ([], [1.0], "no process of base"),
        ([1.0], [], "no process of other"),
        ([1.0], [0.0, 1.0], "other has 0.0; a ratio needs numbers above 0"),
        ([float("nan")], [1.0], "sample 0 is nan"),
    ],
)
def test_what_has_no_ratio_is_refused(base, other, message):
    """An empty side, a zero and a NaN are errors, not verdicts."""
    with pytest.raises(ValueError, match=message):
        compare_processes(base, other)
