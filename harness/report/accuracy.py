"""Tables of evaluation, training accuracy and stability."""

from collections.abc import Sequence

from harness.analysis.parts import Quality
from harness.analysis.rows import EvaluationRow, StabilityRow, TrainingAccuracyRow
from harness.report import format as spell
from harness.report.performance import arithmetic_fields, compile_field, identity_fields, throughput_fields, with_legend
from harness.report.table import Cell, Field, Table, make_table
from harness.statistics.comparing import MIN_PROCESSES
from harness.units import format_duration

QUALITIES = (("AP", "ap"), ("AP50", "ap50"), ("AP75", "ap75"))


def quality_fields() -> list[Field[EvaluationRow | TrainingAccuracyRow]]:
    """AP, AP50 and AP75 of boxes and masks."""
    return [quality_field(kind, *names) for kind in ("bbox", "segm") for names in QUALITIES]


def quality_field(kind: str, title: str, name: str) -> Field[EvaluationRow | TrainingAccuracyRow]:
    """The column of one COCO number."""

    def fill(row: EvaluationRow | TrainingAccuracyRow) -> str:
        found: Quality | None = row.bbox if kind == "bbox" else row.segm
        return spell.fraction(getattr(found, name) if found else None)

    return Field(f"{kind} {title}", fill, measured=True)


def count(value: int | None) -> str:
    """A whole number, or a dash."""
    return spell.NONE if value is None else f"{value:,}"


def evaluation_table(rows: Sequence[EvaluationRow]) -> Table:
    """Quality of detections on a val set, and what the pass cost."""
    fields: list[Field[EvaluationRow]] = [
        *identity_fields(rows),
        *arithmetic_fields(),
        *quality_fields(),  # type: ignore[list-item]  # they read what both kinds of row have
        Field("images", lambda row: count(row.images), measured=True),
        *throughput_fields(),
        compile_field(),
        Field("scoring, s", lambda row: spell.optional(row.scoring_s), measured=True),
        Field("scorer", lambda row: row.scorer or spell.NONE, numeric=False, measured=True),
    ]
    caption = "COCO numbers are fractions over the whole val set; the scoring time is not part of the throughput."
    return with_legend(make_table("evaluation", ("Evaluation", caption), rows, fields), rows)


def training_accuracy_table(rows: Sequence[TrainingAccuracyRow]) -> Table:
    """Quality after so many steps of training."""
    fields: list[Field[TrainingAccuracyRow]] = [
        *identity_fields(rows),
        *arithmetic_fields(),
        Field("after steps", lambda row: count(row.after_steps), measured=True),
        *quality_fields(),  # type: ignore[list-item]  # they read what both kinds of row have
        Field("trials", lambda row: count(row.trials), measured=True),
        Field("target", lambda row: row.target or spell.NONE, numeric=False, optional=True, measured=True),
        Field("time to target", target_cell, optional=True, measured=True),
        Field("MLPerf result", mlperf_cell, optional=True, measured=True),
    ]
    caption = "COCO numbers are fractions, each the mean over the trials of a row."
    return make_table("training-accuracy", ("Training accuracy", caption), rows, fields)


def mlperf_cell(row: TrainingAccuracyRow) -> str:
    """The result of five runs and more by MLPerf's rule, else a dash."""
    return spell.NONE if row.mlperf_result_s is None else format_duration(row.mlperf_result_s)


def target_cell(row: TrainingAccuracyRow) -> Cell:
    """Median time to the target, and how many trials reached it."""
    if row.target is None:
        return Cell(spell.NONE)
    if row.time_to_target_s is None:
        return Cell("not reached")
    reached = len(row.time_to_target_s.values)
    note = None if reached == row.point.ok else f"reached by {reached} of {row.point.ok} trials"
    return Cell(spell.duration(row.time_to_target_s), note=note)


def stability_table(rows: Sequence[StabilityRow]) -> Table:
    """What changes from seed to seed and from repeat to repeat."""
    fields: list[Field[StabilityRow]] = [
        Field("phase", lambda row: row.point.phase, numeric=False),
        *identity_fields(rows),
        *arithmetic_fields(),
        Field("number", metric_name, numeric=False),
        Field("trials", lambda row: str(len(row.spread.values))),
        Field("each trial", each_value, numeric=False),
        Field("mean", lambda row: spell.mean_sd(row.spread, as_fraction=row.unit == "fraction")[0]),
        Field("median, 95 % interval", interval_text, optional=True),
        Field("sd", lambda row: spell.mean_sd(row.spread, as_fraction=row.unit == "fraction")[1]),
    ]
    interval = any(row.spread.interval for row in rows)
    added = (
        f" The interval is a bootstrap over processes, where there are {MIN_PROCESSES} and more." if interval else ""
    )
    caption = f"One number per process; sd is the sample standard deviation.{added}"
    return make_table("stability", ("Stability over seeds and repeats", caption), rows, fields)


def interval_text(row: StabilityRow) -> str:
    """Median of the processes with its bootstrap interval, where they are enough."""
    if row.spread.interval is None:
        return spell.NONE
    spelled = spell.fraction if row.unit == "fraction" else spell.optional
    low, high = map(spelled, row.spread.interval)
    return f"{spelled(row.spread.median)} ({low}–{high})"


def metric_name(row: StabilityRow) -> str:
    """A number with its unit."""
    return row.metric if row.unit in {"1", "fraction"} else f"{row.metric}, {row.unit}"


def each_value(row: StabilityRow) -> Cell:
    """The number of every trial, and from which seeds and repeats they are."""
    spelled = spell.fraction if row.unit == "fraction" else spell.optional
    return Cell(" · ".join(spelled(value) for value in row.spread.values), note="; ".join(row.labels))
