"""The rows that a report shows: derived numbers, each with its unit in its name; None where a number is unknown."""

from datetime import datetime
from typing import Literal

from pydantic import ConfigDict

from harness.schema.record import Record
from harness.schema.result import OutcomeKind
from harness.schema.trial import Device, Phase, Precision
from harness.statistics.percentiles import Percentile

FactGroup = Literal["run", "machine", "software", "environment", "data", "backend"]


FELL_BACK = "framework instead of native"
"""In a backend's words about its kernels: it was to run on native ones and did not."""


class Row(Record):
    """Base of all that a JSON report holds; what stands under a field is its description in the schema."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Spread(Row):
    """One number per process and what they amount to; sd is the sample standard deviation, from two values on."""

    median: float
    low: float
    high: float
    mean: float
    sd: float | None
    values: tuple[float, ...]


class Ratio(Row):
    """One throughput over another; both sides are always named, and a missing value has its reason."""

    value: float | None
    of: str
    to: str
    reason: str | None = None
    caveat: str | None = None
    """What else the two sides differ in: one of them compiled in its timed window."""


class Scaling(Row):
    """Weak scaling: `factor` is T(N) / T(1) at equal batch size per GPU, `efficiency` that factor over N."""

    factor: Ratio
    efficiency: float | None


class Latency(Row):
    """Raw samples of one batch each, all ranks and repeats of a point together."""

    samples: int
    mean_ms: float
    percentiles_ms: tuple[Percentile, ...]


class Compiling(Row):
    """Steps that compiled first, running included; of each trial the rank that spent most."""

    spent_s: Spread
    """Of all steps that compiled, the warm-up's too."""
    window_steps: int
    """How many of them stand in the timed window, in the trial that has most: its throughput contains compiling."""
    window_s: float
    """Their time in that trial."""


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
    """Of the first trial that is not ok."""
    trial_ids: tuple[str, ...]

    @property
    def ok(self) -> int:
        """How many of its trials have numbers."""
        return self.outcomes.get("ok", 0)

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
    peak_memory_bytes: int | None
    """Largest resident memory of any rank."""


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
    peak_memory_bytes: int | None


class Quality(Row):
    """COCO numbers of one kind as fractions, each the mean over the trials of a point."""

    ap: float | None
    ap50: float | None
    ap75: float | None


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


class QualityPair(Row):
    """COCO numbers of one kind from two backends, fractions."""

    kind: Literal["bbox", "segm"]
    reference_ap: float | None
    ap: float | None
    largest_difference: float | None
    """Of the twelve numbers of this kind that both sides have."""


class TensorDifference(Row):
    """The largest difference between sampled elements of two backends' intermediate tensors.

    Each difference is relative to the absolute maximum of its tensor in the reference. The sample is at most 256 evenly
    spaced elements of each tensor of the first batch, and the tensors' absolute maxima.
    """

    value: float | None
    tensor: str | None
    """Where it is."""
    tensors: int
    values: int
    """How many elements of how many tensors were compared."""
    left_out: tuple[str, ...]
    """Tensors of either side that were not compared, each with the reason."""
    reason: str | None = None
    """Why nothing was compared."""


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


class StabilityRow(Row):
    """One number of one point over its seeds and repeats; only points with two and more."""

    point: Point
    metric: str
    unit: str
    labels: tuple[str, ...]
    """Seed and repeat of each value."""
    spread: Spread


class OutcomeRow(Row):
    """How often a point ended in one way, and why."""

    point: Point
    kind: OutcomeKind
    reason: str | None
    note: str | None
    """What a reader of its numbers must know."""
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
    fake_devices: tuple[str, ...]
    """Devices of a simulator: their numbers are no measurement."""


class Analysis(Row):
    """All tables of a store.

    History of schema_version: 1, first. 2, compiling, XLA and frameworks are compared.
    3, which kernels ran.
    """

    schema_version: Literal[3] = 3
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
