"""Statistics of older published tables from a store's raw records, under names of their own; none is a percentile.

One value per trial, as those systems ran one process a row: of the latencies of all its ranks for the trimmed means and
the limits of the mean, and for the average with warm-up of the steps of its pipelined windows, from the first step on.
"""

from collections.abc import Callable, Sequence

from harness.analysis.metrics import pooled, spread
from harness.analysis.points import points
from harness.analysis.rows import LegacyRow
from harness.schema.result import TrialResult
from harness.schema.trial import Phase
from harness.statistics.legacy import legacy_mean_ucl, legacy_trimmed_mean, legacy_with_warmup_average
from harness.statistics.percentiles import Samples
from harness.units import MS_PER_S

PHASES: tuple[Phase, ...] = ("infer", "eval")
SHARES = {90: 0.9, 95: 0.95, 99: 0.99}
Reader = Callable[[TrialResult], float | None]


def legacy_rows(results: Sequence[TrialResult]) -> tuple[LegacyRow, ...]:
    """One row per point that has latencies."""
    return tuple(
        LegacyRow(
            point=point,
            samples=sum(len(pooled(result, "latency_ms")) for result in group.ok),
            **{name: spread([read(result) for result in group.ok]) for name, read in LEGACY.items()},
        )
        for phase in PHASES
        for group, point in points(results, phase)
        if any(pooled(result, "latency_ms") for result in group.ok)
    )


def of_latencies(statistic: Callable[[Samples, float], float], share: float) -> Reader:
    """Read a statistic of a trial's latencies, in ms; None of a trial that has too few."""

    def read(result: TrialResult) -> float | None:
        values_ms = pooled(result, "latency_ms")
        return statistic(values_ms, share) if len(values_ms) > 1 else None

    return read


def with_warmup_ms(result: TrialResult) -> float | None:
    """Mean time of a step over warm-up and timed window, in ms; None where a rank has no window or no warm-up.

    The ranks' windows hold what was published: waiting for the next batch, the step, and the device, from the first
    step on, compiling included. Single latencies are no part of it, since none is taken before the warm-up is over.
    """
    warmup, samples = [], []
    for window in result.windows:
        if not window.warmup_steps or not window.steps:
            return None
        warmup += [window.warmup_s * MS_PER_S / window.warmup_steps] * window.warmup_steps
        samples += [window.elapsed_s * MS_PER_S / window.steps] * window.steps
    return legacy_with_warmup_average(warmup, samples) if samples else None


LEGACY: dict[str, Reader] = {
    **{f"legacy_trimmed_mean_{k}": of_latencies(legacy_trimmed_mean, share) for k, share in SHARES.items()},
    **{f"legacy_mean_ucl_{k}": of_latencies(legacy_mean_ucl, share) for k, share in SHARES.items()},
    "legacy_with_warmup_average": with_warmup_ms,
}
"""Every legacy statistic by its name, in ms."""
