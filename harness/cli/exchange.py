"""`harness export` and `harness import`."""

import argparse
import sys
from pathlib import Path
from typing import Any

from harness.cli.common import OK, command

DEFAULT_BACKEND = "dllogger"


def add_export(commands: Any) -> None:
    """Harness export."""
    export = command(commands, "export", call_export, "write results as logs of other tools, a file for each trial")
    export.add_argument("results", type=Path, metavar="DIR", help="the store")
    export.add_argument("--format", choices=("mllog", "dllogger"), required=True, help="whose lines")
    export.add_argument("--output", type=Path, required=True, metavar="DIR", help="the folder to write; must not exist")
    export.add_argument("--org", metavar="NAME", help="mllog: who submits")
    export.add_argument("--platform", metavar="NAME", help="mllog: the machine's name")
    export.add_argument("--division", choices=("open", "closed"), default="open", help="mllog (default: %(default)s)")
    statuses = ("onprem", "cloud", "preview", "research")
    export.add_argument("--status", choices=statuses, default="research", help="mllog (default: %(default)s)")
    text = "mllog: images of the training set; with it steps are also epochs"
    export.add_argument("--train-samples", type=above_zero, metavar="N", help=text)


def add_import(commands: Any) -> None:
    """Harness import."""
    imports = command(commands, "import", call_import, "read logs of DLLogger as a store, a repeat for each file")
    imports.add_argument("logs", type=Path, nargs="+", metavar="FILE", help="a log of DLLogger's JSON lines")
    imports.add_argument("--results", type=Path, required=True, metavar="DIR", help="the store to write")
    text = "what the rows are called (default: %(default)s)"
    imports.add_argument("--backend", default=DEFAULT_BACKEND, metavar="NAME", help=text)
    imports.add_argument("--phase", choices=("train", "eval", "infer"), default="train", help="(default: %(default)s)")
    imports.add_argument("--precision", choices=("fp32", "tf32", "amp"), help="(default: as the log's switches say)")
    imports.add_argument("--gpus", type=above_zero, metavar="N", help="(default: the log's world_size)")
    imports.add_argument("--batch-size-per-gpu", type=above_zero, metavar="N", help="(default: the log's batch_size)")
    text = "steps before the window (default: the log's warmup_steps, else none)"
    imports.add_argument("--warmup-steps", type=from_zero, metavar="N", help=text)
    imports.add_argument("--machine", default="unknown", metavar="NAME", help="where the runs were")


def above_zero(text: str) -> int:
    """A whole number above zero."""
    return whole(text, 1)


def from_zero(text: str) -> int:
    """A whole number, zero included."""
    return whole(text, 0)


def whole(text: str, least: int) -> int:
    """A whole number that is not too small."""
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} on")
    return number


def call_export(options: argparse.Namespace) -> int:
    """Write the logs; trials that a format cannot hold are named on standard error."""
    from harness.exchange.files import export
    from harness.exchange.mllog import Submission
    from harness.results.store import open_for_reading

    results = open_for_reading(options.results).load_all()
    submission = Submission(
        options.org, options.platform, options.division, options.status, train_samples=options.train_samples
    )
    written, left_out = export(results, options.format, options.output, submission)
    for reason in left_out:
        print(f"harness: left out: {reason}", file=sys.stderr)
    print(f"{options.output}: {written} logs")
    return OK


def call_import(options: argparse.Namespace) -> int:
    """Commit one record for each log."""
    from harness.exchange.dllogger_import import Told
    from harness.exchange.files import import_logs

    told = Told(
        backend=options.backend,
        matrix=options.results.name,
        phase=options.phase,
        precision=options.precision,
        gpus=options.gpus,
        batch_size_per_gpu=options.batch_size_per_gpu,
        warmup_steps=options.warmup_steps,
        machine=options.machine,
    )
    for line in import_logs(options.logs, told, options.results):
        print(line)
    return OK
