"""The runner's end of the process that forks workers (harness/worker/zygote.py)."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from time import monotonic
from typing import BinaryIO

from harness.runner.peak import peak_of_tree, pid_of
from harness.runner.process import LONGEST_WAIT_S, TIMED_OUT, Ending, ending_of, exit_or_signal
from harness.schema.spawn import Namespace, Spawn, Spawned

LONGEST_ANSWER = 4096
GRACE_S = 10.0
"""How long what was killed may take to be gone."""
TITLE_ROOM = " " * 1024
"""A last argument that nobody sees: room in which a worker's own command line is shown, its assignment included."""


class LostError(Exception):
    """The zygote is gone in the middle of a trial."""


@dataclass
class Flight:
    """The worker in flight: a process descriptor that ends all of it, once it exists."""

    descriptor: int | None = None

    def kill(self) -> None:
        """End the worker and, where it has a namespace, all that it started."""
        if self.descriptor is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.descriptor, signal.SIGKILL)

    def close(self) -> None:
        """Let go of the descriptor."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


class Zygote:
    """One process that forks workers, one at a time, all in the environment that it was started with."""

    def __init__(self, environment: Mapping[str, str], log: BinaryIO) -> None:
        self.environment = dict(environment)
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "harness.worker.zygote", str(theirs.fileno()), TITLE_ROOM],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def serves(self, environment: Mapping[str, str]) -> bool:
        """Whether it lives and its workers have this environment."""
        return self.process.poll() is None and self.environment == environment

    def run(self, assignment: str, namespace: Namespace, log: BinaryIO, timeout_s: float) -> Ending:
        """Have a worker forked and wait for its end, asleep in the kernel; on any other leaving everything is killed.

        Args:
            assignment: path of the worker's assignment.
            namespace: what it is put into.
            log: receives its standard output and error.
            timeout_s: after so many seconds it is killed, and the zygote with it.
        """
        deadline = monotonic() + timeout_s
        flight = Flight()
        try:
            self.ask(Spawn(assignment=assignment, namespace=namespace), log)
            gone = None
            while gone is None:
                gone = self.hear(flight, deadline)
        except TimeoutError:
            peak = None if flight.descriptor is None else peak_of_tree(pid_of(flight.descriptor))
            self.stop(flight)
            return replace(TIMED_OUT, peak_memory_bytes=peak)
        except LostError:
            self.stop(flight, GRACE_S)
            return Ending(None, None, timed_out=False, lost=self.last_words())
        except BaseException:
            self.stop(flight)
            raise
        finally:
            flight.close()
        return gone

    def ask(self, spawn: Spawn, log: BinaryIO) -> None:
        """Send a request.

        Raises:
            LostError: nobody is there.
        """
        try:
            socket.send_fds(self.channel, [spawn.model_dump_json().encode()], [log.fileno()])
        except ConnectionError as error:
            raise LostError from error

    def hear(self, flight: Flight, deadline: float) -> Ending | None:
        """Wait for an answer; the worker's ending, None where it tells that it is in flight, or where none came yet.

        Raises:
            LostError: nobody is there.
            TimeoutError: the deadline is over.
        """
        left_s = deadline - monotonic()
        if left_s <= 0:
            raise TimeoutError
        self.channel.settimeout(min(left_s, LONGEST_WAIT_S))
        try:
            answer, descriptors, _, _ = socket.recv_fds(self.channel, LONGEST_ANSWER, 1)
        except TimeoutError:
            return None
        except ConnectionError as error:
            raise LostError from error
        if not answer:
            raise LostError
        if descriptors:
            flight.descriptor = descriptors[0]
        told = Spawned.model_validate_json(answer)
        return None if told.exit_code is None else ending_of(told.exit_code, told.peak_memory_bytes)

    def last_words(self) -> str:
        """How the zygote itself ended, in one line."""
        exit_code, name = exit_or_signal(self.process.returncode)
        return f"the process that starts workers ended, {f'killed by {name}' if name else f'exit code {exit_code}'}"

    def stop(self, flight: Flight | None = None, grace_s: float = 0.0) -> None:
        """Kill the worker in flight, if any, and end the zygote.

        A zygote that is left alone with a dead worker buries it and ends by itself; it is given the time to.
        """
        self.channel.close()
        if flight is not None and flight.descriptor is not None:
            flight.kill()
            grace_s = GRACE_S
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(grace_s)
        self.process.kill()
        self.process.wait()
