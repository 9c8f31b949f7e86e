"""Order statistics and the early-stopping rule against MLPerf's LoadGen itself, and against whole numbers."""

import re

import numpy as np
import pytest
from loadgen import PRINTED, TARGETS, runs

from harness.statistics.early_stopping import early_stopping
from harness.statistics.percentiles import minimum_count, order_rank, percentile


@pytest.fixture(scope="module")
def loadgen_runs(tmp_path_factory):
    """Forty real runs of up to 900 queries; 1,000 of them are rows of `make bench`."""
    return list(runs(40, 900, tmp_path_factory.mktemp("loadgen"), seed=3))


def test_early_stopping_is_what_loadgen_itself_prints(loadgen_runs):
    """Of forty real runs LoadGen's estimate, its discards and its least counts are ours, run by run."""
    met = 0
    for run in loadgen_runs:
        found = early_stopping(run.latencies_ns, run.target)
        text = run.log["early_stopping_result"]
        met += found.estimate is not None
        assert run.log["early_stopping_met"] == (found.estimate is not None)
        assert int(re.search(r"at least (\d+) queries", text)[1]) == found.needed
        if found.estimate is not None:
            assert run.log["early_stopping_latency_ss"] == found.estimate
            assert int(re.search(r"discard (\d+) highest", text)[1]) == found.beyond - 1
        else:
            assert f"Only processed {found.count} queries" in text
    assert 8 <= met <= 32  # both kinds are there


def test_percentiles_are_loadgens_but_one_rank_below_at_whole_numbers(loadgen_runs):
    """LoadGen's printed percentiles are our order statistics; where p percent of n is whole it takes the next."""
    for run in loadgen_runs:
        ordered, size = sorted(run.latencies_ns), len(run.latencies_ns)
        for p in PRINTED:
            whole = (p * 10 * size) % 1000 == 0
            assert run.printed(p) == ordered[order_rank(size, p) - 1 + whole]
            shown = percentile(run.latencies_ns, p)
            assert (shown.value is None) == (size < minimum_count(p))
            assert shown.value is None or whole or shown.value == run.printed(p)


def tolerated(size, p):
    """LoadGen's t in whole numbers: the largest of which P(no more than t of n beyond) is at most 1 %; -1 if none."""
    term = total = p**size  # times 100**size, as everything here
    beyond = -1
    while 100 * total <= 100**size:
        beyond += 1
        term = term * (size - beyond) * (100 - p) // ((beyond + 1) * p)
        total += term
    return beyond


def test_estimate_is_loadgens_rule_in_whole_numbers_for_a_thousand_inputs():
    """For 1,000 random series the estimate is the t-th largest, t by exact integers, or absent where t is below 1."""
    draws = np.random.default_rng(4)
    for _ in range(1000):
        p, size = int(draws.choice(TARGETS)), int(draws.integers(1, 900))
        samples = draws.lognormal(size=size)
        beyond = tolerated(size, p)
        found = early_stopping(samples, p)
        assert (found.estimate, found.beyond) == ((sorted(samples)[-beyond], beyond) if beyond >= 1 else (None, None))
        assert (size >= found.needed) == (beyond >= 1)


def test_early_stopping_below_the_median_is_refused():
    """LoadGen bounds slow samples alone."""
    with pytest.raises(ValueError, match="from 50 on"):
        early_stopping([1.0] * 100, 10)
