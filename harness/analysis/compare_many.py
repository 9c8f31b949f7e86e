"""Many points at once: a gate over a hundred of them must not cry wolf where one over a single point does not.

Each point is judged alone first. Of several, what looks worse is then held to one share of false alarms over all of
them, and what looks better to another: where no point is worse, none is called so in more than MAX_CHANCE of
comparisons, whatever else is better. A point that does not pass is inconclusive, and says why.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.analysis.compare_pairs import judged_again
from harness.analysis.compare_quality import widening
from harness.analysis.compare_rows import PairRow, QualityRow, SpeedRow
from harness.analysis.compare_speed import MOST_NEEDED, Terms, as_far, at_least, in_percent, processes_needed
from harness.statistics.comparing import MAX_CHANCE, processes_for
from harness.statistics.families import bar, passing, together

Way = Literal["worse", "better"]
Numbers = SpeedRow | QualityRow
WAYS: dict[Way, frozenset[str]] = {"worse": frozenset({"slower", "worse"}), "better": frozenset({"faster", "better"})}


@dataclass(frozen=True)
class Family:
    """All points that are compared at once, of one direction; `chance`: what one more of them must not exceed."""

    way: Way
    points: int
    chance: float
    confidence: float


def settled(rows: Sequence[PairRow], terms: Terms) -> tuple[PairRow, ...]:
    """The points with their chances; what does not pass among so many is inconclusive."""
    points = sum(map(is_tested, rows))
    found = tuple(with_chances(row) for row in rows)
    if points < 2:
        return found
    found = tuple(with_needed(row, points, terms.tolerance) for row in found)
    for way in WAYS:
        claims = [chance for row in found if (chance := claim_of(row, way)) is not None]
        believed = passing(claims, points, MAX_CHANCE)
        passed = bar(believed, points, MAX_CHANCE)
        family = Family(way, points, bar(believed + 1, points, MAX_CHANCE), terms.confidence)
        found = tuple(
            doubted(row, family) if (chance := claim_of(row, way)) is not None and chance > passed else row
            for row in found
        )
    return found


def tested_rows(row: PairRow) -> list[Numbers]:
    """The numbers of a point that chance can have a part in."""
    numbers: list[Numbers] = [*row.speed, *row.quality]
    return [each for each in numbers if each.chance is not None]


def is_tested(row: PairRow) -> bool:
    """Whether chance can have a part in a point's verdict."""
    return bool(tested_rows(row))


def with_chances(row: PairRow) -> PairRow:
    """A point with the chance of what it claims, in each direction."""
    return row.model_copy(update={f"{way}_chance": chance_of(row, way) for way in WAYS})


def chance_of(row: PairRow, way: Way) -> float | None:
    """How often chance alone makes a point look like this; None where chance has no part in it."""
    tested = tested_rows(row)
    # Half: of two directions one.
    claims = [each.chance / 2 for each in tested if each.chance is not None and each.verdict in WAYS[way]]
    return together(claims, len(tested)) if tested else None


def is_claim(row: Numbers, way: Way) -> bool:
    """Whether a number looks like this, and chance could have made it."""
    return row.chance is not None and row.verdict in WAYS[way]


def claim_of(row: PairRow, way: Way) -> float | None:
    """The chance of a point that claims something that chance could have made."""
    return chance_of(row, way) if any(is_claim(each, way) for each in tested_rows(row)) else None


def doubted(row: PairRow, family: Family) -> PairRow:
    """A point of which nothing is known in this direction, since it is one of many."""
    tested = tested_rows(row)
    claims = [each.chance or 0.0 for each in tested if is_claim(each, family.way)]

    def rare(chance: float) -> float:
        """What a number, either way, would have to be: those that are no rarer bear it out."""
        return 2 * family.chance * sum(other <= chance for other in claims) / len(tested)

    speed = (doubt_speed(each, family, rare(each.chance or 0.0)) for each in row.speed)
    quality = (doubt_quality(each, family, rare(each.chance or 0.0)) for each in row.quality)
    return judged_again(row.model_copy(update={"speed": tuple(speed), "quality": tuple(quality)}))


def doubt_speed(row: SpeedRow, family: Family, rare: float) -> SpeedRow:
    """A number that would have a verdict if its point were alone; any other as it is."""
    if not is_claim(row, family.way):
        return row
    # Where all of one side missed a target there is no effect, but no order is further apart.
    needed = processes_for(1.0 if row.effect is None else row.effect, rare, MOST_NEEDED)
    reason = why_doubted(row, family, rare)
    return row.model_copy(update={"verdict": "inconclusive", "reason": reason, "needed": needed})


def doubt_quality(row: QualityRow, family: Family, rare: float) -> QualityRow:
    """The same of AP."""
    if not is_claim(row, family.way):
        return row
    half = 0.0 if row.low is None or row.high is None else (row.high - row.low) / 2
    fewer = min(len(row.base.values), len(row.other.values))
    needed = processes_needed(fewer, half * widening(rare, family.confidence), abs(row.difference))
    reason = why_doubted(row, family, rare)
    return row.model_copy(update={"verdict": "inconclusive", "reason": reason, "needed": needed})


def why_doubted(row: Numbers, family: Family, rare: float) -> str:
    """What it would be alone, and what it must be among many."""
    told = f"{row.reason}; " if row.reason else ""
    alone = f"{told}{row.verdict} if it were alone: {as_far(row.chance or 0.0)}"
    return f"{alone}, and with {family.points} points at most {in_percent(rare)} counts"


def with_needed(row: PairRow, points: int, tolerance: float) -> PairRow:
    """A point whose open numbers ask for as many processes as a verdict takes among so many points."""
    rare = min(MAX_CHANCE, 2 * bar(1, points, MAX_CHANCE))
    return row.model_copy(update={"speed": tuple(number_with_needed(each, rare, tolerance) for each in row.speed)})


def number_with_needed(row: SpeedRow, rare: float, tolerance: float) -> SpeedRow:
    """A number whose ratio lies beyond the tolerance takes ranks as rare as this; one within asks for its interval."""
    if row.needed is None or row.effect is None or row.chance is None or row.ratio is None:
        return row
    if abs(row.ratio - 1) <= tolerance:
        return row
    return row.model_copy(update={"needed": at_least(row.needed, processes_for(row.effect, rare, MOST_NEEDED))})
