"""Processes that do not outlive what started them, by the Linux calls that Python 3.11 does not have."""

import ctypes
import os
import select
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.schema.spawn import Namespace

PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
LIBC = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies, which may happen without notice.

    Raises:
        OSError: the kernel refuses.
    """
    call(LIBC.prctl, PR_SET_PDEATHSIG, int(signal.SIGKILL))


def fork(body: Callable[[], int]) -> int:
    """Run `body` in a child that dies with this process, and return the child's id; its exit code is body's result."""
    parent = os.pidfd_open(os.getpid())
    child = os.fork()
    if child == 0:
        code = os.EX_SOFTWARE
        try:
            die_with_parent()
            if not ended(parent):  # between the fork and the request to die with it
                os.close(parent)
                code = body()
        except BaseException:  # noqa: BLE001 - nothing may leave a child but its exit code
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(parent)
    return child


def ended(descriptor: int) -> bool:
    """Whether the process behind a process descriptor has ended."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(0))


def unshare(namespace: Namespace) -> None:
    """Give the next child a PID namespace of its own, in which it is the first process.

    Raises:
        OSError: the kernel refuses.
    """
    if namespace == "pid":
        call(LIBC.unshare, CLONE_NEWPID)
    elif namespace == "user+pid":
        user, group = os.geteuid(), os.getegid()
        call(LIBC.unshare, CLONE_NEWUSER | CLONE_NEWPID)
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1", encoding="ascii")


def call(function: Any, *arguments: int) -> None:
    """Call a function of the C library that returns 0 where all went well.

    Raises:
        OSError: it did not.
    """
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function.__name__}: {os.strerror(number)}")
