"""The command line: parse, call, print, exit code. Each command imports what it needs when it runs."""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from harness.cli.audit import add_audit
from harness.cli.common import BAD_INPUT, INTERRUPTED, OK, UNEXPECTED
from harness.cli.compare import add_compare
from harness.cli.data import add_data
from harness.cli.exchange import add_export, add_import
from harness.cli.machine import add_machine
from harness.cli.report import add_report, add_show
from harness.cli.run import add_plan, add_run
from harness.cli.weights import add_weights


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; every known error is one line on standard error, others a traceback."""
    options = parsed(arguments)
    from harness.errors import HarnessError

    try:
        return int(options.call(options))
    except HarnessError as error:
        from harness.matrix.source import printable

        print(f"harness: {printable(str(error))}", file=sys.stderr)
        return int(getattr(options, "bad_input", error.exit_code))
    except KeyboardInterrupt as error:
        hint = str(error) or "run the same command again to go on from here"
        print(f"harness: interrupted; {hint}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has left, as `| head` does: nothing more to say, to anyone.
        sys.stderr.close()
        return OK
    except Exception:  # noqa: BLE001 - the last one
        # Python itself would leave with 1, which to a gate is a verdict: worse, findings, drift.
        import traceback

        traceback.print_exc()
        print("harness: an error of the harness itself; please report it with the lines above", file=sys.stderr)
        return UNEXPECTED


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command and its options; what no command knows is an error of the command that was given."""
    top = parser()
    options, unknown = top.parse_known_args(arguments)
    if unknown:
        top.bad_input = getattr(options, "bad_input", BAD_INPUT)
        top.error(f"unrecognized arguments: {' '.join(unknown)}")
    return options


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line; a command may have another exit code for them among its defaults."""

    bad_input = BAD_INPUT

    def error(self, message: str) -> NoReturn:
        """Print one line and leave with the code of bad input."""
        self.exit(self.get_default("bad_input") or self.bad_input, f"{self.prog}: {message}; see {self.prog} --help\n")


def parser() -> OneLineParser:
    """All commands and their options."""
    top = OneLineParser(prog="harness", description="Benchmarks detection models across frameworks, honestly.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    add_run(commands)
    add_plan(commands)
    add_report(commands)
    add_show(commands)
    add_compare(commands)
    add_audit(commands)
    add_machine(commands)
    add_data(commands)
    add_weights(commands)
    add_export(commands)
    add_import(commands)
    return top
