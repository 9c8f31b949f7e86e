"""Programs that call one operation under a sanitizer: compiled, kept by content, run.

The driver is tests/kernels/sanitizers: C++ alone, since a sanitizer has to be there before anything else of a process.
"""

import hashlib
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from harness.kernels.building import cache_root
from harness.kernels.recipes import HOST_FLAGS
from harness.kernels.sources import source_root
from harness.kernels.toolchain import host_compiler

Target = Literal["cpu", "emulated"]
Sanitizer = Literal["thread", "address"]
TARGETS: tuple[Target, ...] = ("cpu", "emulated")
SANITIZERS: tuple[Sanitizer, ...] = ("thread", "address")
DRIVER = Path(__file__).parents[1] / "kernels" / "sanitizers"
TIMEOUT_S = 300
HUNG = 124
INSTRUMENT = {
    "thread": ("-fsanitize=thread",),
    "address": ("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
}
EMULATION = {"thread": "-DEMULATION_TSAN", "address": "-DEMULATION_ASAN"}
OPTIONS = {"TSAN_OPTIONS": "exitcode=66 halt_on_error=1 history_size=4", "ASAN_OPTIONS": "detect_leaks=1 exitcode=67"}


@dataclass(frozen=True)
class Ending:
    """How a program ended."""

    code: int
    words: str
    """The line of its output that says most."""


def operations() -> list[str]:
    """Those that have bodies."""
    return sorted(path.stem for path in (source_root() / "cuda").glob("*.cu") if path.stem != "kernel")


def digest(*parts: str | bytes) -> str:
    """One name for many contents."""
    state = hashlib.sha256()
    for part in parts:
        given = part.encode() if isinstance(part, str) else part
        state.update(str(len(given)).encode() + b"\0" + given)
    return state.hexdigest()[:24]


def headers_digest(root: Path) -> str:
    """Of all headers of a copy of the kernels, and of the driver's."""
    paths = sorted(root.rglob("*.h")) + sorted(DRIVER.glob("*.h"))
    return digest(*(part for path in paths for part in (path.name, path.read_bytes())))


def kept(name: str) -> Path:
    """Where something is kept from one check to the next."""
    folder = cache_root() / "checks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


def make(command: Sequence[str], name: str) -> Path:
    """Run a compiler whose output goes to a kept file; nothing to do where that is there."""
    place = kept(name)
    if not place.exists():
        with tempfile.TemporaryDirectory(dir=place.parent) as folder:
            made = Path(folder) / name
            done = subprocess.run([*command, "-o", str(made)], capture_output=True, text=True, check=False)
            if done.returncode:
                raise AssertionError(f"{' '.join(command)}\n{done.stderr}")
            made.replace(place)
    return place


def compiled(source: Path, flags: Sequence[str], root: Path, headers: str) -> Path:
    """The object of one source of a copy of the kernels."""
    compiler = host_compiler()
    all_flags = (*flags, "-g1", "-w", *HOST_FLAGS)
    name = f"{source.stem}-{digest(compiler.version, *all_flags, headers, source.read_bytes())}.o"
    command = [compiler.path, *all_flags, f"-I{root / 'include'}", "-x", "c++", "-c", str(source)]
    return make(command, name)


def parts(operation: str, target: Target, sanitizer: Sanitizer, root: Path) -> list[tuple[Path, tuple[str, ...]]]:
    """Sources of a program and their flags.

    The emulated device drives ThreadSanitizer's fibers and is not compiled under it; neither is the driver, whose
    memory AddressSanitizer guards all the same.
    """
    define = f"-DKERNEL_TARGET_{target.upper()}"
    watched = ("-O1", define, "-DKERNEL_GRID_LIMIT=2", *INSTRUMENT[sanitizer])
    driver = [(DRIVER / f"{name}.cpp", ("-O0", define)) for name in ("driver", operation)]
    if target == "cpu":
        bodies = [root / "cpu" / f"{name}.cpp" for name in ("kernel", "parallel")]
        return [*driver, *((path, watched) for path in (*bodies, *sorted((root / "cpu").glob(f"{operation}*.cpp"))))]
    runtime = ("-O1", define, EMULATION[sanitizer])
    return [
        *driver,
        *((root / "cuda" / f"{name}.cu", watched) for name in ("kernel", operation)),
        *((root / "emulation" / f"{name}.cpp", runtime) for name in ("device", "fiber")),
    ]


def program(operation: str, target: Target, sanitizer: Sanitizer, root: Path | None = None) -> Path:
    """The program of one operation, from a copy of the kernels (default: the kernels themselves)."""
    root = root or source_root()
    headers = headers_digest(root)
    objects = [compiled(source, flags, root, headers) for source, flags in parts(operation, target, sanitizer, root)]
    name = f"{operation}-{target}-{sanitizer}-{digest(*(path.name for path in objects))}"
    return make([host_compiler().path, *map(str, objects), *INSTRUMENT[sanitizer], "-pthread"], name)


@cache
def fixed_addresses() -> tuple[str, ...]:
    """ThreadSanitizer lays out memory itself and fails where the kernel moves it about too far."""
    command = ("setarch", "-R")
    try:
        works = subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return ()
    return command if works else ()


def run(path: Path) -> Ending:
    """Run a program to its end; one that hangs is ended."""
    try:
        done = subprocess.run(
            [*fixed_addresses(), str(path)], capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=OPTIONS
        )
    except subprocess.TimeoutExpired:
        return Ending(HUNG, f"no end after {TIMEOUT_S} s")
    return Ending(done.returncode, telling_line(done.stdout + done.stderr))


def telling_line(output: str) -> str:
    """A sanitizer's summary, else the operation that failed, else the last line."""
    lines = output.splitlines() or [""]
    for mark in ("SUMMARY:", "runtime error:", " failed: "):
        if found := next((line for line in lines if mark in line), None):
            return found.removeprefix("SUMMARY: ").strip()
    return lines[-1]


def run_kept(path: Path) -> Ending:
    """As `run`, unless this very program has run before: it does the same each time, unless it hung."""
    verdict = kept(f"{path.name}.verdict")
    if verdict.exists():
        code, _, words = verdict.read_text().partition(" ")
        return Ending(int(code), words)
    ending = run(path)
    if ending.code != HUNG:
        verdict.write_text(f"{ending.code} {ending.words}")
    return ending


def sanitized(operation: str, target: Target, sanitizer: Sanitizer) -> str | None:
    """What a sanitizer finds in a body of an operation, in words; None: nothing."""
    ending = run_kept(program(operation, target, sanitizer))
    return ending.words if ending.code else None
