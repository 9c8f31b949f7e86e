"""A comparison for a terminal, as markdown, and as JSON."""

import json
from collections.abc import Iterable, Sequence
from textwrap import wrap

from harness.analysis.compare_rows import Comparisons, PairRow, StoreComparison
from harness.report.comparison_words import (
    Line,
    about,
    counts,
    number_lines,
    outcome_line,
    own_remarks,
    pair_remarks,
    processes,
    shared_remarks,
)
from harness.report.rendering import markdown_environment
from harness.report.table import Field, Table, make_table
from harness.report.text import plain

WIDTH = 110


def plain_comparison(found: Comparisons) -> str:
    """Text of a terminal's width: each store against the base, each point with its numbers, reasons and notes."""
    blocks = [line for store in found.stores for line in store_lines(found, store)]
    return "\n".join([*head_lines(found), *blocks]) + "\n"


def markdown_comparison(found: Comparisons) -> str:
    """The same as a document with one table for each store."""
    template = markdown_environment().get_template("compare.md.j2")
    parts = [
        {
            "other": store.other,
            "verdict": store.verdict,
            "counts": counts(store),
            "table": comparison_table(store),
            "remarks": [*shared_remarks(store), *own_remarks(store)],
        }
        for store in found.stores
    ]
    return template.render(base=found.base, terms=terms_text(found), stores=parts)


def comparison_json(found: Comparisons) -> str:
    """As `docs/schema/compare.json` describes it; unknown numbers are null."""
    return json.dumps(found.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def comparison_schema() -> str:
    """The JSON schema of the above, as committed in docs/schema/compare.json."""
    return json.dumps(Comparisons.model_json_schema(mode="serialization"), indent=2) + "\n"


def head_lines(found: Comparisons) -> list[str]:
    """What is compared with what, and what counts as a difference."""
    return [f"base   {plain(found.base)}", *hanging("terms  ", terms_text(found), " " * 7)]


def terms_text(found: Comparisons) -> str:
    """What counts as a difference."""
    text = (
        f"one number per process; {100 * found.confidence:g} % intervals; within ±{100 * found.tolerance:g} % of speed "
        f"and ±{found.ap_tolerance:g} of AP is the same"
    )
    if found.tested > 1:
        share = f"{100 * found.false_alarms:g} %"
        text += f"; over all {found.tested} points identical code is called worse in at most {share} of comparisons"
    return text + (f"; compared on purpose: {', '.join(map(plain, found.across))}" if found.across else "")


def store_lines(found: Comparisons, store: StoreComparison) -> Iterable[str]:
    """One store against the base."""
    yield f"other  {plain(store.other)}: {store.verdict} ({counts(store)})"
    told = shared_remarks(store)
    yield from (text for each in told for text in hanging("       ", each, " " * 9))
    for pair in store.pairs:
        yield ""
        yield from pair_lines(pair, told)
    if store is not found.stores[-1]:
        yield ""


def pair_lines(pair: PairRow, told: Sequence[str]) -> Iterable[str]:
    """One point: its verdict, its numbers, and the remarks that are not told already."""
    yield from hanging("", f"{about(pair.point)}: {pair.verdict}{processes(pair)}", "  ")
    given = number_lines(pair)
    rows = [(line.metric, line.base, line.other, line.change, line.effect, line.chance, line.verdict) for line in given]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for line, row in zip(given, rows, strict=True):
        yield "  " + "  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip()
        if line.reason:
            yield from hanging("    ", line.reason, "    ")
    for text in pair_remarks(pair):
        if text not in told:
            yield from hanging("  ", text, "    ")


def hanging(first: str, text: str, rest: str) -> list[str]:
    """A long text over several lines."""
    return wrap(text, WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)


def comparison_table(store: StoreComparison) -> Table:
    """One row for each number; a point without numbers has one row with its verdict."""
    lines = [line for pair in store.pairs for line in number_lines(pair) or [outcome_line(pair)]]
    fields: list[Field[Line]] = [
        Field("point", lambda line: line.about, numeric=False),
        Field("number", lambda line: line.metric, numeric=False),
        Field("processes", lambda line: line.processes),
        Field("base", lambda line: line.base),
        Field("other", lambda line: line.other),
        Field("change", lambda line: line.change),
        Field("effect", lambda line: line.effect, optional=True),
        Field("chance", lambda line: line.chance, optional=True),
        Field("verdict", lambda line: line.verdict, numeric=False),
        Field("reason", lambda line: line.reason, numeric=False, optional=True),
    ]
    return make_table("comparison", (plain(store.other), ""), lines, fields)
