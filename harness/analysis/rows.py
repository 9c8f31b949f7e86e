"""The rows that a report shows: derived numbers, each with its unit in its name; None where a number is unknown."""

from datetime import datetime
from typing import Literal

from harness.analysis.parts import (
    Compiling,
    Latency,
    Observed,
    Quality,
    QualityPair,
    Ratio,
    Row,
    Scaling,
    SeriesQuality,
    Spread,
    TensorDifference,
    TimeApart,
    WindowQuality,
)
from harness.schema.causes import Cause
from harness.schema.result import OutcomeKind
from harness.schema.telemetry import MarkKind
from harness.schema.trial import Device, Phase, Precision

FactGroup = Literal["run", "machine", "software", "environment", "data", "backend"]


FELL_BACK = "framework instead of native"
"""In a backend's words about its kernels: it was to run on native ones and did not."""


class Point(Row):
    """What a row is about: one point of a matrix, its repeats and seeds taken together."""

    backend: str
    framework: str | None
    phase: Phase
    device: Device
    device_name: str | None
    nodes: int
    ranks: int
    batch_size_per_gpu: int
    global_batch_size: int
    gradient_accumulation_steps: int
    effective_batch_size: int
    precision: Precision
    xla: bool
    kernels: str | None
    """What its trials really ran on, in the backend's words; what they ask for where none has come so far."""
    variant: dict[str, str]
    """Settings without a column of their own in which the rows of this phase differ."""
    outcomes: dict[OutcomeKind, int]
    reason: str | None
    """Of the first trial without numbers."""
    simulated: int
    """Trials that are ok on a simulated device: they have no numbers."""
    trial_ids: tuple[str, ...]

    @property
    def ok(self) -> int:
        """How many of its trials have numbers."""
        return self.outcomes.get("ok", 0) - self.simulated

    @property
    def fell_back(self) -> bool:
        """Whether any of its trials ran on its framework's own operations though it asked for native kernels."""
        return FELL_BACK in (self.kernels or "")


class TrainingRow(Row):
    """Training performance of one point."""

    point: Point
    throughput_images_per_s: Spread | None
    speedup_vs_fp32: Ratio
    speedup_vs_tf32: Ratio
    speedup_across_batch_sizes: Ratio | None
    """Over tf32, else fp32, at the one other batch size that it ran at; None where equal ones can be compared."""
    speedup_of_xla: Ratio
    scaling: Scaling
    compiling: Compiling | None
    """None where nothing compiled."""
    data_wait_share: float | None
    """Fraction of the timed window in which ranks waited for their next batch."""
    time: TimeApart | None
    window: WindowQuality | None
    """None of older records, which do not tell."""
    peak_memory_bytes: int | None
    """Largest resident memory of any rank."""
    observed: Observed | None
    """None where nothing was sampled."""
    series: tuple[SeriesQuality, ...]
    """Of the steps' times, where they have a flag."""
    imported: tuple[str, ...]
    """Where results come from that this harness did not measure."""


class InferenceRow(Row):
    """Inference performance of one point."""

    point: Point
    throughput_images_per_s: Spread | None
    speedup_vs_fp32: Ratio
    speedup_vs_tf32: Ratio
    speedup_across_batch_sizes: Ratio | None
    """As in training."""
    speedup_of_xla: Ratio
    compiling: Compiling | None
    """None where nothing compiled."""
    latency: Latency | None
    time: TimeApart | None
    window: WindowQuality | None
    """None of older records, which do not tell."""
    peak_memory_bytes: int | None
    observed: Observed | None
    """None where nothing was sampled."""
    series: tuple[SeriesQuality, ...]
    """Of latencies and of the steps' times, where they have a flag."""
    imported: tuple[str, ...]
    """As in training."""


class LegacyRow(Row):
    """Statistics of older published tables, in ms, a value per trial; none of them is a percentile."""

    point: Point
    samples: int
    legacy_trimmed_mean_90: Spread | None
    """Mean of the fastest 90 % of a trial's latencies."""
    legacy_trimmed_mean_95: Spread | None
    legacy_trimmed_mean_99: Spread | None
    legacy_mean_ucl_90: Spread | None
    """Mean + z · s / √n of a trial's latencies: where their mean is likely to lie below."""
    legacy_mean_ucl_95: Spread | None
    legacy_mean_ucl_99: Spread | None
    legacy_with_warmup_average: Spread | None
    """Mean time of a step over warm-up and timed window, waiting for data included; None without a warm-up."""


