"""`harness compare`."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli.common import OK, command, print_text

if TYPE_CHECKING:
    from harness.schema.result import TrialResult

WORSE, INCONCLUSIVE, NOT_COMPARABLE = 1, 2, 3
BAD_COMPARISON = 64
"""Bad input of this command alone, as 2 has a meaning of its own; the EX_USAGE of sysexits.h."""
EXITS = {"better": OK, "same": OK, "worse": WORSE, "inconclusive": INCONCLUSIVE, "not comparable": NOT_COMPARABLE}
EPILOG = "exit code: 0 same or better, 1 worse, 2 inconclusive, 3 not comparable, 64 bad input; any other is no verdict"


def add_compare(commands: Any) -> None:
    """Harness compare."""
    compare = command(commands, "compare", call_compare, "compare stores point by point: speed, accuracy, verdicts")
    compare.set_defaults(bad_input=BAD_COMPARISON)
    compare.epilog = EPILOG
    compare.add_argument("stores", type=Path, nargs="+", metavar="DIR", help="the base, then what is compared with it")
    compare.add_argument(
        "--by", metavar="SETTING", help="compare values of a setting inside one store, the first as base"
    )
    compare.add_argument("--base", metavar="VALUE", help="with --by: the value that the others are compared with")
    compare.add_argument("--across", metavar="FIELD[,FIELD]", default="", help="fields that differ on purpose")
    compare.add_argument("--only", metavar="EXPR", help="only these points, as in: phase=infer batch_size_per_gpu=1,2")
    text = "a relative change of speed up to here is none (default: %(default)s)"
    compare.add_argument("--tolerance", type=fraction, default=0.02, metavar="F", help=text)
    text = "a change of AP up to here is none (default: %(default)s)"
    compare.add_argument("--ap-tolerance", type=fraction, default=0.002, metavar="F", help=text)
    form = compare.add_mutually_exclusive_group()
    form.add_argument("--format", choices=("text", "md"), default="text", help="what to print (default: text)")
    form.add_argument("--json", action="store_true", help="as JSON (docs/schema/compare.json)")


def fraction(text: str) -> float:
    """A number of 0 and more, below 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a fraction from 0 to 1, as 0.02")
    return value


def call_compare(options: argparse.Namespace) -> int:
    """Print the comparison; its verdict is the exit code."""
    from harness.analysis.compare import compare_stores
    from harness.analysis.compare_speed import Terms
    from harness.report.comparison import comparison_json, markdown_comparison, plain_comparison

    stores, across = named_stores(options)
    terms = Terms(across, options.tolerance, options.ap_tolerance)
    found = compare_stores(stores, terms)
    spelled = comparison_json if options.json else markdown_comparison if options.format == "md" else plain_comparison
    print_text(spelled(found))
    return EXITS[found.verdict]


def named_stores(options: argparse.Namespace) -> tuple[list[tuple[str, Sequence["TrialResult"]]], tuple[str, ...]]:
    """The stores with their names, the base first, and what they differ in on purpose.

    Raises:
        ReportError: one store alone without --by, or several with it.
        MissingStoreError: a folder holds no results.
    """
    from harness.analysis.compare import split
    from harness.errors import ReportError
    from harness.results.store import open_for_reading

    across = tuple(filter(None, (name.strip() for name in options.across.split(","))))
    if wrong := why_no_sides(len(options.stores), options.by, options.base):
        raise ReportError(f"compare: {wrong}")
    stores: list[tuple[str, Sequence[TrialResult]]] = [
        (str(folder), selected(open_for_reading(folder).load_all(), options.only, folder)) for folder in options.stores
    ]
    if options.by is None:
        return stores, across
    field, parts = split(stores[0][1], options.by, options.base)
    return parts, (*across, field)


def why_no_sides(stores: int, by: str | None, base: str | None) -> str | None:
    """What is wrong with a command line that names no two sides, and what would be right; None where it names them."""
    if by is None and base is not None:
        return f"--base {base} names a value of --by SETTING, which is not given; the first store is the base of others"
    if by is None and stores == 1:
        return "1 store; right would be two or more, or one with --by SETTING"
    if by is not None and stores > 1:
        return f"{stores} stores with --by {by}; right would be one of them, as --by compares values inside a store"
    return None


def selected(results: Sequence["TrialResult"], only: str | None, folder: Path) -> Sequence["TrialResult"]:
    """The results whose trials meet an expression.

    Raises:
        MatrixError: it cannot be read, names an unknown field, or no trial meets it.
    """
    if only is None:
        return results
    from harness.errors import MatrixError
    from harness.matrix.match import Conditions, known_names
    from harness.matrix.near import suggest
    from harness.matrix.select import parse_only

    conditions = Conditions(parse_only(only))
    names = known_names(result.trial for result in results)
    for condition in conditions.all:
        if condition.name not in names:
            raise MatrixError(f"--only: unknown field {condition.name!r}; {suggest(condition.name, names)}")
    kept = [result for result in results if conditions.hold(result.trial)]
    if not kept:
        raise MatrixError(f"--only: none of {len(results)} trials in {folder} meets {only!r}")
    return kept
