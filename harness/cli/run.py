"""`harness run` and `harness plan`."""

import argparse
import signal
from pathlib import Path
from typing import Any, NoReturn

from harness.cli.common import OK, SOME_FAILED, command, positive


def add_run(commands: Any) -> None:
    """Harness run."""
    run = command(commands, "run", call_run, "run what a matrix asks for and the results do not have yet")
    run.add_argument("matrix", type=Path, metavar="MATRIX", help="the matrix file")
    run.add_argument("--results", type=Path, metavar="DIR", help="the store (default: results/NAME of the matrix)")
    run.add_argument("--only", metavar="EXPR", help="only these points, as in: phase=infer batch_size_per_gpu=1,2")
    add_rehearse(run)
    run.add_argument("--fresh", action="store_true", help="run recorded points again; their old records are kept aside")
    run.add_argument("--retry", action="store_true", help="run points again that failed, crashed or timed out")
    larger = "also run points no smaller than one that ran out of memory, which are skipped otherwise"
    run.add_argument("--try-larger", action="store_true", help=larger)
    run.add_argument("--timeout", type=positive, metavar="S", help="seconds for each trial, whatever the matrix says")


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
    from harness.report.write import write_report
    from harness.results.store import Store
    from harness.runner.prepare import make_run, prepare
    from harness.schema.result import BAD_OUTCOMES, OUTCOME_KINDS

    signal.signal(signal.SIGTERM, interrupt)
    prepared = prepare(options.matrix, options.only, options.timeout, rehearse=options.rehearse)
    store = Store(options.results or Path("results") / prepared.name)
    run, tasks = make_run(prepared, store, try_larger=options.try_larger)
    redo = frozenset(OUTCOME_KINDS) if options.fresh else BAD_OUTCOMES if options.retry else frozenset()
    counts = run.carry_out(tasks, redo)
    written = write_report(store.load_all(), store.folder)
    print(", ".join(f"{count} {kind}" for kind, count in counts.most_common()))
    for path in written:
        print(path)
    return SOME_FAILED if BAD_OUTCOMES & counts.keys() else OK


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
    print(plan_json(prepared.plan, known) if options.json else "\n".join(plan_table(prepared.plan, known)))
    return OK
