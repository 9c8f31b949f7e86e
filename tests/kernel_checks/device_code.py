"""What nvcc makes of the device's text: every architecture, no register spilled, no product fused unasked."""

import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from kernel_checks.programs import digest, headers_digest, kept

from harness.kernels.recipes import recipe
from harness.kernels.sources import source_root
from harness.kernels.toolchain import cuda_architectures, cuda_compiler

FUSIBLE = re.compile(r"(?<![.\w])(?:fma\.rn\.(?:ftz\.)?|(?:mul|add|sub)\.(?:ftz\.)?)f(?:32|64)\b")
"""A fused product, or one that names no rounding: ptxas may fuse that one, and in CUDA 13 it is ptxas that does."""
SPILL = re.compile(r"([1-9]\d*) bytes spill (?:stores|loads)")
ENTRY = re.compile(r"(?:Function properties for|Compiling entry function) '?(\w+)'?(?: for '(\w+)')?")

MAY_FUSE: dict[str, str] = {}
"""Operations whose device text may hold fused products, and why; all others round every product."""


def device_sources() -> list[Path]:
    """The files that nvcc compiles."""
    return sorted((source_root() / "cuda").glob("*.cu"))


def findings(source: Path, architectures: Sequence[int] | None = None) -> list[str]:
    """What is wrong with the device code of one source, a line each; kept for the next time.

    Args:
        source: a file of kernels/cuda.
        architectures: for which it is compiled; None: all that libraries are built for.
    """
    flags = [flag for flag in recipe("cuda").flags if not flag.startswith("-gencode")]
    numbers = cuda_architectures() if architectures is None else architectures
    code = [f"-gencode=arch=compute_{number},code=sm_{number}" for number in numbers]
    own = Path(__file__).read_bytes()
    name = digest(cuda_compiler().version, *flags, *code, own, headers_digest(source_root()), source.read_bytes())
    verdict = kept(f"{source.stem}-{name}.nvcc")
    if not verdict.exists():
        verdict.write_text("\n".join(compiling(source, [*flags, *code])))
    return verdict.read_text().splitlines()


def compiling(source: Path, flags: Sequence[str]) -> list[str]:
    """Errors and warnings, else what registers kernels keep in memory and what products may be fused."""
    with tempfile.TemporaryDirectory() as folder:
        command = [cuda_compiler().path, *flags, "-Xptxas=-v", "-Werror=all-warnings", "-keep", f"-keep-dir={folder}"]
        output = ["-c", str(source), "-o", f"{folder}/made.o"]
        done = subprocess.run([*command, *output], capture_output=True, text=True, check=False)
        lines = (done.stdout + done.stderr).splitlines()
        if done.returncode:
            words = next((line for line in lines if "error" in line), f"exit code {done.returncode}")
            return [f"{source.name}: nvcc refuses it: {words}"]
        texts = [path.read_text() for path in sorted(Path(folder).glob("*.ptx"))]
    assert texts, f"nvcc kept no PTX of {source.name}"
    return [*spills(source.name, lines), *fused(source.stem, "\n".join(texts))]


def spills(name: str, lines: Sequence[str]) -> list[str]:
    """Kernels that keep registers in memory, from what ptxas says."""
    found, kernel, architecture = [], "", ""
    for line in lines:
        if entry := ENTRY.search(line):
            kernel, architecture = entry[1], entry[2] or architecture
        elif spill := SPILL.search(line):
            found.append(f"{name}: {kernel} on {architecture}: {spill[0]}")
    return found


def fused(operation: str, text: str) -> list[str]:
    """Products in a source's PTX that are fused or may be."""
    number = len(FUSIBLE.findall(text))
    if operation in MAY_FUSE:
        return [] if number else [f"{operation}.cu: nothing in its PTX is fused, and MAY_FUSE lists it"]
    return [f"{operation}.cu: {number} products in its PTX are fused or may be"] if number else []
