"""Where the text of the kernels stands, and what it is."""

import hashlib
from functools import cache
from pathlib import Path

from harness.errors import KernelError

SUFFIXES = (".h", ".cpp", ".cu")


@cache
def source_root() -> Path:
    """The folder kernels/: in a checkout at its top, in an installed wheel beside this file.

    Raises:
        KernelError: it is in neither place.
    """
    here = Path(__file__).resolve().parent
    places = (here / "native", here.parents[1] / "kernels")
    for place in places:
        if (place / "include" / "kernel.h").is_file():
            return place
    raise KernelError(f"the kernels' sources are not there: looked in {' and '.join(map(str, places))}")


def sources(folder: str) -> tuple[Path, ...]:
    """The files of a folder that are compiled, by name."""
    return tuple(sorted(path for path in (source_root() / folder).iterdir() if path.suffix in {".cpp", ".cu"}))


def headers() -> tuple[Path, ...]:
    """The headers that declare the C functions, by name."""
    return tuple(sorted((source_root() / "include").glob("*.h")))


def digest_of(paths: tuple[Path, ...]) -> str:
    """SHA-256 of these files and of every header of the kernels, by content and name."""
    state = hashlib.sha256()
    for path in (*sorted(source_root().rglob("*.h")), *paths):
        state.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return state.hexdigest()
