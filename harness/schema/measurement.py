"""What was measured: raw series and windows, never derived numbers."""

from typing import Literal

from harness.schema.record import Record
from harness.units import Unit


class Measurement(Record):
    """One rank's named raw series; warm-up values are recorded and kept apart.

    Names in use: latency_ms (one batch, device synchronised on both sides), step_ms (host time to hand out a step),
    device_ms (a step by the device's own clock, where it has one), latency_device_ms (that of latencies), data_wait_ms
    (host time waiting for the next batch), drain_ms (of each stretch, host time waiting for the device beside its
    steps), loss (one value a step, others as loss_*), encode_ms, scoring_ms, compile_ms (a step that compiled first,
    running included: values are of steps inside the timed window, warmup_values of all others, such as those of the
    warm-up; absent where nothing compiled).
    """

    name: str
    unit: Unit
    values: tuple[float, ...]
    warmup_values: tuple[float, ...] = ()
    rank: int = 0


class TimerCost(Record):
    """What measuring takes, measured on the idle device before the first step: medians in nanoseconds."""

    resolution_ns: float
    """The smallest step that the host's clock was seen to take."""
    clock_ns: float
    """Of one reading of the host's clock."""
    synchronize_ns: float
    """Of synchronising an idle device."""
    mark_ns: float | None
    """Of one mark in the device's queue; None where the device has no clock of its own."""
    readings_per_step: int
    """How often the host reads its clock in a step of a pipelined window."""


Ending = Literal["steps", "seconds", "interval", "limit", "set", "target", "diverged"]
"""What ended a window: so many steps, so many seconds, a rate known well enough, max_timed_steps, the end of the set,
the target quality, or a loss that is no number."""


class Window(Record):
    """One rank's timed window: the device is synchronised at both ends, the ranks meet at its start.

    It may have several stretches, with the ranks' meeting and, in training, evaluations between them; only stretches
    count.
    """

    rank: int
    images: int
    steps: int
    elapsed_s: float
    warmup_steps: int
    warmup_s: float
    spans_ns: tuple[tuple[int, int], ...] = ()
    """Start and end of each stretch on CLOCK_MONOTONIC, which all processes of a machine share."""
    stretch_images: tuple[int, ...] = ()
    device_s: float | None = None
    """By the device's own clock, from the first mark to the last of each stretch; None where it has none."""
    ended_by: Ending = "steps"
    interval: float | None = None
    """Half of the rate's 95 % interval, as a fraction of the rate, over the stretches; None of too few of them."""
    warmup_steady: bool | None = None
    """Whether steps were steady when the window began; None where the warm-up had a fixed count."""


class CocoMetrics(Record):
    """The twelve COCO numbers of one kind, as fractions; None where no ground truth defines them."""

    kind: Literal["bbox", "segm"]
    ap: float | None
    ap50: float | None
    ap75: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    ar_1: float | None
    ar_10: float | None
    ar_100: float | None
    ar_small: float | None
    ar_medium: float | None
    ar_large: float | None


class Accuracy(Record):
    """One scoring of a whole val set; after_steps is None outside the train phase."""

    metrics: tuple[CocoMetrics, ...]
    images: int
    detections: int
    scorer: str
    after_steps: int | None = None


class ProbedTensor(Record):
    """A sample of one intermediate tensor, float32, NCHW whatever the framework's own order."""

    name: str
    shape: tuple[int, ...]
    largest: float
    """The largest absolute value of the whole tensor."""
    values: tuple[float, ...]
    """At most 256 elements of the flattened tensor, evenly spaced from the first to the last."""


class Probe(Record):
    """The intermediate tensors of the first batch of an eval trial, computed by rank 0 outside every window."""

    image_ids: tuple[int, ...]
    tensors: tuple[ProbedTensor, ...]
