"""What a person sees while a matrix runs."""

import io

import pytest
from records import demo_trial, result_of

from harness.runner.progress import Estimates, Progress, varying_options
from harness.schema.measurement import Accuracy, CocoMetrics
from harness.schema.result import Outcome


def test_the_nearest_known_trials_tell_how_long_the_rest_takes() -> None:
    """Like trials count first, then those of the phase, then any; what never ran teaches nothing."""
    estimates = Estimates()
    assert estimates.total({"a": demo_trial()}) is None
    estimates.add(result_of(demo_trial(), duration_s=4.0))
    estimates.add(result_of(demo_trial(batch_size_per_gpu=8), duration_s=8.0))
    estimates.add(result_of(demo_trial(phase="eval"), duration_s=0.0, outcome=Outcome(kind="skipped", reason="no")))
    assert estimates.of(demo_trial(seed=5)) == 4.0
    assert estimates.of(demo_trial(batch_size_per_gpu=2)) == 6.0
    assert estimates.of(demo_trial(phase="train")) == 6.0
    assert estimates.total({"a": demo_trial(seed=5), "b": demo_trial(batch_size_per_gpu=8)}) == 12.0


def test_options_are_named_where_they_vary() -> None:
    """A line is short, and still tells two trials apart."""
    trials = [demo_trial(options={"step_ms": 2.0, "fault": fault}) for fault in ("none", "raises")]
    progress = Progress(total=2, varying=varying_options(trials), stream=io.StringIO())
    progress.start(trials[1], 75.0)
    assert progress.stream.getvalue() == "[1/2] demo infer cpu ×1 batch 1 fp32 fault=raises …, about 1 min 15 s left\n"


def test_an_ended_trial_shows_its_first_figures_or_its_reason() -> None:
    """Throughput over the slowest rank, AP where it was scored; otherwise the reason, and what `show` finds it by."""
    numbers = dict.fromkeys(CocoMetrics.model_fields, None) | {"kind": "bbox", "ap": 0.25}
    accuracy = Accuracy(metrics=(CocoMetrics.model_validate(numbers),), images=1, detections=1, scorer="s")
    progress = Progress(total=2, stream=io.StringIO())
    progress.end(result_of(demo_trial(), accuracy=(accuracy,)))
    progress.end(result_of(demo_trial(), outcome=Outcome(kind="failed", reason="ValueError: boom")))
    first, second = progress.stream.getvalue().splitlines()
    assert first == "[1/2] demo infer cpu ×1 batch 1 fp32: ok, 3.00 images/s, bbox AP 0.250 (3.0 s)"
    asked_for = demo_trial().trial_id[-10:]
    assert second == f"[2/2] demo infer cpu ×1 batch 1 fp32: failed: ValueError: boom (3.0 s; trial {asked_for})"


def test_no_reason_acts_on_the_terminal() -> None:
    """A worker's words stay words on one line."""
    progress = Progress(total=1, stream=io.StringIO())
    progress.end(result_of(demo_trial(), outcome=Outcome(kind="failed", reason="a\x1b]0;title\x07b\nc\u202e\ud800")))
    text = progress.stream.getvalue()
    assert text.count("\n") == 1
    assert r"failed: a\x1b]0;title\x07b\nc\u202e\ud800 (" in text


@pytest.mark.parametrize("repeat", [0, 2])
def test_a_repeat_is_named(repeat: int) -> None:
    """Two rounds of one point can be told apart."""
    progress = Progress(total=1, stream=io.StringIO())
    progress.start(demo_trial(repeat=repeat), None)
    assert ("repeat 2" in progress.stream.getvalue()) == bool(repeat)
