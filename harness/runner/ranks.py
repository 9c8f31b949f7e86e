"""`python -m harness.runner.ranks COUNT ASSIGNMENT`: start that many workers on this machine and wait for them all.

For backends that need no launcher of their framework's. The first rank that fails ends the others: one of them
waiting for it would never return.
"""

import os
import subprocess
import sys
from collections.abc import Callable

Place = dict[str, int | str]
"""Environment variables that tell a rank which one it is and how to meet the others."""


def main() -> int:
    """Start plain ranks; return what `run_ranks` returns."""
    count, assignment = int(sys.argv[1]), sys.argv[2]
    return run_ranks(count, assignment, lambda rank: place(rank, count))


def place(rank: int, count: int) -> Place:
    """What every rank is told, by the names that torchrun uses too."""
    return {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count}


def run_ranks(count: int, assignment: str, place_of: Callable[[int], Place]) -> int:
    """Return 0 if every rank does; else the first failing one's exit code, 128 + n for a signal."""
    by_pid = {process.pid: process for process in (start(place_of(rank), assignment) for rank in range(count))}
    while by_pid:
        pid, status = os.wait()
        process = by_pid.pop(pid, None)
        code = os.waitstatus_to_exitcode(status)
        if process is not None and code != 0:
            for other in by_pid.values():
                other.kill()
            return 128 - code if code < 0 else code
    return 0


def start(place: Place, assignment: str) -> "subprocess.Popen[bytes]":
    """Start one rank; it reads its place from the environment."""
    return subprocess.Popen(
        [sys.executable, "-m", "harness.worker", assignment],
        env=os.environ | {name: str(value) for name, value in place.items()},
    )


if __name__ == "__main__":
    sys.exit(main())
