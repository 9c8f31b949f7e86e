"""The most memory that living processes have had: asked for just before they are killed."""

from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")


def pid_of(descriptor: int) -> int:
    """The process behind a process descriptor, as this namespace numbers it; -1 once it is gone."""
    found = _field(PROC / f"self/fdinfo/{descriptor}", "Pid")
    return int(found) if found is not None else -1


def peak_of_tree(pid: int) -> int | None:
    """Largest resident memory, in bytes, that a process or one of its descendants has had; None if none lives."""
    known = [peak for each in tree(pid) if (peak := peak_of(each)) is not None]
    return max(known, default=None)


def peak_of(pid: int) -> int | None:
    """Largest resident memory, in bytes, of one process; None if it lives no more."""
    peak = _field(PROC / f"{pid}/status", "VmHWM")
    return None if peak is None else int(peak.removesuffix(" kB")) * 1024


def tree(pid: int) -> Iterator[int]:
    """A process and its descendants; what ends meanwhile is left out."""
    yield pid
    for listed in PROC.glob(f"{pid}/task/*/children"):
        for child in _text(listed).split():
            yield from tree(int(child))


def _field(path: Path, name: str) -> str | None:
    lines = (line.partition(":") for line in _text(path).splitlines())
    return next((value.strip() for key, _, value in lines if key == name), None)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
