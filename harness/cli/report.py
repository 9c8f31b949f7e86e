"""`harness report` and `harness show`."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli.common import OK, SOME_FAILED, command, print_text, write_text

if TYPE_CHECKING:
    from harness.results.store import Store


def add_report(commands: Any) -> None:
    """Harness report."""
    report = command(commands, "report", call_report, "make tables and charts from results")
    report.add_argument("results", type=Path, metavar="DIR", help="the store")
    report.add_argument("--format", choices=("md", "html", "csv", "json"), help="print one format (default: md)")
    place = report.add_mutually_exclusive_group()
    place.add_argument("--output", type=Path, metavar="F", help="write that format to a file instead")
    place.add_argument("--update", type=Path, metavar="README", help="rewrite the marked blocks of this file")
    place.add_argument("--check", type=Path, metavar="README", help="exit 1 if marked blocks of this file have drifted")
    report.add_argument("--legacy", action="store_true", help="add the statistics of older published tables")


def add_show(commands: Any) -> None:
    """Harness show."""
    show = command(commands, "show", call_show, "show one trial in full, or list a store's trials")
    show.add_argument("results", type=Path, metavar="DIR", help="the store")
    show.add_argument("trial", nargs="?", metavar="TRIAL", help="a trial's name, or the beginning or end of one")
    show.add_argument("--replay", action="store_true", help="print the command that runs this trial again")


def call_report(options: argparse.Namespace) -> int:
    """Make one report, or compare or rewrite the blocks of a README."""
    from harness.report.build import build
    from harness.report.readme import check_file, update_file
    from harness.results.store import open_for_reading

    results = open_for_reading(options.results).load_all()
    if options.check is not None:
        drifted = check_file(options.check, results, legacy=options.legacy)
        for name in drifted:
            print(f"harness: {options.check}: block {name!r} has drifted; update it by --update", file=sys.stderr)
        return SOME_FAILED if drifted else OK
    if options.update is not None:
        update_file(options.update, results, legacy=options.legacy)
        return OK
    text = build(results, options.format or "md", legacy=options.legacy)
    if options.output is None:
        print_text(text)
    else:
        write_text(options.output, text)
    return OK


def call_show(options: argparse.Namespace) -> int:
    """Print one trial, or all in a line each; records that cannot be read are named, and the others shown."""
    from harness.matrix.source import printable
    from harness.report.show import show_store, show_trial
    from harness.results.store import find, open_for_reading

    store = open_for_reading(options.results)
    if options.replay:
        print(replay_of(store, options.trial))
        return OK
    if options.trial is None:
        results, broken = store.load_sound()
        if results:
            print_text(f"{show_store(results)}\n")
    else:
        result = store.load(find(store, options.trial))
        repeats, broken = store.load_sound(f"{result.trial_id.rpartition('-r')[0]}-r")
        print_text(f"{show_trial(result, repeats)}\n")
    for error in broken:
        print(f"harness: {printable(str(error))}", file=sys.stderr)
    return SOME_FAILED if broken and options.trial is None else OK


def replay_of(store: "Store", name: str | None) -> str:
    """The command that runs a trial again, for this machine and this installation.

    Raises:
        ReportError: no trial is named, or its record does not lead to its matrix.
    """
    from harness.errors import ReportError
    from harness.report.replay import Here, kept_matrix, replay
    from harness.results.store import find
    from harness.runner.here import here_for

    if name is None:
        raise ReportError("--replay needs the TRIAL that is to run again")
    result = store.load(find(store, name))
    here = Here(*here_for(result, kept_matrix(result, store)))
    return replay(result, store, here, program(), unused(Path("results") / f"replay-{result.trial_id}"))


def program() -> tuple[str, ...]:
    """The words that start this very installation: `harness` where a shell finds it, else by way of its Python."""
    import shutil

    found = shutil.which("harness")
    same = found is not None and Path(found).absolute().parent == Path(sys.executable).absolute().parent
    return ("harness",) if same else (sys.executable, "-m", "harness.cli")


def unused(folder: Path) -> Path:
    """This folder, or one beside it that is not there yet: in a store that has the trial, nothing would run."""
    from itertools import count

    tries = (folder if number == 1 else folder.with_name(f"{folder.name}.{number}") for number in count(1))
    return next(each for each in tries if not each.exists()).absolute()
