"""What the rows of a report are made of; None where a number is unknown."""

from typing import Literal

from pydantic import ConfigDict

from harness.schema.record import Record
from harness.schema.telemetry import MarkKind
from harness.statistics.percentiles import Percentile


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
    interval: tuple[float, float] | None = None
    """95 % bootstrap interval of the median over processes; None where it was not asked for, or of too few."""


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


class TimeApart(Row):
    """What the ranks' timed windows were spent on, as fractions of them; medians of the trials."""

    data_wait: float | None
    """Waiting for the next batch."""
    host: float | None
    """Handing out steps; where the device works within the call, as CPUs do, its work is in here."""
    drain: float | None
    """Waiting for the device beside steps, until it has worked off what was handed out."""
    rest: float | None
    """None of these: the host's own loop, encoding in the eval phase, and the wait for the device in older records."""
    device: float | None
    """By the device's own clock, from its first mark to its last: it runs beside the others, and is none of them."""


class WindowQuality(Row):
    """How the timed windows of a point came to be."""

    trials: int
    """That tell."""
    at_limit: int
    """Whose window ended at max_timed_steps, before the rate was known or the time was over as the matrix asks."""
    not_steady: int
    """Whose steps were not steady when the longest warm-up was over."""
    rate_half_interval: float | None
    """Half of the rate's 95 % interval within a process, as a fraction of the rate; the largest of the trials."""
    timing_share: float | None
    """Fraction of the window that the host took to read its clock; the largest of the trials."""


class Marked(Row):
    """One kind of mark on the trials of a point."""

    kind: MarkKind
    text: str
    """Of the first mark of this kind."""
    trials: int
    """That have it."""
    of: int


class Observed(Row):
    """What a process of its own sampled while the windows of a point ran; None where unknown, never 0."""

    joules: Spread | None
    """Of a trial's GPUs together."""
    images_per_joule: Spread | None
    """Images of all windows over the energy of the trial's GPUs; of trials where every GPU's energy is known."""
    no_energy: str | None
    """Why it is unknown, where it is."""
    power_w: Spread | None
    """Mean power of a trial's GPUs together."""
    device_memory_bytes: int | None
    """Most that was held on any GPU of any trial."""
    device_memory_is_own: bool | None
    """Whether that is of the trials' own processes alone, or of all processes on the device."""
    host_joules: Spread | None
    """Of the machine's processors."""
    marks: tuple[Marked, ...]


class SeriesQuality(Row):
    """Raw series of one name that are no independent samples of one quantity."""

    name: str
    flag: Literal["autocorrelated", "drifting"]
    series: int
    """How many have the flag, of `of`: one a rank and trial."""
    of: int
    largest: float
    """Lag-1 autocorrelation, or drift over the series as a fraction of its middle: the one of largest size."""
    effective_count: float | None
    """Of a flagged series: as many independent samples would say as much; the fewest of them."""
    effective_share: float | None
    """That number over the samples of its series; the smallest of them."""


class Quality(Row):
    """COCO numbers of one kind as fractions, each the mean over the trials of a point."""

    ap: float | None
    ap50: float | None
    ap75: float | None


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
