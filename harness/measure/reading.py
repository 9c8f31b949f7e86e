"""Small files that the kernel answers in; a file that is not there, or may not be read, is None."""

from pathlib import Path

SYS, PROC = Path("/sys"), Path("/proc")


def text_of(path: Path) -> str | None:
    """Return a file's text without the white space around it; None where it cannot be read or is empty."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None


def number_of(path: Path) -> int | None:
    """Return the whole number that a file holds; None where it holds none."""
    return as_number(text_of(path))


def as_number(text: str | None) -> int | None:
    """Return a text as a whole number; None where it is none."""
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def count_of(path: Path) -> int | None:
    """Return how many numbers a file lists in the kernel's way, as 0-3,8; None where it lists none."""
    text = text_of(path)
    if text is None:
        return None
    count = 0
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not first.isdecimal() or (last and not last.isdecimal()):
            return None
        count += int(last or first) - int(first) + 1
    return count


def switch_of(path: Path, *, on: int = 1) -> bool | None:
    """Return whether a file of one number holds `on`; None where it holds none."""
    value = number_of(path)
    return None if value is None else value == on


def chosen_of(path: Path) -> str | None:
    """Return the word in brackets of a file such as `always [madvise] never`; None where there is none."""
    text = text_of(path) or ""
    return next((word.strip("[]") for word in text.split() if word.startswith("[")), None)


def first_block(path: Path) -> dict[str, str]:
    """Return the `name : value` lines of a file up to its first empty line; nothing where it cannot be read.

    A machine of many cores has as many blocks in /proc/cpuinfo, and making each takes the kernel a while.
    """
    found: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if not line.strip():
                    break
                name, _, value = line.partition(":")
                found[name.strip()] = value.strip()
    except OSError:
        return {}
    return found
