"""What commands share: exit codes, how a command is added, arguments that several take."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

OK, SOME_FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
UNEXPECTED = 70
"""An error that nobody foresaw, of any command; the EX_SOFTWARE of sysexits.h."""


def command(commands: Any, name: str, call: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    """Add one command."""
    added: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    added.set_defaults(call=call)
    return added


def positive(text: str) -> float:
    """A number of seconds above zero."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def write_text(path: Path, text: str) -> None:
    """Write a file that a user asked for.

    Raises:
        ReportError: it cannot be written.
    """
    from harness.errors import ReportError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ReportError(f"cannot write {path}: {error.strerror}") from error


def print_text(text: str) -> None:
    """Print to the end; a reader that leaves early, as `| head` does, changes no exit code.

    Raises:
        ReportError: the text cannot be written.
    """
    from harness.errors import ReportError

    try:
        print(text, end="", flush=True)
    except OSError as error:
        # What is still in the buffer would fail again when Python ends, with an exit code of its own.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise ReportError(f"cannot print: {error.strerror}") from error
