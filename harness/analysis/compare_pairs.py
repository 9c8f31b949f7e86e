"""One point of two stores: whether it can be compared, its rows, and what a reader must know."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from harness.analysis.comparable import rule_of
from harness.analysis.comparable_facts import UNSET, Facts, differences, in_words
from harness.analysis.compare_convergence import convergence_note
from harness.analysis.compare_quality import quality_rows
from harness.analysis.compare_rows import Difference, PairRow, PairVerdict, QualityRow, SpeedRow
from harness.analysis.compare_speed import Terms, speed_rows
from harness.analysis.compare_time import order_notes
from harness.analysis.metrics import compiling, compiling_note, imported
from harness.analysis.observed import marks_note
from harness.analysis.points import KERNELS, Group, describe
from harness.analysis.rows import FELL_BACK, Point
from harness.analysis.simulated import has_numbers, why_simulated
from harness.schema.result import OutcomeKind, TrialResult

NEAREST = 4
"""A point of which more settings differ is another one, not nearly the same."""
Outcomes = dict[OutcomeKind, int]
AS_PAIR: dict[str, PairVerdict] = {"faster": "better", "slower": "worse"}


@dataclass(frozen=True)
class Side:
    """The processes of one point in one store, with their fields; `telling`: settings that vary in the store."""

    store: str
    results: tuple[TrialResult, ...]
    facts: tuple[Facts, ...]
    telling: frozenset[str]

    def joined(self, more: "Side") -> "Side":
        """Both together: they differ in what is declared, or in the machine."""
        return replace(
            self,
            results=self.results + more.results,
            facts=self.facts + more.facts,
            telling=self.telling | more.telling,
        )

    def like(self, other: "Side") -> bool:
        """Whether both are points of one backend and phase."""
        mine, its = self.results[0].trial, other.results[0].trial
        return (mine.backend, mine.phase) == (its.backend, its.phase)

    @property
    def ok(self) -> tuple[TrialResult, ...]:
        """The processes that have numbers."""
        return tuple(filter(has_numbers, self.results))

    @property
    def ok_facts(self) -> tuple[Facts, ...]:
        """Their fields; of all, where none has numbers."""
        found = tuple(each for result, each in zip(self.results, self.facts, strict=True) if has_numbers(result))
        return found or self.facts

    @property
    def point(self) -> Point:
        """Its description."""
        return describe(Group(self.results), self.telling)

    @property
    def outcomes(self) -> Outcomes:
        """How its processes ended."""
        return dict(Counter(result.outcome.kind for result in self.results))


def pair(base: Side, other: Side, terms: Terms, on_purpose: Collection[str]) -> PairRow:
    """Compare a point that both stores have."""
    found = differences(base.ok_facts, other.ok_facts, on_purpose)
    if not (base.ok and other.ok):
        # What did not run has said less about itself.
        found = tuple(each for each in found if each.standing != "unknown")
    refusal = why_never(base) or why_never(other)
    blocked = refusal is not None or any(each.standing == "blocks" for each in found)
    numbers = bool(base.ok and other.ok) and not blocked
    speed = speed_rows(base.ok, other.ok, terms) if numbers else ()
    quality = quality_rows(base.ok, other.ok, terms) if numbers else ()
    row = plain_row(base.point, (base.outcomes, other.outcomes), "inconclusive", None).model_copy(
        update={
            "speed": speed,
            "quality": quality,
            "differences": found,
            "notes": notes(base, other) if numbers else (),
        }
    )
    if numbers:
        return judged_again(row)
    verdict, reason = outcome_verdict(base.outcomes, other.outcomes)
    if blocked:
        verdict, reason = "not comparable", refusal or why_blocked(found)
    return row.model_copy(update={"verdict": verdict, "reason": reason})


def judged_again(row: PairRow) -> PairRow:
    """A point with the verdict that its numbers have."""
    verdict, reason = pair_verdict(row.speed, row.quality)
    if verdict != "worse" and (uneven := why_uneven(row.base_outcomes, row.other_outcomes)):
        verdict, reason = "inconclusive", uneven
    return row.model_copy(update={"verdict": verdict, "reason": reason})


def plain_row(shown: Point, outcomes: tuple[Outcomes, Outcomes], verdict: PairVerdict, reason: str | None) -> PairRow:
    """A row without numbers."""
    return PairRow(
        point=shown,
        base_outcomes=outcomes[0],
        other_outcomes=outcomes[1],
        verdict=verdict,
        reason=reason,
        worse_chance=None,
        better_chance=None,
        speed=(),
        quality=(),
        differences=(),
        notes=(),
    )


def only_here(side: Side, others: Iterable[Side], on_purpose: Collection[str], *, base: bool) -> PairRow:
    """A point that one store lacks: in what the nearest of its points differs, of the same backend and phase."""
    if not base:
        return plain_row(side.point, ({}, side.outcomes), "new", "the base has no such point")
    near = min((settings_apart(side, each, on_purpose) for each in others if each.like(side)), key=len, default=())
    told = near if 0 < len(near) <= NEAREST else ()
    text = "the other has no such point"
    if told:
        text += f"; its nearest differs in {in_words(told)}"
    return plain_row(side.point, (side.outcomes, {}), "not comparable", text).model_copy(update={"differences": told})


def settings_apart(base: Side, other: Side, on_purpose: Collection[str]) -> tuple[Difference, ...]:
    """The settings in which two points differ, but for those that differ on purpose."""
    ours, theirs = base.facts[0], other.facts[0]
    names = [name for name in {**ours, **theirs} if rule_of(name).agreement == "point" and name not in on_purpose]
    return tuple(
        Difference(field=name, base=ours.get(name), other=theirs.get(name), standing="blocks")
        for name in names
        if (ours.get(name) or UNSET) != (theirs.get(name) or UNSET)
    )


def why_never(side: Side) -> str | None:
    """Why numbers of a side are compared with nothing."""
    if side.results[0].trial.rehearsal:
        return f"rehearsed in {side.store}: small stand-ins ran, whose numbers measure nothing"
    simulated = next((why for result in side.results if (why := why_simulated(result))), None)
    return f"{simulated} in {side.store}: its numbers measure nothing" if simulated else None


def why_blocked(found: Sequence[Difference]) -> str:
    """The fields that should agree."""
    blocking = [each for each in found if each.standing == "blocks"]
    return f"differs in {in_words(blocking)}; declare by --across what is to be compared"


def pair_verdict(speed: Sequence[SpeedRow], quality: Sequence[QualityRow]) -> tuple[PairVerdict, str | None]:
    """The most serious verdict of all rows; of rows that do not decide, only one that is worse counts."""
    rows: list[SpeedRow | QualityRow] = [*speed, *quality]
    found = {AS_PAIR.get(each.verdict, each.verdict) for each in rows if each.decides}
    found |= {"worse" for each in rows if each.verdict in {"slower", "worse"}}
    order: tuple[PairVerdict, ...] = ("worse", "inconclusive", "better", "same")
    known = next((verdict for verdict in order if verdict in found), None)
    return (known, None) if known else ("inconclusive", "nothing that both sides measured")


def outcome_verdict(base: Outcomes, other: Outcomes) -> tuple[PairVerdict, str | None]:
    """A verdict where a side has no numbers: a point that stops working is worse, one that begins to work better."""
    kinds = [", ".join(sorted(side)) for side in (base, other)]
    reason = f"outcome {kinds[0]} against {kinds[1]}"
    if "skipped" in (kinds[0], kinds[1]) and kinds[0] != kinds[1]:
        return "not comparable", reason
    if "ok" in base:
        return "worse", reason
    if "ok" in other:
        return "better", reason
    return ("same" if kinds[0] == kinds[1] else "not comparable"), f"{reason}: no numbers on either side"


def why_uneven(base: Outcomes, other: Outcomes) -> str | None:
    """What keeps a point from being as good as it was: processes of the other that went wrong, where few did before."""
    counts = [sum(side.values()) for side in (base, other)]
    failed = [count - side.get("ok", 0) for count, side in zip(counts, (base, other), strict=True)]
    if failed[1] * counts[0] <= failed[0] * counts[1]:
        return None
    return (
        f"{failed[1]} of {counts[1]} processes of the other have no numbers, "
        f"against {failed[0]} of {counts[0]} of the base"
    )


def notes(base: Side, other: Side) -> tuple[str, ...]:
    """What a reader of the numbers must know."""
    told = (f"{which}: {note}" for which, side in (("base", base), ("other", other)) for note in side_notes(side))
    converging = convergence_note(base.ok, other.ok)
    return (*order_notes(base.ok, other.ok), *([converging] if converging else []), *told)


def side_notes(side: Side) -> Iterable[str]:
    """What a reader of one side's numbers must know."""
    lost = len(side.results) - len(side.ok)
    if lost:
        yield f"{lost} of {len(side.results)} processes have no numbers"
    yield from imported(side.ok)
    if note := compiling_note(compiling(side.ok)):
        yield note
    if note := marks_note(side.ok):
        yield note
    fallbacks = {words for result in side.ok if FELL_BACK in (words := result.settings.get(KERNELS, ""))}
    yield from (f"kernels: {words}" for words in sorted(fallbacks))
