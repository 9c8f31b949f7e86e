"""Speed of two groups of processes: one number per process, a verdict by metric, its direction known."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, isfinite
from typing import Literal, NamedTuple

from harness.analysis.compare_rows import Metric, SpeedRow, SpeedVerdict
from harness.analysis.metrics import pooled, spread, throughput
from harness.analysis.observed import images_per_joule
from harness.schema.result import TrialResult
from harness.statistics.comparing import (
    MAX_CHANCE,
    MIN_PROCESSES,
    Comparison,
    compare_processes,
    processes_for,
    rank_chance,
)
from harness.statistics.percentiles import percentile

MOST_NEEDED = 1000
ENOUGH = 20
"""Processes a side that find a change of 10 %, in 98 of 100 cases of a noisy machine."""
BOTH_SIDES = "the interval reaches both sides of the tolerance"
BETTER: Mapping[tuple[str, str], SpeedVerdict] = {
    ("higher", "higher"): "faster",
    ("lower", "lower"): "faster",
    ("higher", "lower"): "slower",
    ("lower", "higher"): "slower",
}
"""By the direction that is better, and where the other side lies."""
Sides = tuple[Sequence[float], Sequence[float]]


class Judged(NamedTuple):
    """A verdict, in how many comparisons chance alone would reach it, why there is none, how many processes tell."""

    verdict: SpeedVerdict
    chance: float | None = None
    reason: str | None = None
    needed: int | None = None


@dataclass(frozen=True)
class Terms:
    """What counts as a difference.

    `across`: fields that differ on purpose. `tolerance`: relative, of speed. `ap_tolerance`: absolute, a fraction.
    """

    across: tuple[str, ...] = ()
    tolerance: float = 0.02
    ap_tolerance: float = 0.002
    confidence: float = 0.95


@dataclass(frozen=True)
class Quantity:
    """One number of a process."""

    name: Metric
    unit: str
    better: Literal["higher", "lower"]
    decides: bool
    of: Callable[[TrialResult], float | None]


def latency_of(p: float) -> Callable[[TrialResult], float | None]:
    """A percentile of the latencies of one process, in ms; None from too few samples."""

    def of(result: TrialResult) -> float | None:
        samples = pooled(result, "latency_ms")
        return percentile(samples, p).value if samples else None

    return of


QUANTITIES = (
    Quantity("throughput", "images/s", "higher", decides=True, of=throughput),
    Quantity("latency p50", "ms", "lower", decides=True, of=latency_of(50)),
    Quantity("latency p90", "ms", "lower", decides=False, of=latency_of(90)),
    Quantity("latency p99", "ms", "lower", decides=False, of=latency_of(99)),
    Quantity("time to target", "s", "lower", decides=True, of=lambda result: result.time_to_target_s),
    Quantity("images per joule", "images/J", "higher", decides=False, of=images_per_joule),
)


def speed_rows(base: Sequence[TrialResult], other: Sequence[TrialResult], terms: Terms) -> tuple[SpeedRow, ...]:
    """Every quantity that a process of either side has."""
    rows = (speed_row(each, values(each, base), values(each, other), terms) for each in QUANTITIES)
    return tuple(row for row in rows if row is not None)


def values(quantity: Quantity, results: Sequence[TrialResult]) -> list[float | None]:
    """The number of each process; what is no number above 0 is unknown."""
    found = [quantity.of(result) for result in results]
    return [value if value is not None and isfinite(value) and value > 0 else None for value in found]


def speed_row(
    quantity: Quantity, base: Sequence[float | None], other: Sequence[float | None], terms: Terms
) -> SpeedRow | None:
    """Judge one quantity; None where no process has it."""
    known = [value for value in base if value is not None], [value for value in other if value is not None]
    if not any(known):
        return None
    unknown = len(base) - len(known[0]), len(other) - len(known[1])
    if any(unknown):
        return row_of(quantity, known, None, judge_unknown(quantity, known, unknown))
    found = compare_processes(*known, tolerance=terms.tolerance, confidence=terms.confidence)
    return row_of(quantity, known, found, judge_known(quantity, known, found, terms.tolerance))


def row_of(quantity: Quantity, known: Sides, found: Comparison | None, judged: Judged) -> SpeedRow:
    """A row of what was found."""
    return SpeedRow(
        metric=quantity.name,
        unit=quantity.unit,
        better=quantity.better,
        base=spread(known[0]),
        other=spread(known[1]),
        ratio=found and found.ratio,
        low=found and found.low,
        high=found and found.high,
        effect=found and found.effect,
        chance=judged.chance,
        verdict=judged.verdict,
        decides=quantity.decides,
        reason=judged.reason,
        needed=judged.needed,
    )


def judge_known(quantity: Quantity, known: Sides, found: Comparison, tolerance: float) -> Judged:
    """A verdict where every process has the number."""
    if sorted(known[0]) == sorted(known[1]):
        # To the last digit: they are the same records, and few of them differ as little as many.
        return Judged("same", found.chance)
    if found.verdict == "inconclusive":
        return Judged("inconclusive", found.chance, *why_inconclusive(found, tolerance))
    verdict = "same" if found.verdict == "same" else BETTER[quantity.better, found.verdict]
    return Judged(verdict, found.chance)


def judge_unknown(quantity: Quantity, known: Sides, unknown: tuple[int, int]) -> Judged:
    """A verdict where some process lacks the number: what is left would be a choice of the fortunate ones.

    That all processes of one side reach a target and none of the other does comes as often as that all ranks of one
    side are above all of the other.
    """
    spelled = [f"{lacking} of {lacking + len(has)}" for lacking, has in zip(unknown, known, strict=True)]
    if quantity.name != "time to target":
        reason = f"unknown in {spelled[0]} processes of the base and {spelled[1]} of the other"
        return Judged("inconclusive", None, reason)
    reason = f"target not reached by {spelled[0]} processes of the base and {spelled[1]} of the other"
    counts = [lacking + len(has) for lacking, has in zip(unknown, known, strict=True)]
    lost, found = not unknown[0] and not known[1], not unknown[1] and not known[0]
    if min(counts) < MIN_PROCESSES or not (lost or found):
        return Judged("inconclusive", None, reason)
    return Judged("slower" if lost else "faster", rank_chance(1, *counts), reason)


def why_inconclusive(found: Comparison, tolerance: float) -> tuple[str, int | None]:
    """The reason, and about how many processes a side would tell."""
    if found.low is None or found.high is None or found.chance is None:
        counts = f"{found.base_count} and {found.other_count} processes"
        return f"{counts}, and an interval takes {MIN_PROCESSES} a side", ENOUGH
    ranks = processes_for(found.effect, MAX_CHANCE, MOST_NEEDED)
    if found.low > 1 + tolerance or found.high < 1 - tolerance:
        return f"{as_far(found.chance)}, and at most {in_percent(MAX_CHANCE)} counts", ranks
    fewer = min(found.base_count, found.other_count)
    needed = processes_needed(fewer, (found.high - found.low) / 2, abs(abs(found.ratio - 1) - tolerance))
    return BOTH_SIDES, at_least(needed, ranks) if abs(found.ratio - 1) > tolerance else needed


def as_far(chance: float) -> str:
    """How often a row's numbers are as far apart by chance."""
    return f"identical processes are as far apart in {in_percent(chance)} of comparisons"


def in_percent(share: float) -> str:
    """A small share in two figures: 1 %, 0.79 %, 0.033 %."""
    return f"{100 * share:.2g} %"


def at_least(one: int | None, two: int | None) -> int | None:
    """The larger of two numbers of processes; None where one is beyond what can be run."""
    return None if one is None or two is None else max(one, two)


def processes_needed(fewer: int, half: float, gap: float) -> int | None:
    """How many processes a side would make an interval of half-width `half` narrower than `gap`; None above 1,000.

    Its width goes with the inverse root of their number.
    """
    needed = MOST_NEEDED + 1 if gap * MOST_NEEDED**0.5 <= half else ceil(fewer * (half / gap) ** 2)
    return max(needed, fewer + 1) if needed <= MOST_NEEDED else None
