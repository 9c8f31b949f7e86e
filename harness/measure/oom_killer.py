"""The traces that the kernel's out-of-memory killer leaves in the counters of this control group and of the machine.

A process that it kills dies of SIGKILL, as one does that a person or a scheduler kills; only these tell them apart. The
counter of our own control group decides where it can be read, since processes of others die of memory too; the
machine's (/proc/vmstat) does where there is none. Both interfaces are those of the kernel's documentation:
admin-guide/cgroup-v2.rst (memory.events) and admin-guide/cgroup-v1/memory.rst (memory.oom_control and its like).
"""

import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
NO_LIMIT = 1 << 60
"""cgroup v1 says that there is no limit by the largest number of pages."""


@dataclass(frozen=True)
class Group:
    """A control group's memory: how often its limit was met, and how many of its processes were killed for memory."""

    name: str
    kills: int | None
    at_limit: int | None
    limit_bytes: int | None
    most_bytes: int | None = None
    """Version 1 only, whose failcnt newer kernels leave at 0: the most memory that it has had."""


@dataclass(frozen=True)
class Counters:
    """What was counted so far: of this process's group, the groups around it, and the machine."""

    groups: tuple[Group, ...]
    """Our own first; empty where there are none."""
    machine_kills: int | None


def read_counters(proc: Path = PROC) -> Counters:
    """Read what this process may see; what it may not is None."""
    machine = _numbers(proc / "vmstat").get("oom_kill")
    found = memory_group(proc)
    if found is None:
        return Counters((), machine)
    own, mount = found
    around = [folder for folder in (own, *own.parents) if folder.is_relative_to(mount)]
    return Counters(tuple(_group(folder, mount) for folder in around), machine)


def memory_group(proc: Path = PROC) -> tuple[Path, Path] | None:
    """The folder of this process's control group of memory, and the folder that the file system is mounted on."""
    for version, mount, root in _mounts(proc):
        for line in _lines(proc / "self/cgroup"):
            number, controllers, path = line.split(":", 2)
            ours = number == "0" if version == 2 else "memory" in controllers.split(",")
            if not ours:
                continue
            inside = os.path.relpath(path, root)
            folder = mount if ".." in (*Path(path).parts, *Path(inside).parts) else mount / inside
            if version == 1 or (folder / "memory.events").exists():
                return folder, mount
    return None


def _mounts(proc: Path) -> list[tuple[int, Path, str]]:
    """Version, mount point and root of each mounted hierarchy that may hold the memory controller; version 1 first."""
    found = []
    for line in _lines(proc / "self/mountinfo"):
        before, _, after = line.partition(" - ")
        root, mount = before.split()[3:5]
        kind, _, options = after.split()
        if kind == "cgroup2" or (kind == "cgroup" and "memory" in options.split(",")):
            found.append((2 if kind == "cgroup2" else 1, Path(mount), root))
    return sorted(found)


def _group(folder: Path, mount: Path) -> Group:
    """The counters of one group, by the files of either version."""
    name = f"/{folder.relative_to(mount)}".replace("/.", "/")
    if (events := _numbers(folder / "memory.events")) or (folder / "cgroup.controllers").exists():
        return Group(name, events.get("oom_kill"), events.get("oom"), _number(folder / "memory.max"))
    kills = _numbers(folder / "memory.oom_control").get("oom_kill")
    met = [_number(folder / f"memory.{counter}failcnt") for counter in ("", "memsw.")]
    known = [count for count in met if count is not None]
    limit = _number(folder / "memory.limit_in_bytes")
    unlimited = limit is None or limit > NO_LIMIT
    most = _number(folder / "memory.max_usage_in_bytes")
    return Group(name, kills, sum(known) if known else None, None if unlimited else limit, most)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _numbers(path: Path) -> dict[str, int]:
    """A file of `name number` lines."""
    words = [line.split() for line in _lines(path)]
    return {pair[0]: int(pair[1]) for pair in words if len(pair) == 2 and pair[1].isdecimal()}


def _number(path: Path) -> int | None:
    """A file of one number; None where it says `max` or is not there."""
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdecimal() else None
