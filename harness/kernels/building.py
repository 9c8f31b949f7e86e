"""Compile once, keep, and never twice at the same time."""

import fcntl
import hashlib
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.errors import KernelError
from harness.kernels.sources import digest_of
from harness.kernels.toolchain import Compiler

TIMEOUT_S = 1200
_TELLING = re.compile(r"error|undefined reference")


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that a shared library depends on."""

    name: str
    compiler: Compiler
    sources: tuple[Path, ...]
    flags: tuple[str, ...]
    """Of every source."""
    link: tuple[str, ...]
    depends: tuple[str, ...] = ()
    """What else makes it another library: the CPU's features, a framework's version."""

    def digest(self) -> str:
        """Names the library: another digest where sources, headers, flags, compiler or `depends` differ."""
        parts = (self.compiler.path, self.compiler.version, *self.flags, *self.link, *self.depends)
        return hashlib.sha256("\0".join((*parts, digest_of(self.sources))).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Built:
    """A library on the disk."""

    path: Path
    compiler: Compiler
    seconds: float
    """That compiling took just now; 0 where it was there."""


def cache_root() -> Path:
    """Where libraries are kept: detection-harness/kernels in $XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "detection-harness" / "kernels"


def place_of(recipe: Recipe) -> Path:
    """Where the library of a recipe is, or would be."""
    return cache_root() / f"{recipe.name}-{recipe.digest()}" / f"{recipe.name}.so"


def build(recipe: Recipe) -> Built:
    """Return the library, compiled if it is not there; other processes that want it wait meanwhile.

    Raises:
        KernelError: the compiler or the disk refuses; the message is one line and names the log.
    """
    path = place_of(recipe)
    if path.exists():
        return Built(path, recipe.compiler, 0.0)
    started = time.perf_counter()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.parent / "lock"):
            if not path.exists():
                _compile(recipe, path)
    except OSError as error:
        raise KernelError(f"{recipe.name} cannot be built in {path.parent}: {error.strerror or error}") from error
    return Built(path, recipe.compiler, time.perf_counter() - started)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _compile(recipe: Recipe, path: Path) -> None:
    """Compile aside and move the whole library into place, so that nobody ever sees half of it."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = [Path(folder) / f"{number}.o" for number in range(len(recipe.sources))]
        commands = [
            [recipe.compiler.path, *recipe.flags, "-c", str(source), "-o", str(compiled)]
            for source, compiled in zip(recipe.sources, objects, strict=True)
        ]
        log = path.parent / "build.log"
        for command in commands:
            _note(log, command)
        list(pool.map(lambda command: _run(command, log), commands))
        made = Path(folder) / path.name
        linking = [recipe.compiler.path, *map(str, objects), *recipe.link, "-o", str(made)]
        _note(log, linking)
        _run(linking, log)
        made.replace(path)


def _note(log: Path, command: list[str]) -> None:
    with log.open("a") as file:
        file.write(" ".join(command) + "\n")


def _run(command: list[str], log: Path) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise KernelError(f"{command[0]} took more than {TIMEOUT_S} s; its command is in {log}") from error
    if done.returncode:
        with log.open("a") as file:
            file.write(done.stdout + done.stderr)
        words = next(filter(_TELLING.search, done.stderr.splitlines()), f"exit code {done.returncode}")
        raise KernelError(f"{Path(command[0]).name} failed: {words.strip()}; all that it said is in {log}")
