"""Results as one flat row per trial, for spreadsheets and notebooks; the only importer of pandas."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from harness.analysis.accuracy import quality
from harness.analysis.legacy import LEGACY
from harness.analysis.metrics import (
    compile_s,
    compiled_in_window,
    data_wait_share,
    last_accuracy,
    longest_s,
    peak_memory,
    pooled,
    scoring_s,
    throughput,
)
from harness.analysis.observed import (
    device_memory,
    host_joules,
    images_per_joule,
    joules,
    marks_note,
    power_w,
    why_no_energy,
)
from harness.analysis.performance import PERCENTILES, latency
from harness.analysis.series import LATENCIES, STEPS, series_note, series_quality
from harness.analysis.simulated import has_numbers, why_no_numbers
from harness.analysis.times import device_share, drain_share, host_share, rest_share
from harness.analysis.windows import timing_share
from harness.schema.measurement import Accuracy
from harness.schema.result import TrialResult

if TYPE_CHECKING:
    import pandas as pd

Value = str | int | float | bool | None
Columns = dict[str, Callable[[TrialResult], Value]]
Row = dict[str, Value]


def trial_frame(results: Sequence[TrialResult], *, legacy: bool = False) -> "pd.DataFrame":
    """One row per trial; units stand in the names of columns, and what is unknown is None (object columns).

    Legacy statistics, in ms, have their own names without a unit, and stand last where they are asked for.
    """
    import pandas as pd  # noqa: PLC0415  half a second that only a table of trials needs

    added = tuple(LEGACY) if legacy else ()
    rows = [trial_row(result) | (legacy_columns(result) if legacy else {}) for result in results]
    return pd.DataFrame(rows, columns=[*SETTINGS, *OUTCOME, *MEASURED, *ORIGIN, *added], dtype=object)


def legacy_columns(result: TrialResult) -> Row:
    """The statistics of older tables, of a trial of inference that has numbers."""
    told = has_numbers(result) and result.trial.phase != "train"
    return {name: read(result) if told else None for name, read in LEGACY.items()}


def trial_row(result: TrialResult) -> Row:
    """All that one trial amounts to; as in the tables, only one that is ok on a real device has numbers."""
    measured = measurements(result) if has_numbers(result) else dict.fromkeys(MEASURED)
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
    "reason": lambda result: why_no_numbers(result) or result.outcome.reason,
    "cause": lambda result: result.outcome.cause,
    "exit_code": lambda result: result.outcome.exit_code,
    "signal": lambda result: result.outcome.signal,
    "failed_peak_memory_bytes": lambda result: result.outcome.peak_memory_bytes,
    "evidence": lambda result: "; ".join(result.outcome.evidence) or None,
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
    "host_fraction",
    "drain_fraction",
    "rest_fraction",
    "device_clock_fraction",
    "window_s",
    "window_ended_by",
    "rate_half_interval_fraction",
    "warmup_was_steady",
    "timing_fraction",
    "latency_flags",
    "step_flags",
    "peak_memory_bytes",
    "images_per_joule",
    "gpu_energy_j",
    "no_energy",
    "mean_gpu_power_w",
    "peak_device_memory_bytes",
    "device_memory_is_own",
    "host_energy_j",
    "marks",
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
        **window_columns(result),
        **observed_columns(result),
        "peak_memory_bytes": peak_memory(result),
        "scoring_s": scoring_s(result),
        "time_to_target_s": result.time_to_target_s,
    }
    if found:
        known |= {"latency_samples_count": found.samples, "latency_mean_ms": found.mean_ms}
        known |= {f"latency_p{quantile.p:g}_ms": quantile.value for quantile in found.percentiles_ms}
    return dict.fromkeys(MEASURED) | known | scored_columns(last_accuracy(result))


def window_columns(result: TrialResult) -> Row:
    """How the window was spent, what ended it, how well its rate is known, and what its series are worth."""
    window = result.windows[0] if result.windows else None
    found = series_quality([result])
    return {
        "host_fraction": host_share(result),
        "drain_fraction": drain_share(result),
        "rest_fraction": rest_share(result),
        "device_clock_fraction": device_share(result),
        "window_s": longest_s(result) or None,
        "window_ended_by": window.ended_by if window and window.spans_ns else None,
        "rate_half_interval_fraction": window.interval if window else None,
        "warmup_was_steady": window.warmup_steady if window else None,
        "timing_fraction": timing_share(result),
        "latency_flags": series_note(found, [LATENCIES]),
        "step_flags": series_note(found, STEPS),
    }


def observed_columns(result: TrialResult) -> Row:
    """What telemetry saw."""
    held = device_memory(result)
    return {
        "images_per_joule": images_per_joule(result),
        "gpu_energy_j": joules(result),
        "no_energy": why_no_energy(result) if result.telemetry else None,
        "mean_gpu_power_w": power_w(result),
        "peak_device_memory_bytes": held and held[0],
        "device_memory_is_own": held and held[1],
        "host_energy_j": host_joules(result),
        "marks": marks_note([result]),
    }


def scored_columns(scored: Accuracy | None) -> Row:
    """Quality in the last scoring."""
    if scored is None:
        return {}
    columns: Row = {"evaluated_images_count": scored.images, "scorer": scored.scorer}
    for kind in ("bbox", "segm"):
        found = quality([scored], kind)
        columns |= {f"{kind}_{name}_fraction": value for name, value in found.model_dump().items()} if found else {}
    return columns
