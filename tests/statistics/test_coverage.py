"""How often the intervals of percentiles hold the true percentile: by simulation and exactly."""

from math import exp, lgamma, log

import numpy as np
import pytest
from noise import LATENCIES

from harness.statistics.percentiles import interval_ranks, minimum_count, percentile

COUNT = 1000
SIMULATIONS = 2000


@pytest.mark.parametrize("name", LATENCIES)
def test_interval_holds_the_true_percentile_in_95_percent_of_runs(name):
    """Over 2,000 runs of 1,000 latencies the printed interval holds the truth in 93 to 97 %, at each percentile."""
    draw, truth = LATENCIES[name]
    runs = draw(np.random.default_rng(list(LATENCIES).index(name)), (SIMULATIONS, COUNT))
    ordered = np.sort(runs, axis=1)
    covered = {}
    for p in (50, 90, 95, 99):
        low, high = interval_ranks(COUNT, p)
        shown = percentile(runs[0], p)
        assert (shown.low, shown.high) == (ordered[0, low - 1], ordered[0, high - 1])
        inside = (ordered[:, low - 1] <= truth(p / 100)) & (truth(p / 100) <= ordered[:, high - 1])
        covered[p] = inside.mean()
    assert [p for p, share in covered.items() if not 0.93 <= share <= 0.97] == []


def coverage(count, p):
    """Probability that the ranks enclose the percentile of any continuous distribution, from log-gammas."""
    low, high = interval_ranks(count, p)
    share, whole = p / 100, lgamma(count + 1)
    return sum(
        exp(whole - lgamma(k + 1) - lgamma(count - k + 1) + k * log(share) + (count - k) * log(1 - share))
        for k in range(low, high)
    )


@pytest.mark.parametrize(
    ("p", "last", "step", "most"),
    [(50, 600, 1, 0.978), (90, 800, 1, 0.970), (95, 1200, 3, 0.972), (99, 3000, 7, 0.972), (99.9, 20_000, 97, 0.972)],
)
def test_interval_is_neither_too_narrow_nor_much_too_wide_from_the_first_count_printed(p, last, step, most):
    """From the count at which a percentile is printed its interval covers at least 95 %, and hardly more than 97."""
    covered = [coverage(count, p) for count in range(minimum_count(p), last, step)]
    assert min(covered) >= 0.95 - 1e-9
    assert max(covered) <= most
