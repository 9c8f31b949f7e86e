"""Rows of evaluation, training accuracy and stability over seeds."""

from collections.abc import Sequence
from statistics import fmean

from harness.analysis.metrics import (
    ap,
    compiling,
    imported,
    last_accuracy,
    pooled,
    scoring_s,
    spread,
    throughput,
    with_interval,
)
from harness.analysis.observed import observed
from harness.analysis.parts import Quality
from harness.analysis.performance import throughputs
from harness.analysis.points import Group, points
from harness.analysis.rows import EvaluationRow, Point, StabilityRow, TrainingAccuracyRow
from harness.schema.measurement import Accuracy
from harness.schema.result import TrialResult
from harness.schema.trial import Phase, Target
from harness.statistics.mlperf import training_result

PHASES: tuple[Phase, ...] = ("train", "eval", "infer")
MLPERF_RUNS = 5
"""How many runs MLPerf asks of a result of Mask R-CNN."""


def mean_known(values: Sequence[float | None]) -> float | None:
    """Mean of the known values."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def quality(scorings: Sequence[Accuracy], kind: str) -> Quality | None:
    """Mean COCO numbers of one kind over several scorings."""
    found = [metrics for scoring in scorings for metrics in scoring.metrics if metrics.kind == kind]
    if not found:
        return None
    return Quality(
        ap=mean_known([metrics.ap for metrics in found]),
        ap50=mean_known([metrics.ap50 for metrics in found]),
        ap75=mean_known([metrics.ap75 for metrics in found]),
    )


def evaluation_rows(results: Sequence[TrialResult]) -> tuple[EvaluationRow, ...]:
    """One row per point of the eval phase, whatever its outcome."""
    return tuple(evaluation_row(group, point) for group, point in points(results, "eval"))


def evaluation_row(group: Group, point: Point) -> EvaluationRow:
    """The last scoring of each trial of a point."""
    scorings = [scoring for scoring in map(last_accuracy, group.ok) if scoring is not None]
    spent = spread([scoring_s(result) for result in group.ok])
    return EvaluationRow(
        point=point,
        bbox=quality(scorings, "bbox"),
        segm=quality(scorings, "segm"),
        images=scorings[0].images if scorings else None,
        detections=scorings[0].detections if scorings else None,
        throughput_images_per_s=throughputs(group),
        compiling=compiling(group.ok),
        scoring_s=spent.median if spent else None,
        scorer=", ".join(sorted({scoring.scorer for scoring in scorings})) or None,
        observed=observed(group.ok),
        imported=imported(group.ok),
    )


def training_accuracy_rows(results: Sequence[TrialResult]) -> tuple[TrainingAccuracyRow, ...]:
    """One row per training point that was scored or had a target, and per number of steps at which it was scored."""
    return tuple(row for group, point in points(results, "train") for row in accuracy_after(group, point))


def accuracy_after(group: Group, point: Point) -> list[TrainingAccuracyRow]:
    """Rows of one point; the time to the target stands in the last, and a point without numbers keeps one row."""
    if not (group.trial.evaluate or group.trial.evaluate_every_steps or group.trial.target):
        return []
    scorings = [scoring for result in group.ok for scoring in result.accuracy]
    known = {scoring.after_steps for scoring in scorings if scoring.after_steps is not None}
    steps: list[int | None] = [*sorted(known)] or [None]
    return [row_after(group, point, after, last=after == steps[-1]) for after in steps]


def row_after(group: Group, point: Point, after: int | None, *, last: bool) -> TrainingAccuracyRow:
    """One row: the mean over the trials that were scored after that many steps."""
    scorings = [scoring for result in group.ok for scoring in result.accuracy if scoring.after_steps == after]
    return TrainingAccuracyRow(
        point=point,
        after_steps=after,
        bbox=quality(scorings, "bbox"),
        segm=quality(scorings, "segm"),
        trials=len(scorings),
        target=spell_target(group.trial.target) if last else None,
        time_to_target_s=spread([result.time_to_target_s for result in group.ok]) if last else None,
        mlperf_result_s=mlperf_result(group) if last else None,
    )


def mlperf_result(group: Group) -> float | None:
    """MLPerf's result of a point's runs, from as many as it asks of a Mask R-CNN; None of fewer."""
    times = [result.time_to_target_s for result in group.ok]
    return training_result(times) if group.trial.target and len(times) >= MLPERF_RUNS else None


def spell_target(target: Target | None) -> str | None:
    """A target in words."""
    if target is None:
        return None
    parts = {"bbox AP": target.bbox_ap, "segm AP": target.segm_ap}
    return ", ".join(f"{name} {value:g}" for name, value in parts.items() if value is not None) or None


def stability_rows(results: Sequence[TrialResult]) -> tuple[StabilityRow, ...]:
    """Every number that two or more trials of one point have."""
    found = [pair for phase in PHASES for pair in points(results, phase)]
    return tuple(row for group, point in found if len(group.ok) > 1 for row in stability(group, point))


def stability(group: Group, point: Point) -> list[StabilityRow]:
    """Throughput, quality and last loss of one point, a value per trial."""
    accuracies = [last_accuracy(result) for result in group.ok]
    losses = [pooled(result, "loss") for result in group.ok]
    series: dict[tuple[str, str], list[float | None]] = {
        ("throughput", "images/s"): [throughput(result) for result in group.ok],
        ("bbox AP", "fraction"): [ap(accuracy, "bbox") for accuracy in accuracies],
        ("segm AP", "fraction"): [ap(accuracy, "segm") for accuracy in accuracies],
        ("last loss", "1"): [values[-1] if values else None for values in losses],
        ("time to target", "s"): [result.time_to_target_s for result in group.ok],
    }
    labels = [f"seed {result.trial.seed}, repeat {result.trial.repeat}" for result in group.ok]
    rows = []
    for (metric, unit), values in series.items():
        summary = with_interval(spread(values))
        if summary and len(summary.values) > 1:
            known = tuple(label for label, value in zip(labels, values, strict=True) if value is not None)
            rows.append(StabilityRow(point=point, metric=metric, unit=unit, labels=known, spread=summary))
    return rows
