"""`harness weights convert` and `inspect`."""

import argparse
import sys
from pathlib import Path
from typing import Any

from harness.cli.common import OK, SOME_FAILED, command


def add_weights(commands: Any) -> None:
    """Harness weights convert and inspect."""
    weights = commands.add_parser("weights", help="convert weights between frameworks, and say what a file holds")
    actions = weights.add_subparsers(required=True, metavar="ACTION")
    convert = command(actions, "convert", call_weights_convert, "write weights in a framework's layout")
    convert.add_argument("source", type=Path, metavar="SRC", help="safetensors, or a state dict of torch.save")
    convert.add_argument("target", type=Path, metavar="DST", help="the safetensors file to write")
    convert.add_argument("--to", choices=("torch", "tf"), required=True, help="whose order of dimensions")
    convert.add_argument("--part", choices=("model", "trunk"), help="what to write (default: what the file holds)")
    convert.add_argument("--partial", action="store_true", help="write what fits even if something is missing")
    inspect = command(actions, "inspect", call_weights_inspect, "say what a file of weights holds and what it fits")
    inspect.add_argument("weights", type=Path, metavar="W", help="safetensors, or a state dict of torch.save")
    inspect.add_argument("--tensors", action="store_true", help="also list every tensor")
    inspect.add_argument("--json", action="store_true", help="as JSON (docs/schema/weights.json)")


def call_weights_convert(options: argparse.Namespace) -> int:
    """Convert one file; exit 1 if something of the model is missing, which --partial accepts."""
    from harness.weights.conversion import convert
    from harness.weights.listing import conversion_lines

    done = convert(options.source, options.target, to=options.to, part=options.part, partial=options.partial)
    print("\n".join(conversion_lines(done)))
    if done.written is not None:
        return OK
    hint = "--partial writes what fits" if done.fit.fits else "no tensor fits"
    print(f"harness: {options.target} is not written: {options.source} is not whole; {hint}", file=sys.stderr)
    return SOME_FAILED


def call_weights_inspect(options: argparse.Namespace) -> int:
    """Print what a file holds."""
    from harness.weights.inspection import inspect, report_json
    from harness.weights.listing import report_lines

    report = inspect(options.weights)
    print(report_json(report) if options.json else "\n".join(report_lines(report, tensors=options.tensors)))
    return OK
