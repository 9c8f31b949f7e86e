"""Which processes of the machine are the trial's: those that descend from the runner, the sampler apart."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

from harness.measure.telemetry.host import TICKS_PER_S, Again

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
PARENT, CPU, RESIDENT = 1, slice(11, 15), 21
"""Places in /proc/PID/stat after the name: parent; user, system and both of children that were waited for; pages."""
OWN_CPU = slice(11, 13)


class Family:
    """The processes of the trial, found once a second and read at each sample."""

    def __init__(self, runner: int) -> None:
        self.runner = runner
        self.sampler = os.getpid()
        self.parents: dict[int, int] = {}
        self.open: dict[int, Again] = {}
        self.harness = Again(Path(f"/proc/{runner}/stat"))

    def look(self) -> None:
        """Find the processes that came and went since the last look."""
        there = set(psutil.pids())
        self.parents = {pid: parent for pid, parent in self.parents.items() if pid in there}
        new = there - self.parents.keys()
        for pid in new:
            with suppress(OSError):  # it ended in between
                self.parents[pid] = int(fields(Path(f"/proc/{pid}/stat").read_bytes())[PARENT])
        for pid in filter(self.has, new):
            with suppress(OSError):
                self.open[pid] = Again(Path(f"/proc/{pid}/stat"))

    def has(self, pid: int) -> bool:
        """Whether a process is the trial's."""
        if pid in self.open:
            return True
        for _ in range(len(self.parents)):
            if pid == self.sampler:
                return False
            parent = self.parents.get(pid)
            if parent is None or parent == self.runner:
                return parent is not None
            pid = parent
        return False

    def is_harness(self, pid: int) -> bool:
        """Whether a process is the runner or the sampler."""
        return pid in {self.runner, self.sampler}

    def use(self) -> tuple[float, int]:
        """CPU seconds of the trial's processes since each began, their ended children included; bytes resident now."""
        ticks, pages = 0, 0
        for pid, stat in list(self.open.items()):
            try:
                places = fields(stat.read())
            except OSError:
                self.open.pop(pid).close()
                self.parents.pop(pid, None)  # its id may be another's by the next look
                continue
            ticks += sum(map(int, places[CPU]))
            pages += int(places[RESIDENT])
        return ticks / TICKS_PER_S, pages * PAGE_BYTES

    def harness_s(self) -> float:
        """CPU seconds of the runner."""
        return sum(map(int, fields(self.harness.read())[OWN_CPU])) / TICKS_PER_S

    def names(self, pids: Iterable[int]) -> dict[int, str | None]:
        """The name of each process; None of one that cannot be seen from here."""
        found: dict[int, str | None] = {}
        for pid in pids:
            found[pid] = None
            with suppress(psutil.Error):
                found[pid] = psutil.Process(pid).name()
        return found


def fields(stat: bytes) -> list[bytes]:
    """What follows the name in /proc/PID/stat, as far as it is used; the name may hold anything."""
    return stat[stat.rindex(b")") + 2 :].split(None, RESIDENT + 1)
