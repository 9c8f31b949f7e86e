"""The compilers of this machine."""

import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.errors import KernelError

TIMEOUT_S = 60
ARCHITECTURES = (70, 75, 80, 90, 100)
"""Compute capabilities that libraries are built for, V100 to B200, as far as the toolkit still has them."""


@dataclass(frozen=True, slots=True)
class Compiler:
    """A program that compiles, and what it calls itself."""

    path: str
    version: str


@cache
def host_compiler() -> Compiler:
    """$CXX, g++ or clang++, whichever is there first.

    Raises:
        KernelError: there is none.
    """
    wanted = os.environ.get("CXX")
    for name in (wanted,) if wanted else ("g++", "clang++"):
        path = shutil.which(name)
        if path:
            return Compiler(path, answer_of(path, "--version").splitlines()[0])
    looked = f"CXX={wanted}" if wanted else "g++ or clang++ on PATH"
    raise KernelError(f"no C++ compiler: {looked} was not found; Debian and Ubuntu have it in the package g++")


@cache
def cuda_compiler() -> Compiler:
    """The nvcc of $CUDA_HOME, of PATH, or of the packages that pip installs, whichever is there first.

    Raises:
        KernelError: there is none.
    """
    for path in _nvcc_places():
        if os.access(path, os.X_OK):
            lines = answer_of(str(path), "--version").splitlines()
            return Compiler(str(path), next((line for line in lines if "release" in line), "unknown"))
    raise KernelError(
        "no CUDA compiler: nvcc is neither in CUDA_HOME nor on PATH; pip install 'detection-harness[cuda]' brings one"
    )


def _nvcc_places() -> Iterator[Path]:
    if home := os.environ.get("CUDA_HOME"):
        yield Path(home) / "bin" / "nvcc"
    if found := shutil.which("nvcc"):
        yield Path(found)
    yield from sorted((Path(sysconfig.get_paths()["purelib"]) / "nvidia").glob("cu*/bin/nvcc"), reverse=True)


@cache
def cuda_architectures() -> tuple[int, ...]:
    """Those of `ARCHITECTURES` that nvcc compiles for."""
    known = {
        int(number) for number in re.findall(r"compute_(\d+)\b", answer_of(cuda_compiler().path, "--list-gpu-arch"))
    }
    return tuple(number for number in ARCHITECTURES if number in known)


@cache
def cpu_flags() -> str:
    """What the CPU can do, since code compiled for this one may not run on another."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(("flags", "Features"))), "unknown")


def answer_of(*command: str) -> str:
    """What a program prints.

    Raises:
        KernelError: it cannot be run or fails.
    """
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise KernelError(f"{' '.join(command)} failed: {error}") from error
