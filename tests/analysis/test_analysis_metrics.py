"""Numbers of one trial against sums done by hand."""

from math import inf, nan, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_results import make_accuracy, make_result, make_series

from harness.analysis.metrics import (
    ap,
    data_wait_share,
    peak_memory,
    pooled,
    scoring_s,
    spread,
    throughput,
    with_interval,
)


def test_throughput_is_all_images_over_the_slowest_rank():
    """Two ranks of 40 images in 10 s and 12.5 s make 80 / 12.5 images/s, not the sum of their rates."""
    assert throughput(make_result(rates=[(40, 10.0), (40, 12.5)])) == 6.4


@given(st.lists(st.tuples(st.integers(1, 10**6), st.floats(0.001, 1e5)), min_size=1, max_size=8))
def test_throughput_is_never_above_the_sum_of_rates(rates):
    """A rank that waits for the others earns nothing by it."""
    found = throughput(make_result(rates=rates))
    assert found <= sum(images / elapsed for images, elapsed in rates) * (1 + 1e-12)
    assert found >= min(images / elapsed for images, elapsed in rates) * (1 - 1e-12)


def test_each_stretch_of_a_window_lasts_as_long_as_its_slowest_rank():
    """Two ranks that are slow in turn, 4 s after 1 s and 1 s after 4 s, took 8 s together and not 5."""
    result = make_result(rates=[(40, 5.0), (40, 5.0)])
    spans = (((0, 10**9), (5 * 10**9, 9 * 10**9)), ((0, 4 * 10**9), (5 * 10**9, 6 * 10**9)))
    windows = [window.model_copy(update={"spans_ns": told}) for window, told in zip(result.windows, spans, strict=True)]
    assert throughput(result.model_copy(update={"windows": tuple(windows)})) == 10.0


@pytest.mark.parametrize("windows", [(), None])
def test_throughput_is_unknown_without_a_window(windows):
    """No window and a window of no time give no number, rather than zero."""
    result = make_result(windows=()) if windows == () else make_result(rates=[(40, 0.0)])
    assert throughput(result) is None


def test_data_wait_is_a_share_of_all_ranks_windows():
    """Ranks of 10 s each that wait 1 s and 2 s wait for 15 % of the time; warm-up does not count."""
    waits = (make_series("data_wait_ms", [600.0, 400.0]), make_series("data_wait_ms", [2000.0], rank=1))
    warm = waits[0].model_copy(update={"warmup_values": (9000.0,)})
    result = make_result(rates=[(40, 10.0), (40, 10.0)], measurements=(warm, waits[1]))
    assert data_wait_share(result) == pytest.approx(0.15)
    assert data_wait_share(make_result()) is None


def test_series_are_pooled_over_ranks_by_name():
    """Only the named series counts."""
    series = (make_series("latency_ms", [1, 2]), make_series("loss", [9]), make_series("latency_ms", [3], rank=1))
    assert pooled(make_result(measurements=series), "latency_ms") == (1, 2, 3)


def test_peak_memory_is_that_of_the_largest_rank():
    """What no rank reported is unknown."""
    assert peak_memory(make_result(peak_memory_bytes=(5, 9, 7))) == 9
    assert peak_memory(make_result()) is None


def test_scoring_time_is_summed_in_seconds():
    """Two scorings of 1.5 s take 3 s."""
    assert scoring_s(make_result(measurements=(make_series("scoring_ms", [1500, 1500]),))) == 3.0
    assert scoring_s(make_result()) is None


def test_ap_is_found_by_kind():
    """A kind that was not scored is unknown."""
    assert ap(make_accuracy(0.4, 0.3), "segm") == 0.3
    assert ap(make_accuracy(0.4), "segm") is None
    assert ap(None, "bbox") is None


def test_spread_by_hand():
    """Median, range and the sample standard deviation of 1, 2, 6; unknown and infinite values are left out."""
    found = spread([1.0, None, 6.0, nan, 2.0, inf])
    assert (found.median, found.low, found.high, found.mean) == (2.0, 1.0, 6.0, 3.0)
    assert found.sd == pytest.approx(sqrt((4 + 1 + 9) / 2))
    assert found.values == (1.0, 6.0, 2.0)


@given(st.lists(st.floats(0.1, 1e4), min_size=5, max_size=30))
def test_an_interval_over_processes_holds_the_median(values):
    """It lies within the range of the processes, around their median."""
    found = with_interval(spread(values))
    low, high = found.interval
    assert found.low * (1 - 1e-9) <= low <= found.median * (1 + 1e-9)
    assert found.median * (1 - 1e-9) <= high <= found.high * (1 + 1e-9)


@pytest.mark.parametrize("values", [[1.0] * 4, [1.0, 2.0, 3.0, 4.0, 0.0], []])
def test_no_interval_over_few_processes(values):
    """Nor of values that a ratio cannot be made of."""
    found = with_interval(spread(values))
    assert found is None or found.interval is None


def test_spread_of_little():
    """One value has no deviation, and none has no spread."""
    assert spread([4.0]).sd is None
    assert spread([None, nan]) is None
