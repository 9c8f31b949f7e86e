"""What windows say of how they came to be, and which of it a row must tell."""

import pytest
from made_results import make_result
from made_telemetry import TIMER, make_window

from harness.analysis.frame import trial_frame
from harness.analysis.performance import inference_rows, training_rows
from harness.analysis.windows import timing_share, window_note, window_quality

SLOW_CLOCK = TIMER.model_copy(update={"clock_ns": 5_000_000.0})


def made(timer=TIMER, repeat=0, **changes):
    """A training trial of one window."""
    return make_result(windows=(make_window(**changes),), timer=timer, repeat=repeat)


def test_windows_that_ended_as_asked_need_no_note():
    """The rate is known, the warm-up was steady, the clock was cheap."""
    (row,) = training_rows([made()])
    assert (row.window.trials, row.window.at_limit, row.window.not_steady) == (1, 0, 0)
    assert row.window.rate_half_interval == 0.012
    assert window_note(row.window) is None


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        (
            {"ended_by": "limit", "interval": 0.099},
            "the window ended at max_timed_steps, the rate known to ± 9.9 %",
        ),
        ({"ended_by": "limit", "interval": None}, "the window ended at max_timed_steps"),
        ({"warmup_steady": False}, "steps were not steady when the warm-up ended"),
        ({"timer": SLOW_CLOCK}, "reading the clock took 20.0 % of the window"),
    ],
)
def test_what_a_row_must_tell(changes, note):
    """A rate that is less than what was asked for, and timing that shows in what it times."""
    assert window_note(window_quality([made(**changes)])) == note


def test_repeats_are_counted():
    """One of three windows was cut, two warm-ups were not steady."""
    results = [
        made(repeat=0, ended_by="limit", interval=0.08, warmup_steady=False),
        made(repeat=1, warmup_steady=False),
        made(repeat=2),
    ]
    assert window_note(training_rows(results)[0].window) == (
        "the window ended at max_timed_steps in 1 of 3 trials, the rate known to ± 8.0 %; "
        "steps were not steady when the warm-up ended in 2 of 3 trials"
    )


def test_timing_by_hand():
    """Four readings of 60 ns around each of 100 steps, in 10 s; two ranks share alike."""
    assert timing_share(made()) == pytest.approx(2.4e-6)
    two = make_result(rates=[(40, 10.0)] * 2, windows=(make_window(), make_window(rank=1)), timer=TIMER)
    assert timing_share(two) == pytest.approx(2.4e-6)
    assert timing_share(make_result()) is None
    assert list(trial_frame([made(), make_result()])["timing_fraction"]) == [pytest.approx(2.4e-6), None]


def test_older_records_do_not_tell():
    """Their windows ended somehow."""
    assert inference_rows([make_result(phase="infer")])[0].window is None
