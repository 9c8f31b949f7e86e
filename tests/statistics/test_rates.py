"""How well a window knows its rate, and when a warm-up has settled."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from noise import autocorrelated
from scipy.stats import ttest_1samp

from harness.statistics import rates as rates_module
from harness.statistics.rates import MIN_STRETCHES, SETTLED_STRETCHES, rate_interval, steady

RUNS = 1000
IMAGES = 16


def covered(elapsed, mean_s):
    """Share of windows (rows) whose interval holds the rate at that mean time of a stretch."""
    held = []
    for row in elapsed:
        rate = IMAGES * len(row) / row.sum()
        held.append(abs(rate - IMAGES / mean_s) <= rate_interval([IMAGES] * len(row), row) * rate)
    return np.mean(held)


@pytest.mark.parametrize("count", [5, 10, 20, 100])
def test_interval_holds_the_rate_of_independent_stretches(count):
    """Of 1,000 windows at 20 % noise at least 94 % hold the true rate, from five stretches on, and not nearly all."""
    elapsed = np.random.default_rng(31).lognormal(-0.02, 0.2, (RUNS, count))
    assert 0.94 <= covered(elapsed, 1.0) <= 0.985


def test_interval_knows_memory_that_lasts_longer_than_a_stretch():
    """Where stretches carry half of the one before, 92 % and more still hold the rate; unwidened it would be 75."""
    elapsed = 1 + 0.03 * autocorrelated(np.random.default_rng(32), (RUNS, 40), 0.5).clip(-30, 30)
    assert covered(elapsed, 1.0) >= 0.92


def test_interval_of_equal_stretches_is_that_of_the_t_test(monkeypatch):
    """With as many images each, and no memory, it is Student's interval of the mean time."""
    monkeypatch.setattr(rates_module, "_widening", lambda _: 1.0)
    elapsed = np.random.default_rng(33).normal(1, 0.05, 12)
    low, high = ttest_1samp(elapsed, 0).confidence_interval(0.95)
    assert rate_interval([8] * 12, elapsed) == pytest.approx((high - low) / 2 / elapsed.mean(), rel=1e-9)


def test_more_stretches_know_the_rate_better():
    """Sixteen times the stretches leave about a quarter of the interval."""
    draws = np.random.default_rng(34)
    few, many = (np.mean([rate_interval([8] * n, draws.normal(1, 0.1, n)) for _ in range(200)]) for n in (25, 400))
    assert few / many == pytest.approx(4, rel=0.2)


@given(images=st.lists(st.integers(1, 64), min_size=MIN_STRETCHES, max_size=50), pace=st.floats(0.001, 10))
@settings(max_examples=50, deadline=None)
def test_stretches_of_one_rate_leave_nothing_to_know(images, pace):
    """Stretches of any length at exactly one rate have an interval of nothing."""
    assert rate_interval(images, [count * pace for count in images]) == pytest.approx(0, abs=1e-9)


def test_few_stretches_have_no_interval():
    """Under five the rate's interval is unknown, not zero."""
    assert rate_interval([8] * 4, [1.0, 1.1, 0.9, 1.0]) is None


@pytest.mark.parametrize(
    ("images", "elapsed_s"), [([1] * 5, [1.0] * 6), ([1] * 5, [1.0] * 4 + [0.0]), ([0] * 5, [1.0] * 5)]
)
def test_what_has_no_rate_is_refused(images, elapsed_s):
    """Unequal lengths, a stretch without time and a window without an image raise."""
    with pytest.raises(ValueError, match="stretch"):
        rate_interval(images, elapsed_s)


def first_steady(rates):
    """After how many stretches a warm-up would have ended, or None."""
    return next((count for count in range(1, len(rates) + 1) if steady(rates[:count])), None)


@pytest.mark.parametrize("time_constant", [2, 10, 30])
def test_warm_up_lasts_until_little_is_left_to_climb(time_constant):
    """From 40 % of the rate, quickly or slowly: of 20 warm-ups half end with 2 % or less to climb, none never."""
    draws, steps = np.random.default_rng(35), np.arange(300)
    climb = 0.6 * np.exp(-steps / time_constant)
    ends = [first_steady(100 * (1 - climb) * (1 + 0.01 * draws.normal(size=300))) for _ in range(20)]
    assert None not in ends
    assert np.median([climb[end - 1] for end in ends]) <= 0.02


def test_level_noise_is_steady_at_once():
    """At 1 % noise a level series is steady as soon as there are enough stretches, and not before."""
    draws = np.random.default_rng(36)
    ends = {first_steady(100 * (1 + 0.01 * draws.normal(size=20))) for _ in range(100)}
    assert ends == {SETTLED_STRETCHES}


@pytest.mark.parametrize(
    ("rates", "settled"),
    [
        ([100.0] * 7, False),
        ([100.0] * 8, True),
        ([100.0] * 4 + [130.0] * 4, False),  # a step in the middle
        ([100.0] * 5 + [20.0] + [100.0] * 2, True),  # one slow stretch
        ([20.0] * 4 + [100.0] * 30, True),  # a slow beginning long past
        ([100.0 + 2 * step for step in range(8)], False),
        ([100.0 - 2 * step for step in range(8)], False),
        ([60.0, 140.0] * 4, False),  # level, but in no small band
    ],
)
def test_steps_trends_and_wide_bands_are_not_steady(rates, settled):
    """A step or a trend goes on; one outlier or a slow beginning does not hold it up."""
    assert steady(rates) == settled


def test_rate_that_is_not_finite_is_refused():
    """A NaN is named by its place."""
    with pytest.raises(ValueError, match="sample 1 is nan"):
        steady([1.0, float("nan")])
