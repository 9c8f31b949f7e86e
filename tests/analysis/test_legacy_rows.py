"""Statistics of older published tables: their own names, what they are made of, and where they are unknown."""

from math import sqrt

import pytest
from made_results import make_result, make_series
from made_telemetry import make_window

from harness.analysis.frame import trial_frame
from harness.analysis.legacy import LEGACY, legacy_rows, with_warmup_ms
from harness.analysis.tables import analyse
from harness.schema.result import Outcome

NAMES = [
    *(f"legacy_trimmed_mean_{k}" for k in (90, 95, 99)),
    *(f"legacy_mean_ucl_{k}" for k in (90, 95, 99)),
    "legacy_with_warmup_average",
]
HUNDRED = [float(n) for n in range(1, 101)]


def infer(samples, **given):
    """An inference trial with latencies."""
    return make_result(phase="infer", measurements=(make_series("latency_ms", samples),), **given)


def test_names_are_those_of_the_statistics():
    """Nobody takes one for a percentile."""
    assert list(LEGACY) == NAMES


def test_values_by_hand():
    """Of 1 to 100: the means of the fastest 90, 95, 99, and mean + z times the standard error, n in the deviation."""
    (row,) = legacy_rows([infer(HUNDRED)])
    means = [getattr(row, name).median for name in NAMES[:3]]
    assert means == [45.5, 48.0, 50.0]
    error = sqrt((100**2 - 1) / 12) / 10
    limits = [getattr(row, name).median for name in NAMES[3:6]]
    assert limits == pytest.approx([50.5 + z * error for z in (1.645, 1.96, 2.576)])
    assert row.samples == 100


def test_the_average_with_warmup_is_of_all_steps():
    """20 steps in 3 s and 100 in 10 s make 13 s / 120; of two ranks, of both."""
    assert with_warmup_ms(infer(HUNDRED, windows=(make_window(),))) == pytest.approx(13_000 / 120)
    windows = (make_window(), make_window(rank=1, warmup_s=1.0, elapsed_s=6.0))
    assert with_warmup_ms(infer(HUNDRED, windows=windows)) == pytest.approx(20_000 / 240)


@pytest.mark.parametrize("windows", [(), (make_window(warmup_steps=0, warmup_s=0.0),), (make_window(steps=0),)])
def test_no_warmup_no_average_with_it(windows):
    """What no record holds is unknown, and the other statistics stand."""
    (row,) = legacy_rows([infer(HUNDRED, windows=windows)])
    assert row.legacy_with_warmup_average is None
    assert row.legacy_trimmed_mean_90 is not None


def test_a_value_per_trial():
    """Two processes of unequal speed are not pooled."""
    (row,) = legacy_rows([infer(HUNDRED), infer([2 * each for each in HUNDRED], repeat=1)])
    assert row.legacy_trimmed_mean_90.values == (45.5, 91.0)


def test_what_has_no_latencies_has_no_row():
    """Training, trials that failed, a single sample."""
    failed = infer(HUNDRED, outcome=Outcome(kind="crashed", reason="x"), batch_size_per_gpu=2)
    assert legacy_rows([make_result(), failed]) == ()
    (row,) = legacy_rows([infer([3.0])])
    assert row.legacy_trimmed_mean_90 is None


def test_only_where_asked_for():
    """Neither tables nor columns otherwise."""
    results = [infer(HUNDRED), make_result()]
    assert analyse(results).legacy is None
    assert not set(NAMES) & set(trial_frame(results).columns)
    frame = trial_frame(results, legacy=True)
    assert list(frame.columns)[-7:] == NAMES
    assert list(frame["legacy_trimmed_mean_95"]) == [48.0, None]
    assert len(analyse(results, legacy=True).legacy) == 1
