"""Rows of training and inference performance."""

from collections.abc import Sequence

from harness.analysis.metrics import (
    compiling,
    data_wait_share,
    imported,
    peak_memory,
    pooled,
    spread,
    throughput,
    with_interval,
)
from harness.analysis.observed import observed
from harness.analysis.parts import Latency, Spread
from harness.analysis.points import Group, points
from harness.analysis.ratios import Comparisons
from harness.analysis.rows import InferenceRow, Point, TrainingRow
from harness.analysis.series import series_quality
from harness.analysis.times import time_apart
from harness.analysis.windows import window_quality
from harness.schema.result import TrialResult
from harness.statistics.percentiles import percentile

PERCENTILES = (50, 90, 95, 99)


def training_rows(results: Sequence[TrialResult]) -> tuple[TrainingRow, ...]:
    """One row per point of the train phase, whatever its outcome."""
    found = points(results, "train")
    comparisons = Comparisons([group for group, _ in found])
    return tuple(training_row(group, point, comparisons) for group, point in found)


def training_row(group: Group, point: Point, comparisons: Comparisons) -> TrainingRow:
    """Derive the numbers of one point."""
    waits = spread([data_wait_share(result) for result in group.ok])
    return TrainingRow(
        point=point,
        throughput_images_per_s=throughputs(group),
        speedup_vs_fp32=comparisons.speedup(group, "fp32"),
        speedup_vs_tf32=comparisons.speedup(group, "tf32"),
        speedup_across_batch_sizes=comparisons.speedup_across_batch_sizes(group),
        speedup_of_xla=comparisons.speedup_of_xla(group),
        scaling=comparisons.scaling(group),
        compiling=compiling(group.ok),
        data_wait_share=waits.median if waits else None,
        time=time_apart(group.ok),
        window=window_quality(group.ok),
        peak_memory_bytes=peak(group),
        observed=observed(group.ok),
        series=series_quality(group.ok),
        imported=imported(group.ok),
    )


def inference_rows(results: Sequence[TrialResult]) -> tuple[InferenceRow, ...]:
    """One row per point of the infer phase, whatever its outcome."""
    found = points(results, "infer")
    comparisons = Comparisons([group for group, _ in found])
    return tuple(
        InferenceRow(
            point=point,
            throughput_images_per_s=throughputs(group),
            speedup_vs_fp32=comparisons.speedup(group, "fp32"),
            speedup_vs_tf32=comparisons.speedup(group, "tf32"),
            speedup_across_batch_sizes=comparisons.speedup_across_batch_sizes(group),
            speedup_of_xla=comparisons.speedup_of_xla(group),
            compiling=compiling(group.ok),
            latency=latency([value for result in group.ok for value in pooled(result, "latency_ms")]),
            time=time_apart(group.ok),
            window=window_quality(group.ok),
            peak_memory_bytes=peak(group),
            observed=observed(group.ok),
            series=series_quality(group.ok),
            imported=imported(group.ok),
        )
        for group, point in found
    )


def throughputs(group: Group) -> Spread | None:
    """Images/s, one value per trial."""
    return with_interval(spread([throughput(result) for result in group.ok]))


def peak(group: Group) -> int | None:
    """Bytes of the rank that held most in any trial."""
    return max((held for held in map(peak_memory, group.ok) if held is not None), default=None)


def latency(samples_ms: Sequence[float]) -> Latency | None:
    """Mean and true order statistics of raw samples, with what each percentile needs to be known."""
    if not samples_ms:
        return None
    return Latency(
        samples=len(samples_ms),
        mean_ms=sum(samples_ms) / len(samples_ms),
        percentiles_ms=tuple(percentile(samples_ms, p) for p in PERCENTILES),
    )
