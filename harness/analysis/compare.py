"""Stores side by side, point by point: what is faster, slower, better, worse, the same, not known, not comparable.

The unit of replication is the process: each trial gives one number, and verdicts are about numbers of processes
(Kalibera and Jones, Rigorous benchmarking in reasonable time, 2013).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import get_args

from harness.analysis.comparable import RULES, declared, declares, rule_of
from harness.analysis.comparable_facts import Facts, facts
from harness.analysis.compare_many import is_tested, settled
from harness.analysis.compare_pairs import Side, only_here, pair
from harness.analysis.compare_rows import Comparisons, PairRow, StoreComparison, Verdict
from harness.analysis.compare_speed import Terms
from harness.analysis.points import group, varying
from harness.errors import ReportError
from harness.schema.result import TrialResult
from harness.schema.trial import Phase
from harness.statistics.comparing import MAX_CHANCE

Named = tuple[str, Sequence[TrialResult]]
Key = tuple[tuple[str, str | None], ...]
SERIOUS: tuple[Verdict, ...] = ("worse", "not comparable", "inconclusive", "better", "same")
"""The first that any row has is that of the whole: more repeats settle what is inconclusive, nothing settles what is
not comparable, and neither hides what is worse."""


@dataclass(frozen=True)
class Known:
    """A store's results with their fields."""

    name: str
    results: tuple[tuple[TrialResult, Facts], ...]


def compare_stores(stores: Sequence[Named], terms: Terms | None = None) -> Comparisons:
    """Compare every store with the first.

    Raises:
        ReportError: fewer than two stores, or a declared field that no result has.
    """
    if len(stores) < 2:
        raise ReportError(f"{len(stores)} store to compare; right would be two or more, the first being the base")
    terms = terms or Terms()
    known = [Known(name, tuple((result, facts(result)) for result in results)) for name, results in stores]
    fields = {field for each in known for _, found in each.results for field in found}
    refuse_unknown(terms.across, fields)
    on_purpose = declared(terms.across, fields)
    rows = [compare_two(known[0], other, terms, on_purpose) for other in known[1:]]
    judged = iter(settled([row for of_one in rows for row in of_one], terms))
    found = tuple(
        summed_up(other.name, tuple(islice(judged, len(of_one)))) for other, of_one in zip(known[1:], rows, strict=True)
    )
    return Comparisons(
        base=known[0].name,
        tolerance=terms.tolerance,
        ap_tolerance=terms.ap_tolerance,
        confidence=terms.confidence,
        across=terms.across,
        tested=sum(is_tested(row) for each in found for row in each.pairs),
        false_alarms=MAX_CHANCE,
        verdict=most_serious(each.verdict for each in found),
        stores=found,
    )


def refuse_unknown(across: Iterable[str], fields: Iterable[str]) -> None:
    """A declaration that stands for nothing is a slip of the pen.

    Raises:
        ReportError: no result has such a field.
    """
    known = {*fields, *(rule.fields for rule in RULES)}
    for name in across:
        if not any(declares(name, field) for field in known):
            raise ReportError(
                f"--across {name}: no result has such a field; right would be as packages.torch or machine"
            )


def compare_two(base: Known, other: Known, terms: Terms, on_purpose: frozenset[str]) -> list[PairRow]:
    """Point by point, in the order of the base; points that it lacks come last."""
    ours, theirs = sides(base, on_purpose), sides(other, on_purpose)
    rows = [
        pair(side, theirs[key], terms, on_purpose)
        if key in theirs
        else only_here(side, theirs.values(), on_purpose, base=True)
        for key, side in ours.items()
    ]
    rows += [only_here(side, ours.values(), on_purpose, base=False) for key, side in theirs.items() if key not in ours]
    return rows


def summed_up(name: str, rows: tuple[PairRow, ...]) -> StoreComparison:
    """A store with its points and what they amount to."""
    return StoreComparison(
        other=name, verdict=verdict_of(rows), counts=dict(Counter(row.verdict for row in rows)), pairs=rows
    )


def verdict_of(rows: Sequence[PairRow]) -> Verdict:
    """That of a store: points that the base lacks count only where there is nothing else."""
    return most_serious([row.verdict for row in rows if row.verdict != "new"] or ["not comparable"])


def most_serious(verdicts: Iterable[Verdict]) -> Verdict:
    """The first of SERIOUS that is among them."""
    found = set(verdicts)
    return next(verdict for verdict in SERIOUS if verdict in found)


def sides(store: Known, on_purpose: frozenset[str]) -> dict[Key, Side]:
    """The points of a store by all that makes them the same but for what is declared."""
    fields = {id(result): found for result, found in store.results}
    results = [result for result, _ in store.results]
    untold = {"matrix", "machine"} | {name.removeprefix("trial.").removeprefix("options.") for name in on_purpose}
    found: dict[Key, Side] = {}
    for phase in get_args(Phase):
        groups = group(results, phase)
        names = varying(groups)
        for each in groups:
            given = tuple(fields[id(result)] for result in each.results)
            side = Side(store.name, each.results, given, names[each.trial.backend] - untold)
            key = key_of(given[0], on_purpose)
            found[key] = found[key].joined(side) if key in found else side
    return found


def key_of(found: Facts, on_purpose: frozenset[str]) -> Key:
    """What makes a result the point that it is."""
    mine = {name: value for name, value in found.items() if name not in on_purpose}
    return tuple(sorted((name, value) for name, value in mine.items() if rule_of(name).agreement == "point"))


def split(results: Sequence[TrialResult], field: str, base: str | None = None) -> tuple[str, list[Named]]:
    """One store as several, by the value of a setting of its trials: its field, and the stores, the base first.

    Raises:
        ReportError: no setting, or more than one, has this name; it has one value alone, or not the one of the base.
    """
    found = [(result, facts(result)) for result in results]
    settings = {name for _, each in found for name in each if rule_of(name).agreement == "point"}
    meant = sorted(name for name in settings if f".{name}".endswith(f".{field}"))
    if len(meant) != 1:
        known = ", ".join(meant or sorted(name.rpartition(".")[2] for name in settings))
        raise ReportError(
            f"--by {field}: {'no' if not meant else 'more than one'} setting of this name; there are {known}"
        )
    parts: dict[str, list[TrialResult]] = {}
    for result, each in found:
        if (value := each.get(meant[0])) is not None:
            parts.setdefault(value, []).append(result)
    values = list(parts)
    if len(values) < 2 or (base is not None and base not in parts):
        raise ReportError(
            f"--by {field}: values {', '.join(values) or 'none'}; right would be two or more, the base among them"
        )
    order = values if base is None else [base, *(value for value in values if value != base)]
    return meant[0], [(f"{field}={value}", parts[value]) for value in order]
