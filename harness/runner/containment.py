"""Processes that leave nothing behind, whatever kills whom.

A worker gets a session of its own, dies with the runner (PR_SET_PDEATHSIG) and, where the kernel lets us, lives in a
PID namespace that ends with it, so that loaders and ranks that started sessions of their own end too. A launcher of
ranks gets this from the programs setpriv and unshare, a forked worker from the zygote by the same system calls.
"""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from shutil import which

from harness.schema.spawn import Namespace


@dataclass(frozen=True)
class Containment:
    """A name for the record, what a forked worker is put into, and the command that comes before a launcher's."""

    name: str
    namespace: Namespace
    prefix: tuple[str, ...]

    def wrap(self, command: Sequence[str]) -> list[str]:
        """The command inside this containment."""
        return [*self.prefix, *command]


DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")
# A namespace's first process cannot be killed by signals from inside and does not die of its own; `timeout 0` (no time
# limit) takes that place, so that the worker is an ordinary process and its death by a signal shows as 128 + signal.
FIRST_PROCESS = ("timeout", "--foreground", "0")
NAMESPACES: tuple[tuple[Namespace, tuple[str, ...]], ...] = (
    ("pid", ("unshare", "--pid", "--fork", "--kill-child=KILL")),
    ("user+pid", ("unshare", "--user", "--map-current-user", "--pid", "--fork", "--kill-child=KILL")),
)


@cache
def best_containment() -> Containment:
    """The strongest containment that works here, tried once per run."""
    dying = DIE_WITH_PARENT if works((*DIE_WITH_PARENT, "true")) else ()
    for namespace, unshare in NAMESPACES:
        prefix = (*dying, *unshare, *FIRST_PROCESS)
        if works((*prefix, "true")):
            return Containment("pid-namespace", namespace, prefix)
    return Containment("session", "none", dying)


def works(command: Sequence[str]) -> bool:
    """Whether this command can be run and succeeds."""
    if which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
