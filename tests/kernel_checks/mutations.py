"""Kernels made wrong on purpose, in copies: ThreadSanitizer, the emulated device or a test has to find it out."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kernel_checks.programs import Sanitizer, Target, digest, headers_digest, kept, operations, program, run_kept

from harness.kernels.sources import source_root

BARRIER = re.compile(r"__sync(?:threads|warp)\([^()]*\)")
REPOSITORY = Path(__file__).parents[2]
TEST_TIMEOUT_S = 300


@dataclass(frozen=True)
class Mutant:
    """One barrier taken out."""

    file: str
    """Below kernels/."""
    position: int
    barrier: str
    line: int
    operations: tuple[str, ...]
    """Whose kernels it is part of."""

    def __str__(self) -> str:
        return f"kernels/{self.file}:{self.line} without {self.barrier}"


@dataclass(frozen=True)
class Plant:
    """A fault put into a body: the first `old` becomes `new`."""

    operation: str
    target: Target
    sanitizer: Sanitizer
    what: str
    old: str
    new: str

    @property
    def file(self) -> str:
        """Below kernels/."""
        return f"cpu/{self.operation}.cpp" if self.target == "cpu" else f"cuda/{self.operation}.cu"


ENTRY = "int rows = m - first < kRows"
"""Begins each round of the kernel of box_iou.cu."""
PLANTS = tuple(
    Plant("box_iou", "emulated", sanitizer, what, ENTRY, f"{fault}\n    {ENTRY}")
    for sanitizer, what, fault in (
        ("address", "a byte behind an output", "if (column == 0) ((char*)iou_MN)[m * n * 4] = 1;"),
        ("address", "a byte behind shared memory", "if (threadIdx.x == 0) ((char*)box)[kRows * sizeof(Box)] = 1;"),
        ("address", "a byte before an input", "if (((const volatile char*)left_M4)[-1] == 7) iou_MN[0] = 1;"),
        ("thread", "blocks that write one place", "if (threadIdx.x == blockIdx.x) iou_MN[0] = 1;"),
    )
)


def code_of(text: str) -> str:
    """The text with comments blanked out, every character in its place."""
    return re.sub(r"//[^\n]*|/\*.*?\*/", lambda match: re.sub(r"[^\n]", " ", match[0]), text, flags=re.DOTALL)


def includes(file: Path) -> Iterator[Path]:
    """A file of the kernels and every header that it brings."""
    seen = [file]
    for each in seen:
        for name in re.findall(r'#include "([^"]+)"', each.read_text()):
            other = (each.parent / name).resolve()
            if other.is_file() and other not in seen:
                seen.append(other)
    yield from seen


def mutants() -> list[Mutant]:
    """Every barrier in the text of the device."""
    root = source_root()
    users: dict[Path, list[str]] = {}
    for operation in operations():
        for file in includes(root / "cuda" / f"{operation}.cu"):
            if file.parent.name != "emulation":
                users.setdefault(file, []).append(operation)
    return [
        Mutant(
            str(file.relative_to(root)), match.start(), match[0], text.count("\n", 0, match.start()) + 1, tuple(names)
        )
        for file, names in sorted(users.items())
        for text in [file.read_text()]
        for match in BARRIER.finditer(code_of(text))
    ]


@contextmanager
def copied(file: str, text: str) -> Iterator[Path]:
    """A copy of the kernels in which one file has another text."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "kernels"
        shutil.copytree(source_root(), root)
        (root / file).write_text(text)
        yield root


def without(mutant: Mutant) -> str:
    """The text of the mutant's file, its barrier taken out and every line where it was."""
    text = (source_root() / mutant.file).read_text()
    return text[: mutant.position] + text[mutant.position + len(mutant.barrier) :]


def found_by(mutant: Mutant, *, tests: bool = True) -> str | None:
    """What finds the mutant out, in words; None: nothing does.

    Args:
        mutant: which barrier is missing.
        tests: let the operations' own tests try where ThreadSanitizer finds nothing.
    """
    with copied(mutant.file, without(mutant)) as root:
        for operation in mutant.operations:
            ending = run_kept(program(operation, "emulated", "thread", root))
            if ending.code:
                return ending.words
        if not tests:
            return None
        return next((words for operation in mutant.operations if (words := failing_test(operation, root))), None)


def planted(plant: Plant) -> str | None:
    """What finds a planted fault, in words; None: nothing does."""
    text = (source_root() / plant.file).read_text()
    assert plant.old in text, f"kernels/{plant.file} no longer has {plant.old!r}: plant the fault elsewhere"
    with copied(plant.file, text.replace(plant.old, plant.new, 1)) as root:
        ending = run_kept(program(plant.operation, plant.target, plant.sanitizer, root))
    return ending.words if ending.code else None


def failing_test(operation: str, root: Path) -> str | None:
    """The first failing test of an operation on the emulated device, run on a copy of the kernels."""
    test = REPOSITORY / "tests" / "kernels" / f"test_{operation}.py"
    if not test.exists():
        return None
    tests = [path.read_bytes() for path in (test, *sorted((REPOSITORY / "tests" / "kernel_oracles").glob("*.py")))]
    name = digest(headers_digest(root), *(path.read_bytes() for path in sorted(root.rglob("*.c*"))), *tests)
    verdict = kept(f"{operation}-{name}.tests")
    if not verdict.exists():
        verdict.write_text(run_tests(test, root))
    return verdict.read_text() or None


def run_tests(test: Path, root: Path) -> str:
    """The name of the first failing test, or nothing; a copy of the harness finds the kernels beside itself."""
    folder = root.parent
    for name in ("harness", "tests"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "native"))
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    given = [f"tests/kernels/{test.name}", "-k", "forward or reverse or random"]
    environment = {**os.environ, "PYTHONPATH": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
    try:
        done = subprocess.run(
            [*command, *given],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TEST_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{test.name} does not end"
    if done.returncode not in {0, 1}:
        raise AssertionError(f"{test.name} cannot be run on a copy of the kernels:\n{done.stdout}{done.stderr}")
    failed = next((line for line in done.stdout.splitlines() if line.startswith("FAILED")), "")
    return failed.split(" - ")[0].removeprefix("FAILED ")
