"""A rehearsal is seen as one in every row and over every chart, and is never taken for a measurement."""

import json
from xml.etree import ElementTree as ET

import pytest
from made_results import make_result, make_series

from harness.analysis.performance import training_rows
from harness.errors import ReportError
from harness.report.build import build
from harness.report.charts import draw_charts
from harness.report.readme import readme_blocks
from harness.report.show import show_trial
from harness.schema.result import Outcome, Rehearsal
from harness.schema.trial import Trial

STAND_IN = Trial(backend="torch_maskrcnn", phase="train", gpus=2, batch_size_per_gpu=2, image_size=128)


def made(run_for=None, **given):
    """A rehearsed trial of eight GPUs, run for itself or for another."""
    given = {"gpus": 8, "device": "cuda", "precision": "tf32", "rehearsal": STAND_IN, **given}
    stand_in = given.pop("rehearsal")
    result = make_result(**given)
    trial = result.trial.model_copy(update={"rehearsal": True})
    rehearsal = stand_in and Rehearsal(stand_in=stand_in, run_for=run_for or trial.trial_id)
    return result.model_copy(update={"trial": trial, "trial_id": trial.trial_id, "rehearsal": rehearsal})


def rows_under(document, title):
    """The rows of a markdown table, without its head."""
    part = document.split(f"## {title}\n")[1].split("\n## ")[0]
    return [line for line in part.splitlines() if line.startswith("|")][2:]


FIRST = made(batch_size_per_gpu=8)
STORE = [
    FIRST,
    made(batch_size_per_gpu=12, run_for=FIRST.trial_id),
    made(batch_size_per_gpu=8, precision="amp"),
    made(phase="infer", gpus=1, measurements=(make_series("latency_ms", range(1, 30)),)),
    made(rehearsal=None, xla=True, outcome=Outcome(kind="unsupported", reason="no XLA")),
]


@pytest.mark.parametrize("title", ["Training performance", "Inference performance", "Outcomes"])
def test_every_row_says_that_it_is_a_rehearsal(title):
    """With what ran in its place, under the point's own GPUs, batch size and precision."""
    rows = rows_under(build(STORE, "md"), title)
    assert rows
    assert all("rehearsal=" in row for row in rows)


def test_a_row_tells_what_ran_and_for_whom():
    """A point that shares the run of another names it; one that was declined says that nothing ran."""
    told = [row.point.variant["rehearsal"] for row in training_rows(STORE)]
    small = "2 cpu ranks × 2 images of 128 px, fp32"
    assert sorted(told) == sorted([small, f"{small}, run for {FIRST.trial_id[-10:]}", small, "nothing ran"])
    assert {(row.point.ranks, row.point.batch_size_per_gpu) for row in training_rows(STORE)} >= {(8, 8), (8, 12)}


def test_the_summary_counts_rehearsals():
    """All of a store, or how many of it."""
    assert "all trials: small stand-ins ran in their place" in build(STORE, "md")
    assert "5 of 6 trials: small stand-ins" in build([*STORE, make_result()], "md")
    assert json.loads(build(STORE, "json"))["summary"]["rehearsed"] == len(STORE)


def test_every_panel_of_a_chart_says_that_it_is_no_measurement():
    """Whatever the file of a chart is called, one who sees it alone is told."""
    charts = draw_charts(STORE)
    assert charts
    for chart in charts:
        assert "rehearsal=no measurement" in "".join(ET.fromstring(chart.svg).itertext())  # noqa: S314  made here


def test_a_rehearsed_trial_is_not_compared_with_a_measured_one():
    """Amp that was measured has no speed-up over tf32 that was rehearsed, nor the other way round."""
    measured = make_result(gpus=8, device="cuda", batch_size_per_gpu=8, precision="amp", rates=[(40, 10.0)] * 8)
    mixed = training_rows([FIRST, measured])
    assert all(row.speedup_vs_tf32.value is None for row in mixed)
    rehearsed = training_rows([FIRST, STORE[2]])
    assert any(row.speedup_vs_tf32.value is not None for row in rehearsed)


def test_rehearsals_are_not_published():
    """A README gets no number of a rehearsal."""
    with pytest.raises(ReportError, match="1 of the trials are rehearsals"):
        readme_blocks([FIRST, make_result()])


def test_one_trial_in_full_shows_its_stand_in():
    """What ran, and for which trial."""
    shown = show_trial(STORE[1])
    assert "what ran in its place" in shown
    assert FIRST.trial_id in shown
