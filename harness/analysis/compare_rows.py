"""The rows of a comparison: two stores, point by point; None where a number is unknown."""

from typing import Literal

from pydantic import Field

from harness.analysis.parts import Row, Spread
from harness.analysis.rows import Point
from harness.schema.result import OutcomeKind

SpeedVerdict = Literal["faster", "slower", "same", "inconclusive"]
QualityVerdict = Literal["better", "worse", "same", "inconclusive"]
Verdict = Literal["better", "worse", "same", "inconclusive", "not comparable"]
PairVerdict = Literal["better", "worse", "same", "inconclusive", "not comparable", "new"]
Metric = Literal["throughput", "latency p50", "latency p90", "latency p99", "time to target", "images per joule"]
Standing = Literal["blocks", "declared", "noted", "unknown"]


class Difference(Row):
    """A field in which two sides differ, as text; several values of a side are joined, None is unknown."""

    field: str
    base: str | None
    other: str | None
    standing: Standing
    """`blocks`: it makes the sides not comparable; `declared`: it is what is being compared; `noted`: it may differ;
    `unknown`: one side does not tell."""


class SpeedRow(Row):
    """One number per process on each side, and what their medians say."""

    metric: Metric
    unit: str
    better: Literal["higher", "lower"]
    base: Spread | None
    other: Spread | None
    ratio: float | None
    """Median of other over median of base."""
    low: float | None
    """Of the ratio's bootstrap interval over processes."""
    high: float | None
    effect: float | None
    """Cliff's delta: 1 where every process of other is above every one of base, -1 where below."""
    chance: float | None
    """In what share of comparisons of identical processes ranks are at least as far apart, either way (Mann-Whitney);
    None where nothing was tested."""
    verdict: SpeedVerdict
    decides: bool
    """Whether an inconclusive verdict counts for the whole; of the tails p90 and p99 and of energy it does not."""
    reason: str | None
    """Why there is no verdict; of a point among many also that it had one if it were alone."""
    needed: int | None
    """About so many processes a side would tell; None where that is not the reason, or beyond 1,000."""


class QualityRow(Row):
    """AP of one kind as a fraction, the last scoring of each process."""

    kind: Literal["bbox", "segm"]
    base: Spread
    other: Spread
    difference: float
    """Mean of other less mean of base."""
    low: float | None
    """Of the difference's interval over processes, by Welch."""
    high: float | None
    chance: float | None
    """In what share of comparisons of equal ones means are at least as far apart, either way (Welch); None where
    nothing was tested, as where there is no chance in the numbers."""
    verdict: QualityVerdict
    decides: bool
    reason: str | None
    needed: int | None


class PairRow(Row):
    """One point of two stores."""

    point: Point
    """As the base has it; where the base does not have it, as the other does."""
    base_outcomes: dict[OutcomeKind, int]
    other_outcomes: dict[OutcomeKind, int]
    verdict: PairVerdict
    """The most serious of its rows: worse, not comparable, inconclusive, better, same. `new`: the base lacks it."""
    reason: str | None
    """Of a verdict that no row below gives."""
    worse_chance: float | None
    """That of its rows that are worse if they were alone, together (Simes), of this direction: 1 where none is. None
    where none was tested."""
    better_chance: float | None
    speed: tuple[SpeedRow, ...]
    quality: tuple[QualityRow, ...]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]
    """What a reader of these numbers must know."""


class StoreComparison(Row):
    """One store against the base; a point that the base lacks counts for nothing."""

    other: str
    verdict: Verdict
    counts: dict[PairVerdict, int]
    pairs: tuple[PairRow, ...]


class Comparisons(Row):
    """Stores against the first of them.

    History of schema_version: 1, first. 2, chances, and points held to one share of false alarms together.
    """

    schema_version: Literal[2] = 2
    base: str
    tolerance: float
    """A ratio within 1 ± this is no difference."""
    ap_tolerance: float
    """A difference of AP within ± this is none."""
    confidence: float
    """Of the intervals."""
    across: tuple[str, ...]
    """Differences that were declared: they are what is compared."""
    tested: int
    """Points with a chance, of all stores; where they are more than one, what is worse and what is better are each
    held to false_alarms over all of them (Benjamini and Hochberg)."""
    false_alarms: float
    """In at most this share of comparisons of identical stores the verdict is worse."""
    verdict: Verdict
    """The most serious of the stores'."""
    stores: tuple[StoreComparison, ...] = Field(min_length=1)
