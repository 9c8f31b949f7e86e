"""Results as one flat row per trial, for spreadsheets and notebooks; the only importer of pandas."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from harness.analysis.accuracy import quality
from harness.analysis.metrics import (
    compile_s,
    compiled_in_window,
    data_wait_share,
    last_accuracy,
    peak_memory,
    pooled,
    scoring_s,
    throughput,
)
from harness.analysis.performance import PERCENTILES, latency
from harness.schema.measurement import Accuracy
from harness.schema.result import TrialResult

if TYPE_CHECKING:
    import pandas as pd

Value = str | int | float | bool | None
Columns = dict[str, Callable[[TrialResult], Value]]
Row = dict[str, Value]


def trial_frame(results: Sequence[TrialResult]) -> "pd.DataFrame":
    """One row per trial; units stand in the names of columns, and what is unknown is None (object columns)."""
    import pandas as pd  # noqa: PLC0415  half a second that only a table of trials needs

    rows = [trial_row(result) for result in results]
    return pd.DataFrame(rows, columns=[*SETTINGS, *OUTCOME, *MEASURED, *ORIGIN], dtype=object)


def trial_row(result: TrialResult) -> Row:
    """All that one trial amounts to; as in the tables, only a trial that is ok has numbers."""
    measured = measurements(result) if result.outcome.kind == "ok" else dict.fromkeys(MEASURED)
    return filled(SETTINGS, result) | filled(OUTCOME, result) | measured | filled(ORIGIN, result)


def filled(columns: Columns, result: TrialResult) -> Row:
    """The cells of some columns."""
    return {name: fill(result) for name, fill in columns.items()}


def options(result: TrialResult) -> str | None:
    """The backend's own options in one cell."""
    return "; ".join(f"{name}={value}" for name, value in sorted(result.trial.options.items())) or None


SETTINGS: Columns = {
    "trial_id": lambda result: result.trial_id,
    "matrix": lambda result: result.matrix_name,
    "backend": lambda result: result.trial.backend,
    "phase": lambda result: result.trial.phase,
    "device": lambda result: result.trial.device,
    "device_name": lambda result: result.device_name,
    "nodes": lambda result: result.trial.nodes,
    "ranks": lambda result: result.trial.world_size,
    "batch_size_per_gpu_images": lambda result: result.trial.batch_size_per_gpu,
    "global_batch_size_images": lambda result: result.trial.global_batch_size,
    "effective_batch_size_images": lambda result: (
        result.trial.global_batch_size * result.trial.gradient_accumulation_steps
    ),
    "precision": lambda result: result.trial.precision,
    "xla": lambda result: result.trial.xla,
    "image_size_px": lambda result: result.trial.image_size,
    "options": options,
    "seed": lambda result: result.trial.seed,
    "repeat": lambda result: result.trial.repeat,
}
OUTCOME: Columns = {
    "outcome": lambda result: result.outcome.kind,
    "reason": lambda result: result.outcome.reason,
    "exit_code": lambda result: result.outcome.exit_code,
    "signal": lambda result: result.outcome.signal,
    "started_at": lambda result: result.started_at.isoformat(),
    "duration_s": lambda result: result.duration_s,
}
ORIGIN: Columns = {
    "host": lambda result: result.machine.hostname,
    "cpu_model": lambda result: result.machine.cpu_model,
    "harness_version": lambda result: result.provenance.harness_version if result.provenance else None,
    "git_commit": lambda result: result.provenance.git_commit if result.provenance else None,
    "git_dirty": lambda result: result.provenance.git_dirty if result.provenance else None,
}
QUALITIES = tuple(f"{kind}_{name}_fraction" for kind in ("bbox", "segm") for name in ("ap", "ap50", "ap75"))
MEASURED = (
    "throughput_images_per_s",
    "latency_samples_count",
    "latency_mean_ms",
    *(f"latency_p{p:g}_ms" for p in PERCENTILES),
    "compile_s",
    "compiled_timed_steps_count",
    "data_wait_fraction",
    "peak_memory_bytes",
    "scoring_s",
    "time_to_target_s",
    *QUALITIES,
    "evaluated_images_count",
    "scorer",
)


def measurements(result: TrialResult) -> Row:
    """The numbers of a trial that is ok; those it does not have are None."""
    found = latency(pooled(result, "latency_ms"))
    known: Row = {
        "throughput_images_per_s": throughput(result),
        "compile_s": compile_s(result),
        "compiled_timed_steps_count": compiled_in_window(result)[0],
        "data_wait_fraction": data_wait_share(result),
        "peak_memory_bytes": peak_memory(result),
        "scoring_s": scoring_s(result),
        "time_to_target_s": result.time_to_target_s,
    }
    if found:
        known |= {"latency_samples_count": found.samples, "latency_mean_ms": found.mean_ms}
        known |= {f"latency_p{quantile.p:g}_ms": quantile.value for quantile in found.percentiles_ms}
    return dict.fromkeys(MEASURED) | known | scored_columns(last_accuracy(result))


def scored_columns(scored: Accuracy | None) -> Row:
    """Quality in the last scoring."""
    if scored is None:
        return {}
    columns: Row = {"evaluated_images_count": scored.images, "scorer": scored.scorer}
    for kind in ("bbox", "segm"):
        found = quality([scored], kind)
        columns |= {f"{kind}_{name}_fraction": value for name, value in found.model_dump().items()} if found else {}
    return columns
