"""`python -m harness.worker.zygote DESCRIPTOR`: import once what every worker needs, then fork a worker on request.

Most of the start of a worker is the import of pydantic and of the host's records. The runner starts one such process
and asks it for a worker at each trial of one rank; the name and the idea are Android's. What it must keep true is that
a forked worker is as good as a fresh one:

- only light modules of the host are imported, no framework, no backend, no NumPy, and there is one thread;
- the zygote is started with the environment of its workers, so that what a program reads at its start, from LD_PRELOAD
  to PYTHONHASHSEED, holds for them too; the runner starts another for another environment;
- the collector of garbage leaves the imported objects alone, as in every worker: looking through them would copy all
  their memory in the middle of a measurement.

One thing differs: the workers of one zygote share the seed of Python's hashes and the layout of memory.

multiprocessing's forkserver has the same idea, but gives no say over the session, the namespace, the output and the
death of what it forks.
"""

import atexit
import gc
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial

from harness.schema.spawn import Spawn, Spawned
from harness.worker.__main__ import work
from harness.worker.containment import LIBC, die_with_parent, fork, unshare
from harness.worker.title import show_as

LONGEST_REQUEST = 1 << 16


def main() -> None:
    """Serve until the runner closes its end."""
    die_with_parent()
    channel = socket.socket(fileno=int(sys.argv[1]))
    gc.collect()
    gc.freeze()
    while serve(channel):
        pass


def serve(channel: socket.socket) -> bool:
    """Fork one worker, wait for it and tell its exit code; whether the runner is still there."""
    request, (*logs,), _, _ = socket.recv_fds(channel, LONGEST_REQUEST, 1)
    if not request:
        return False
    for log in logs:
        # Here and not in the child, so that what goes wrong in between is in the log of its trial.
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
    child = fork(partial(keep, Spawn.model_validate_json(request), channel))
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    end_session(child)
    _, status, used = os.wait4(child, 0)
    gone = Spawned(exit_code=os.waitstatus_to_exitcode(status), peak_memory_bytes=used.ru_maxrss * 1024)
    try:
        channel.send(gone.model_dump_json().encode())
    except ConnectionError:  # a runner that gave the trial up has closed its end
        return False
    return True


def end_session(leader: int) -> None:
    """Kill what a worker without a namespace left in its session; its id is not free until it is waited for."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


def keep(spawn: Spawn, channel: socket.socket) -> int:
    """Be the worker; or, where it gets a namespace, make that, and keep the first process in it."""
    worker = partial(live, spawn.assignment)
    if spawn.namespace == "none":
        hand_over(channel, os.getpid())
        return worker()
    unshare(spawn.namespace)
    first = fork(partial(be_first, worker, channel))
    hand_over(channel, first)
    _, status = os.waitpid(first, 0)
    return exit_code(status)


def hand_over(channel: socket.socket, pid: int) -> None:
    """Give the runner a descriptor of the process whose death ends everything."""
    descriptor = os.pidfd_open(pid)
    socket.send_fds(channel, [Spawned().model_dump_json().encode()], [descriptor])
    os.close(descriptor)
    channel.close()


def be_first(worker: Callable[[], int], channel: socket.socket) -> int:
    """Be the first process of a namespace, so that the worker is an ordinary one, which signals can kill.

    Reaps orphans. When it ends, the kernel ends all others.
    """
    channel.close()
    pid = fork(worker)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        ended, status = os.wait()
        if ended == pid:
            return exit_code(status)


def exit_code(status: int) -> int:
    """A wait status as an exit code: 128 + n for a signal, which this process, being another, cannot die of."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def live(assignment: str) -> int:
    """Be the worker `python -m harness.worker ASSIGNMENT`, to its end."""
    os.setsid()
    sys.argv[1:] = [assignment]
    show_as([sys.executable, "-m", "harness.worker", assignment])
    try:
        code = work(assignment)
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
        raise
    except BaseException:  # noqa: BLE001 - as the interpreter does at the top
        traceback.print_exc()
        code = 1
    wind_up()
    return code


def wind_up() -> None:
    """End as an interpreter does, without the work of freeing all objects one by one just before the memory goes.

    The two private functions are what the interpreter calls; there is no public way to them but its whole end.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - waits for threads
    atexit._run_exitfuncs()  # noqa: SLF001
    for stream in (sys.stdout, sys.stderr):
        if not stream.closed:
            stream.flush()
    LIBC.fflush(None)  # what libraries in C have printed


if __name__ == "__main__":
    main()
