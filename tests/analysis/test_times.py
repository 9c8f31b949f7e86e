"""Where the time of windows went, what ended them, and whether their series are independent samples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_results import make_result, make_series
from made_telemetry import make_window

from harness.analysis.frame import trial_frame
from harness.analysis.performance import inference_rows, training_rows
from harness.analysis.series import LATENCIES, STEPS, series_note, series_quality
from harness.analysis.times import host_share, rest_share, time_apart


def timed(waits=(1000.0,), steps=(2000.0,), drains=(500.0,), **given):
    """A trial of one rank, 10 s, that waited, handed out and drained so many milliseconds."""
    named = {"data_wait_ms": waits, "step_ms": steps, "drain_ms": drains}
    series = tuple(make_series(name, values) for name, values in named.items() if values)
    return make_result(measurements=series, **given)


def test_parts_of_a_window_by_hand():
    """1, 2 and 0.5 of 10 s leave 65 %; the device's own clock runs beside them."""
    (row,) = training_rows([timed(windows=(make_window(),))])
    assert row.time.data_wait == pytest.approx(0.1)
    assert row.time.host == pytest.approx(0.2)
    assert row.time.drain == pytest.approx(0.05)
    assert row.time.rest == pytest.approx(0.65)
    assert row.time.device == pytest.approx(0.98)


def test_parts_of_an_older_record():
    """No wait for the device is told apart, so the rest holds it; there is no clock of the device."""
    found = time_apart([timed(drains=())])
    assert (found.drain, found.device) == (None, None)
    assert found.rest == pytest.approx(0.7)
    assert time_apart([make_result()]) is None


def test_shares_are_of_all_ranks():
    """Two ranks of 10 s that hand out for 1 s and 3 s do so for 20 % of the time; one clock of two is none."""
    series = (make_series("step_ms", [1000.0]), make_series("step_ms", [3000.0], rank=1))
    windows = (make_window(), make_window(rank=1, device_s=None))
    result = make_result(rates=[(40, 10.0)] * 2, measurements=series, windows=windows)
    assert host_share(result) == pytest.approx(0.2)
    assert time_apart([result]).device is None


@given(*[st.floats(0, 12_000)] * 3)
def test_the_rest_is_never_negative(waited, handed, drained):
    """It is what is left, or unknown where the parts say more than the window lasted."""
    rest = rest_share(timed((waited,), (handed,), (drained,)))
    total = (waited + handed + drained) / 10_000
    assert (rest is None) == (total > 1 + 1e-3)
    if rest is not None:
        assert rest == pytest.approx(max(0.0, 1 - total))


def test_unknown_parts_leave_the_rest_unknown():
    """Without the hand-outs nobody knows what is left."""
    assert rest_share(timed(steps=())) is None


def test_a_row_has_the_median_of_its_trials():
    """As with every other number."""
    results = [timed((wait,), repeat=n) for n, wait in enumerate((1000.0, 2000.0, 6000.0))]
    assert time_apart(results).data_wait == pytest.approx(0.2)


def drifting(count=200, by=4.0):
    """Latencies that grow by 40 % over the series, with a little noise."""
    return np.linspace(10.0, 10.0 + by, count) + np.random.default_rng(0).normal(0, 0.05, count)


def steady(count=200, seed=1):
    """Independent ones."""
    return 10.0 + np.random.default_rng(seed).normal(0, 0.05, count)


def test_flags_are_of_series_and_name_them():
    """Of three processes one drifts: the row says which kind, how many, and how far."""
    series = [steady(seed=2), drifting(), steady(seed=3)]
    results = [
        make_result(phase="infer", repeat=n, measurements=(make_series("latency_ms", each),))
        for n, each in enumerate(series)
    ]
    (row,) = inference_rows(results)
    found = {each.flag: each for each in row.series}
    assert {(each.name, each.series, each.of) for each in row.series} == {("latency_ms", 1, 3)}
    assert found["drifting"].largest == pytest.approx(0.33, abs=0.02)
    assert found["autocorrelated"].largest > 0.9
    assert "latencies drift in 1 of 3 series, by up to +33 %" in series_note(row.series, [LATENCIES])
    assert series_note(row.series, STEPS) is None


def alike(share, count=2000):
    """Neighbours that have this correlation."""
    noise = np.random.default_rng(0).normal(0, 1, count)
    for n in range(1, count):
        noise[n] = share * noise[n - 1] + (1 - share**2) ** 0.5 * noise[n]
    return 10.0 + 0.05 * noise


@pytest.mark.parametrize(("share", "noted"), [(0.2, False), (0.6, True)])
def test_only_strong_autocorrelation_is_a_note(share, noted):
    """The flag stands in JSON and for one trial; a row speaks of it where half of the samples add nothing."""
    result = make_result(phase="infer", measurements=(make_series("latency_ms", alike(share)),))
    (found,) = series_quality([result])
    assert found.flag == "autocorrelated"
    assert found.largest == pytest.approx(share, abs=0.05)
    assert found.effective_share == pytest.approx((1 - share) / (1 + share), abs=0.06)
    assert (series_note([found], [LATENCIES]) is not None) == noted


def test_independent_samples_have_no_flag():
    """A note says something because most rows have none."""
    result = make_result(phase="infer", measurements=(make_series("latency_ms", steady()),))
    assert series_quality([result]) == ()


def test_ranks_are_series_of_their_own():
    """Two steady ranks of different speed, one after another, are no drift."""
    series = (make_series("latency_ms", steady()), make_series("latency_ms", 2 * steady(seed=4), rank=1))
    result = make_result(phase="infer", rates=[(40, 10.0)] * 2, measurements=series)
    assert series_quality([result]) == ()


@pytest.mark.parametrize(("names", "told"), [(("step_ms",), "step_ms"), (("step_ms", "device_ms"), "device_ms")])
def test_steps_are_judged_by_the_device_where_it_has_a_clock(names, told):
    """What the host takes to hand out a step says little of a device that works apart."""
    result = make_result(measurements=tuple(make_series(name, drifting()) for name in names))
    assert {each.name for each in series_quality([result])} == {told}


def test_an_evaluation_has_no_flags():
    """Its images come in the order of their shapes, so its steps differ by design."""
    assert series_quality([make_result(phase="eval", measurements=(make_series("latency_ms", drifting()),))]) == ()


def test_the_table_of_trials_has_windows_and_flags():
    """What ended a window and how well its rate is known; nothing of an older record."""
    series = (make_series("latency_ms", drifting()), make_series("step_ms", [2.0] * 100))
    new = make_result(phase="infer", windows=(make_window(),), measurements=series)
    assert list(trial_frame([make_result()])["window_ended_by"]) == [None]
    names = ["window_s", "window_ended_by", "rate_half_interval_fraction", "warmup_was_steady", "device_clock_fraction"]
    frame = trial_frame([new, make_result()])
    assert list(frame.iloc[0][names]) == [10.0, "interval", 0.012, True, pytest.approx(0.98)]
    assert "drift" in frame.iloc[0]["latency_flags"]
    assert frame.iloc[0]["step_flags"] is None
    assert list(frame.iloc[1][["warmup_was_steady", "device_clock_fraction", "host_fraction"]]) == [None] * 3
