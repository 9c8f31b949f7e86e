"""The numbers and fields of a comparison in words."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.analysis.comparable_facts import in_words
from harness.analysis.compare_rows import Difference, PairRow, QualityRow, SpeedRow, StoreComparison
from harness.analysis.rows import Point
from harness.report import format as spell
from harness.report.text import plain

STANDINGS = {
    "declared": "compared on purpose",
    "noted": "also differs",
    "unknown": "known on one side alone",
}


LEAST_CHANCE = 1e-5
"""Below, its figures say nothing more."""


@dataclass(frozen=True)
class Line:
    """One number of one point, in words."""

    about: str
    metric: str
    processes: str
    base: str
    other: str
    change: str
    effect: str
    chance: str
    verdict: str
    reason: str


def about(point: Point) -> str:
    """A point in words."""
    images = f"{point.batch_size_per_gpu} image{'' if point.batch_size_per_gpu == 1 else 's'}"
    ranks = f"{point.ranks} {point.device} rank{'' if point.ranks == 1 else 's'}"
    size = f"{ranks} × {images}, {point.precision}{', XLA' if point.xla else ''}"
    return plain(", ".join(filter(None, [f"{point.backend} {point.phase}", size, spell.variant(point)])))


def line_of(pair: PairRow, row: SpeedRow | QualityRow) -> Line:
    """One number in words; the sign of a change says higher or lower, the verdict whether that is good."""
    if isinstance(row, SpeedRow):
        metric, base, other = f"{row.metric}, {row.unit}", spell.spread(row.base), spell.spread(row.other)
        change, effect = relative(row), spell.NONE if row.effect is None else f"{row.effect:+.2f}"
    else:
        metric, effect = f"{row.kind} AP", spell.NONE
        base, other = fractions(row.base.values), fractions(row.other.values)
        change = signed(row.difference, row.low, row.high, "+.4f")
    sides = [len(side.values) if side else 0 for side in (row.base, row.other)]
    needed = f"; about {row.needed} processes a side would tell" if row.needed else ""
    return Line(
        about=about(pair.point),
        metric=metric,
        processes=f"{sides[0]} | {sides[1]}",
        base=base,
        other=other,
        change=change,
        effect=effect,
        chance=spell.NONE if row.chance is None else chance_text(row.chance),
        verdict=row.verdict,
        reason=plain(f"{row.reason}{needed}") if row.reason else "",
    )


def chance_text(chance: float) -> str:
    """How often chance alone comes as far, as a p value."""
    return f"p={chance:.2g}" if chance >= LEAST_CHANCE else f"p<{LEAST_CHANCE:.5f}"


def relative(row: SpeedRow) -> str:
    """A ratio as a change in per cent, with its interval."""
    if row.ratio is None:
        return spell.NONE
    bounds = [None if bound is None else 100 * (bound - 1) for bound in (row.low, row.high)]
    return signed(100 * (row.ratio - 1), bounds[0], bounds[1], "+.1f", " %")


def signed(value: float, low: float | None, high: float | None, form: str, unit: str = "") -> str:
    """A change with its sign, and its interval where there is one."""
    interval = "" if low is None or high is None else f" ({low:{form}} to {high:{form}})"
    return f"{value:{form}}{unit}{interval}"


def fractions(values: Sequence[float]) -> str:
    """AP of a few processes one by one, of many their mean and range."""
    if len(set(values)) == 1:
        return spell.fraction(values[0])
    if len(values) <= 3:
        return " ".join(map(spell.fraction, values))
    return f"{spell.fraction(sum(values) / len(values))} ({spell.fraction(min(values))}–{spell.fraction(max(values))})"


def counts(store: StoreComparison) -> str:
    """How many points have which verdict."""
    points = "1 point" if len(store.pairs) == 1 else f"{len(store.pairs)} points"
    return f"{points}: " + ", ".join(f"{number} {verdict}" for verdict, number in store.counts.items())


def processes(pair: PairRow) -> str:
    """How many processes each side has, where both have the point."""
    sides = [sum(outcomes.values()) for outcomes in (pair.base_outcomes, pair.other_outcomes)]
    return f" ({sides[0]} against {sides[1]} processes)" if all(sides) else ""


def shared_remarks(store: StoreComparison) -> list[str]:
    """What holds for every point that both stores have: it is told once."""
    both = [pair_remarks(pair) for pair in store.pairs if pair.base_outcomes and pair.other_outcomes]
    return [text for text in both[0] if all(text in said for said in both)] if len(both) > 1 else []


def own_remarks(store: StoreComparison) -> list[str]:
    """Everything that is no number and not the same for all points, with the point it is about."""
    told = shared_remarks(store)
    return [f"{about(pair.point)}: {text}" for pair in store.pairs for text in pair_remarks(pair) if text not in told]


def pair_remarks(pair: PairRow) -> list[str]:
    """Everything about a point that is no number."""
    said = [*([pair.reason] if pair.reason else []), *difference_texts(pair.differences), *pair.notes]
    return list(map(plain, said))


def difference_texts(found: Sequence[Difference]) -> Iterable[str]:
    """Fields by what their difference means; those that block are the reason of the verdict, and told there."""
    for standing, words in STANDINGS.items():
        given = [each for each in found if each.standing == standing]
        if given:
            yield f"{words}: " + (", ".join(each.field for each in given) if standing == "unknown" else in_words(given))


def number_lines(pair: PairRow) -> list[Line]:
    """The numbers of one point; empty where it has none."""
    return [*(line_of(pair, each) for each in pair.speed), *(line_of(pair, each) for each in pair.quality)]


def outcome_line(pair: PairRow) -> Line:
    """What stands for a point without numbers."""
    sides = [spell.counts(outcomes) or spell.NONE for outcomes in (pair.base_outcomes, pair.other_outcomes)]
    dash = spell.NONE
    return Line(about(pair.point), "outcome", dash, sides[0], sides[1], dash, dash, dash, pair.verdict, "")
