"""Start a launcher's processes, wait without polling, leave none behind."""

import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import BinaryIO

LONGEST_WAIT_S = 1e6
"""Of one system call, whose milliseconds must fit into 31 bits; a time-out may be longer."""


@dataclass(frozen=True)
class Ending:
    """How the group of processes ended: by itself with an exit code or a signal, or by the time-out."""

    exit_code: int | None
    signal: str | None
    timed_out: bool
    lost: str | None = None
    """Why the worker was killed with the process that had started it; None where that did not happen."""


TIMED_OUT = Ending(None, None, timed_out=True)


def run_command(command: Sequence[str], environment: Mapping[str, str], log: BinaryIO, timeout_s: float) -> Ending:
    """Run a command in a session of its own and wait for its end; on any leaving the whole group is killed.

    The wait sleeps in the kernel on the process itself: the runner takes no CPU from what it measures.

    Args:
        command: a list, never given to a shell.
        environment: the whole environment.
        log: receives standard output and error.
        timeout_s: after so many seconds the group is killed.
    """
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        ended = wait(process.pid, timeout_s)
    finally:
        kill_group(process.pid)
        code = process.wait()
    return ending_of(code) if ended else TIMED_OUT


def ending_of(code: int) -> Ending:
    """The ending that an exit code tells of."""
    return Ending(*exit_or_signal(code), timed_out=False)


def wait(pid: int, timeout_s: float) -> bool:
    """Whether the process ended in time."""
    deadline = monotonic() + timeout_s
    descriptor = os.pidfd_open(pid)
    try:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        while (left_s := deadline - monotonic()) > 0:
            if poller.poll(min(left_s, LONGEST_WAIT_S) * 1000):
                return True
        return False
    finally:
        os.close(descriptor)


def kill_group(pid: int) -> None:
    """Kill what is left of a session; nothing left is fine."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def exit_or_signal(code: int) -> tuple[int | None, str | None]:
    """Tell an exit code from a death by signal, as Python (-n) and as a wrapping process (128 + n) report it."""
    number = -code if code < 0 else code - 128
    if number <= 0:
        return code, None
    try:
        return None, signal.Signals(number).name
    except ValueError:
        return code, None