class EvaluationRow(Row):
    """One pass over a val set."""

    point: Point
    bbox: Quality | None
    segm: Quality | None
    images: int | None
    detections: int | None
    throughput_images_per_s: Spread | None
    compiling: Compiling | None
    """None where nothing compiled."""
    scoring_s: float | None
    """Median of the trials."""
    scorer: str | None
    observed: Observed | None
    """None where nothing was sampled."""
    imported: tuple[str, ...]
    """As in training."""


class FrameworkRow(Row):
    """One weights file evaluated by two backends on the same val set at the same size, flavour and precision."""

    reference: Point
    point: Point
    weights: str
    weights_sha256: str
    images: int
    quality: tuple[QualityPair, ...]
    difference: TensorDifference


class TrainingAccuracyRow(Row):
    """Quality after so many training steps."""

    point: Point
    after_steps: int | None
    bbox: Quality | None
    segm: Quality | None
    trials: int
    target: str | None
    time_to_target_s: Spread | None
    """Of the trials that reached the target."""
    mlperf_result_s: float | None
    """As MLPerf training makes one of five runs and more: the mean without best and worst, one may miss the target."""


class StabilityRow(Row):
    """One number of one point over its seeds and repeats; only points with two and more."""

    point: Point
    metric: str
    unit: str
    labels: tuple[str, ...]
    """Seed and repeat of each value."""
    spread: Spread


class OutcomeRow(Row):
    """How often a point ended in one way, and why; trials of one row share kind, cause and reason."""

    point: Point
    kind: OutcomeKind
    cause: Cause | None
    reason: str | None
    note: str | None
    """What a reader of its numbers must know."""
    evidence: tuple[str, ...]
    """What the cause was found by, in the first of its trials."""
    peak_memory_bytes: int | None
    """Most that a process of any of its trials is known to have held; None of trials that are ok."""
    trials: int
    duration_s: float
    trial_ids: tuple[str, ...]


class Fact(Row):
    """One circumstance; `mixed` where trials that should share it do not."""

    group: FactGroup
    name: str
    values: dict[str, int]
    """Each value found, with the number of trials that have it."""
    mixed: bool


class Summary(Row):
    """What ran, where, when and how it ended."""

    matrices: tuple[str, ...]
    backends: tuple[str, ...]
    phases: tuple[Phase, ...]
    machines: tuple[str, ...]
    started_at: datetime | None
    ended_at: datetime | None
    trials: int
    outcomes: dict[OutcomeKind, int]
    duration_s: float
    """Of all trials together, start-up included."""
    mixed: tuple[str, ...]
    """Circumstances that differ between trials."""
    rehearsed: int
    """Trials that only a small stand-in ran for: their numbers are no measurement."""
    fell_back: int
    """Trials that ran on their framework's own operations though they asked for native kernels."""
    marked: dict[MarkKind, int]
    """Trials that telemetry marked, by kind of mark."""
    fake_devices: tuple[str, ...]
    """Devices of a simulator: trials on them have no numbers here."""


class Analysis(Row):
    """All tables of a store.

    History of schema_version: 1, first. 2, compiling, XLA and frameworks are compared.
    3, which kernels ran. 4, telemetry, time apart, flags of series, intervals over processes, legacy statistics where
    they are asked for; trials on simulated devices have no numbers.
    """

    schema_version: Literal[4] = 4
    summary: Summary
    common_settings: dict[Phase, dict[str, str]]
    """By phase, the settings that all its rows share."""
    training: tuple[TrainingRow, ...]
    inference: tuple[InferenceRow, ...]
    evaluation: tuple[EvaluationRow, ...]
    frameworks: tuple[FrameworkRow, ...]
    training_accuracy: tuple[TrainingAccuracyRow, ...]
    stability: tuple[StabilityRow, ...]
    outcomes: tuple[OutcomeRow, ...]
    provenance: tuple[Fact, ...]
    legacy: tuple[LegacyRow, ...] | None = None
    """None unless asked for."""
