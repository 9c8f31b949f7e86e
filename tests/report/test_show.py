"""The plain-text view for a terminal."""

from hypothesis import given, settings
from hypothesis import strategies as st
from made_results import make_accuracy, make_result, make_series, make_store

from harness.report.show import WIDTH, show_store, show_trial
from harness.schema.result import Outcome
from harness.schema.trial import Target


def lines_of(text, title):
    """The lines of one part of a trial's text."""
    return text.split(f"\n{title}\n")[1].split("\n\n")[0].splitlines()


def test_store_has_a_line_per_trial():
    """Outcome, main number with its unit, and the id to ask for; all begin in the same columns."""
    results = make_store()
    rows = show_store(results).splitlines()[-len(results) :]
    assert rows[0].split() == ["ok", "3.00", "images/s", results[0].trial_id]
    assert len({row.index("torch_maskrcnn") for row in rows}) == 1


def test_trial_shows_numbers_with_intervals_and_counts():
    """Percentiles carry intervals, or say how many samples they wait for."""
    values = [float(n) for n in range(100)]
    result = make_result(phase="infer", measurements=(make_series("latency_ms", values),))
    numbers = lines_of(show_trial(result), "numbers")
    assert "  latency mean      49.5 ms of 100 samples" in numbers
    assert any(line.split()[:3] == ["latency", "p50", "49.0"] and "95 % interval" in line for line in numbers)
    assert "  latency p99       n<662 (has 100)" in numbers
    series = lines_of(show_trial(result), "raw series, warm-up apart")
    assert series == ["  latency_ms, rank 0  100 values, 0 to 99.0 ms; 0 in warm-up"]


def test_trial_shows_quality_and_target():
    """All twelve numbers of a kind, and when the target was reached."""
    result = make_result(
        accuracy=(make_accuracy(0.31, after_steps=40),), target=Target(bbox_ap=0.3), time_to_target_s=75.0
    )
    text = show_trial(result)
    assert "bbox AP                0.310, 50 0.465, 75 0.310, small 0.310, medium 0.310, large 0.310" in text
    assert "bbox AP 0.3: reached after 1 min 15 s" in text


def test_failed_trial_shows_reason_and_log():
    """What went wrong stands first, what the worker printed last."""
    outcome = Outcome(kind="failed", reason="no such option", exit_code=3, log_tail=("first", "last"))
    text = show_trial(make_result(outcome=outcome))
    assert lines_of(text, "outcome") == [
        "  kind       failed",
        "  reason     no such option",
        "  exit code  3",
        "  took       30 s",
    ]
    assert text.endswith("end of the log\n  first\n  last")


def test_provenance_is_shown_in_full():
    """Versions, commit, machine, environment and data."""
    text = show_trial(make_store()[0])
    for piece in (
        "2.14.1",
        "0123456789abcdef",
        "node-1",
        "OMP_NUM_THREADS",
        "aa" * 32,
        "harness run matrices/demo.yaml",
    ):
        assert piece in text


@settings(max_examples=40)
@given(st.text(max_size=300))
def test_no_string_reaches_the_terminal_raw(text):
    """Control characters are spelled out, and lines of words stay within the width."""
    outcome = Outcome(kind="failed", reason=text, log_tail=(text,))
    shown = show_trial(make_result(outcome=outcome, settings={"key": text}, options={"o": text}))
    assert all(line.isprintable() for line in shown.split("\n"))
    body = shown.split("\nend of the log\n")[0]
    assert all(len(line) <= WIDTH for line in body.split("\n"))
