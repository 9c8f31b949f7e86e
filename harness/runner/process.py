"""Start a launcher's processes, wait without polling, leave none behind."""

import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import BinaryIO

from harness.runner.peak import peak_of, peak_of_tree

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
    peak_memory_bytes: int | None = field(default=None, compare=False)
    """Largest resident memory that one of the processes is known to have had."""


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
    before = peak_of(os.getpid()) or 0
    peak = None
    try:
        ended = wait(process.pid, timeout_s)
        peak = None if ended else peak_of_tree(process.pid)
    finally:
        kill_group(process.pid)
        code, used = reap(process)
    if not ended:
        return replace(TIMED_OUT, peak_memory_bytes=peak)
    # What a program has used is counted from before it was exec'ed, when it was still this process: no more is known
    # of one that has used less.
    return ending_of(code, used if used > before else None)


def reap(process: "subprocess.Popen[bytes]") -> tuple[int, int]:
    """Wait for a process; its exit code, and the largest resident memory of it and of those that it waited for."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, used.ru_maxrss * 1024


def ending_of(code: int, peak: int | None = None) -> Ending:
    """The ending that an exit code tells of."""
    return Ending(*exit_or_signal(code), timed_out=False, peak_memory_bytes=peak)


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
