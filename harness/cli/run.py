"""`harness run` and `harness plan`."""

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from harness.cli.common import OK, SOME_FAILED, command, positive

if TYPE_CHECKING:
    from harness.results.store import Store
    from harness.schema.result import OutcomeKind

BAD = "failed,crashed,timeout"
"""The outcomes that make exit code 1, spelled here since --help loads no records (BAD_OUTCOMES)."""


def add_run(commands: Any) -> None:
    """Harness run."""
    run = command(commands, "run", call_run, "run what a matrix asks for and the results do not have yet")
    run.add_argument("matrix", type=Path, metavar="MATRIX", help="the matrix file")
    run.add_argument("--results", type=Path, metavar="DIR", help="the store (default: results/NAME of the matrix)")
    run.add_argument("--only", metavar="EXPR", help="only these points, as in: phase=infer batch_size_per_gpu=1,2")
    add_rehearse(run)
    redo = run.add_mutually_exclusive_group()
    fresh = "run recorded points again; their old records are kept aside"
    redo.add_argument("--fresh", action="store_true", help=fresh)
    retry = f"run points with these outcomes again, a list set apart by commas (default: {BAD})"
    redo.add_argument("--retry", nargs="?", type=outcomes, const=BAD, metavar="OUTCOMES", help=retry)
    larger = "also run points no smaller than one that ran out of memory, which are skipped otherwise"
    run.add_argument("--try-larger", action="store_true", help=larger)
    run.add_argument("--timeout", type=positive, metavar="S", help="seconds for each trial, whatever the matrix says")


def outcomes(text: str) -> "frozenset[OutcomeKind]":
    """The outcomes that --retry names."""
    from harness.schema.result import OUTCOME_KINDS

    known: dict[str, OutcomeKind] = {kind: kind for kind in OUTCOME_KINDS if kind != "ok"}
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            right = ", ".join(known)
            raise argparse.ArgumentTypeError(f"{name!r} is no outcome; right would be some of {right}, after MATRIX")
    return frozenset(known[name] for name in names)


def add_rehearse(parser: argparse.ArgumentParser) -> None:
    """The option of run and plan."""
    text = "small stand-ins on the CPU for every point: shows that all of it works here, and measures nothing"
    parser.add_argument("--rehearse", action="store_true", help=text)


def add_plan(commands: Any) -> None:
    """Harness plan."""
    plan = command(commands, "plan", call_plan, "show every point of a matrix: what will run, what will not, and why")
    plan.add_argument("matrix", type=Path, metavar="MATRIX", help="the matrix file")
    plan.add_argument("--results", type=Path, metavar="DIR", help="the store that durations are estimated from")
    plan.add_argument("--only", metavar="EXPR", help="only these points")
    add_rehearse(plan)
    plan.add_argument("--json", action="store_true", help="as JSON (docs/schema/plan.json)")


def call_run(options: argparse.Namespace) -> int:
    """Run a matrix and write its report."""
    from harness.results.store import Store
    from harness.runner.prepare import make_run, prepare
    from harness.runner.progress import tell
    from harness.schema.result import BAD_OUTCOMES, OUTCOME_KINDS

    end_as_by_ctrl_c()
    prepared = prepare(options.matrix, options.only, options.timeout, rehearse=options.rehearse)
    store = Store(options.results or Path("results") / prepared.name)
    run, tasks = make_run(prepared, store, try_larger=options.try_larger)
    redo = frozenset(OUTCOME_KINDS) if options.fresh else options.retry or frozenset()
    try:
        counts = run.carry_out(tasks, redo)
    except KeyboardInterrupt as error:
        flag = "--fresh" if options.fresh else "--retry"
        raise KeyboardInterrupt(
            f"without {flag} the same command goes on from here" if run.begun_anew else ""
        ) from error
    tell(", ".join(f"{count} {kind}" for kind, count in counts.most_common()), sys.stdout)
    for path in reported(store):
        tell(str(path), sys.stdout)
    if not BAD_OUTCOMES & counts.keys():
        return OK
    where = f"`harness show {store.folder} TRIAL` tells how one of them ended"
    tell(f"{where}; --retry runs those again that failed, crashed or timed out", sys.stderr)
    return SOME_FAILED


def reported(store: "Store") -> tuple[Path, ...]:
    """Write the report of a store whose trials are all recorded.

    Raises:
        StoreError: it cannot be written.
    """
    from harness.errors import ReportError, StoreError
    from harness.report.write import write_report

    try:
        return write_report(store.load_all(), store.folder)
    except ReportError as error:
        raise StoreError(
            f"{error}; all trials are recorded, and `harness report {store.folder}` makes its tables"
        ) from error


def end_as_by_ctrl_c() -> None:
    """Let SIGTERM, and a terminal that is gone, end a run as Ctrl-C does; under nohup the latter stays ignored."""
    signal.signal(signal.SIGTERM, interrupt)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        signal.signal(signal.SIGHUP, interrupt)


def interrupt(number: int, frame: object) -> NoReturn:  # noqa: ARG001 - a signal handler's signature
    """End as Ctrl-C does."""
    raise KeyboardInterrupt


def call_plan(options: argparse.Namespace) -> int:
    """Print every point."""
    from harness.matrix.listing import plan_json, plan_table
    from harness.matrix.weights import check_weights
    from harness.results.store import Store
    from harness.runner.prepare import known_estimates, prepare

    prepared = prepare(options.matrix, options.only, rehearse=options.rehearse)
    store = Store(options.results or Path("results") / prepared.name)
    check_weights(prepared.plan, store.weights_names())
    estimates = known_estimates(store)
    seconds = {point.trial.trial_id: estimates.of(point.trial) for point in prepared.plan.points if point.runs}
    known = {trial_id: value for trial_id, value in seconds.items() if value is not None}
    if options.json:
        print(plan_json(prepared.plan, known))
        return OK
    print("\n".join(plan_table(prepared.plan, known)))
    recorded = store.done() & {point.trial.trial_id for point in prepared.plan.points}
    if recorded:
        print(f"recorded in {store.folder}: {len(recorded)} of these points, which `harness run` does not run again")
    return OK
