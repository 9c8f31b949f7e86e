"""The machine around the GPUs: its processors and its memory, from files that are opened once and read again."""

import os
from collections.abc import Sequence
from pathlib import Path

import psutil

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
IDLE, WAITING, STEAL = 3, 4, 7
"""Columns of /proc/stat that are no work of this machine's processes; from guest on, times are counted twice."""
KIB = 1024
RAPL = Path("/sys/class/powercap")


class Again:
    """A small file of the kernel that says something else each time it is read."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self, most: int = 8192) -> bytes:
        """Its beginning.

        Raises:
            OSError: what it tells of is gone.
        """
        return os.pread(self.descriptor, most, 0)

    def close(self) -> None:
        """Let go of it."""
        os.close(self.descriptor)


class Host:
    """CPU time of all processes, memory in use, the processors' clock and energy."""

    def __init__(self, rapl: Path = RAPL) -> None:
        self.stat, self.memory = Again(Path("/proc/stat")), Again(Path("/proc/meminfo"))
        self.cpus = os.cpu_count() or 1
        self.packages, self.no_energy = open_packages(rapl)

    def cpu_s(self) -> tuple[float, float]:
        """CPU seconds since the machine began: worked by its processes and kernel, and stolen by a hypervisor.

        Stolen is the time in which something was ready to run here and the processor was given to another machine.
        """
        line = self.stat.read(512).split(b"\n", 1)[0]
        ticks = [int(word) for word in line.split()[1 : STEAL + 2]]
        worked = sum(ticks) - ticks[IDLE] - ticks[WAITING] - ticks[STEAL]
        return worked / TICKS_PER_S, ticks[STEAL] / TICKS_PER_S

    def memory_used_bytes(self) -> int | None:
        """Memory that cannot be had without swapping; None where the kernel does not say."""
        words = self.memory.read(256).split()
        try:
            total, left = (int(words[words.index(name) + 1]) for name in (b"MemTotal:", b"MemAvailable:"))
        except (ValueError, IndexError):
            return None
        return (total - left) * KIB

    def energy_uj(self) -> list[int] | None:
        """The energy counter of each package in microjoules."""
        return [int(package.read()) for package, _ in self.packages] or None

    @staticmethod
    def clock_mhz() -> float | None:
        """Mean clock of the processors."""
        frequency = psutil.cpu_freq()
        return float(frequency.current) if frequency and frequency.current else None


def open_packages(folder: Path) -> tuple[Sequence[tuple[Again, int]], str | None]:
    """The energy counter of each processor package and where it wraps, in microjoules; or the reason for none."""
    zones = sorted(path for path in folder.glob("intel-rapl:*") if path.name.count(":") == 1)
    packages = []
    for zone in zones:
        try:
            if not (zone / "name").read_text(encoding="ascii").startswith("package"):
                continue
            packages.append(
                (Again(zone / "energy_uj"), int((zone / "max_energy_range_uj").read_text(encoding="ascii")))
            )
        except OSError as error:
            return [], f"{zone}: {error.strerror}"
    return packages, None if packages else f"no package in {folder} counts energy"
