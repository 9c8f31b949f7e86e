"""The command line: parse, call, print, exit code. Each command imports what it needs when it runs."""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from harness.cli.common import BAD_INPUT, INTERRUPTED, OK
from harness.cli.data import add_data
from harness.cli.machine import add_machine
from harness.cli.report import add_report, add_show
from harness.cli.run import add_plan, add_run
from harness.cli.weights import add_weights


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; every known error is one line on standard error."""
    options = parser().parse_args(arguments)
    from harness.errors import HarnessError

    try:
        return int(options.call(options))
    except HarnessError as error:
        print(f"harness: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("harness: interrupted; run the same command again to go on from here", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has left, as `| head` does: nothing more to say, to anyone.
        sys.stderr.close()
        return OK


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print one line and leave with the code of bad input."""
        self.exit(BAD_INPUT, f"{self.prog}: {message}; see {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = OneLineParser(prog="harness", description="Benchmarks detection models across frameworks, honestly.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    add_run(commands)
    add_plan(commands)
    add_report(commands)
    add_show(commands)
    add_machine(commands)
    add_data(commands)
    add_weights(commands)
    return top
