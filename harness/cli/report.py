"""`harness report` and `harness show`."""

import argparse
import sys
from pathlib import Path
from typing import Any

from harness.cli.common import OK, SOME_FAILED, command, write_text


def add_report(commands: Any) -> None:
    """Harness report."""
    report = command(commands, "report", call_report, "make tables and charts from results")
    report.add_argument("results", type=Path, metavar="DIR", help="the store")
    report.add_argument("--format", choices=("md", "html", "csv", "json"), help="print one format (default: md)")
    report.add_argument("--output", type=Path, metavar="F", help="write that format to a file instead")
    report.add_argument("--update", type=Path, metavar="README", help="rewrite the marked blocks of this file")
    report.add_argument(
        "--check", type=Path, metavar="README", help="exit 1 if marked blocks of this file have drifted"
    )


def add_show(commands: Any) -> None:
    """Harness show."""
    show = command(commands, "show", call_show, "show one trial in full, or list a store's trials")
    show.add_argument("results", type=Path, metavar="DIR", help="the store")
    show.add_argument("trial", nargs="?", metavar="TRIAL", help="a trial's name, or the beginning or end of one")


def call_report(options: argparse.Namespace) -> int:
    """Make one report, or compare or rewrite the blocks of a README."""
    from harness.report.build import build
    from harness.report.readme import check_file, update_file
    from harness.results.store import open_for_reading

    results = open_for_reading(options.results).load_all()
    if options.check is not None:
        drifted = check_file(options.check, results)
        for name in drifted:
            print(f"harness: {options.check}: block {name!r} has drifted; update it by --update", file=sys.stderr)
        return SOME_FAILED if drifted else OK
    if options.update is not None:
        update_file(options.update, results)
        return OK
    text = build(results, options.format or "md")
    if options.output is None:
        print(text, end="")
    else:
        write_text(options.output, text)
    return OK


def call_show(options: argparse.Namespace) -> int:
    """Print one trial, or all in a line each."""
    from harness.report.show import show_store, show_trial
    from harness.results.store import find, open_for_reading

    store = open_for_reading(options.results)
    if options.trial is None:
        print(show_store(store.load_all()))
    else:
        print(show_trial(store.load(find(store, options.trial))))
    return OK
