"""`make check-kernels`: what can be found out about the kernels without a device, a line for each finding."""

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from kernel_checks.device_code import device_sources, findings
from kernel_checks.mutations import PLANTS, found_by, mutants, planted
from kernel_checks.programs import SANITIZERS, TARGETS, operations, sanitized

from harness.errors import KernelError
from harness.kernels.toolchain import cuda_compiler

Check = tuple[str, Callable[[], list[str]]]


def clean(operation: str, target: str, sanitizer: str) -> list[str]:
    """A sanitizer must find nothing in the kernels as they are."""
    words = sanitized(operation, target, sanitizer)
    return [f"{operation} ({target}): {words}"] if words else []


def must_be_found(what: str, find: Callable[[], str | None]) -> list[str]:
    """A fault that was put in must be found."""
    return [] if find() else [f"nothing finds {what}"]


def checks() -> list[Check]:
    """Every check by name; the long ones first."""
    listed: list[Check] = [(f"nvcc {source.name}", partial(findings, source)) for source in sources_for_nvcc()]
    listed += [
        (f"{sanitizer} sanitizer, {operation} ({target})", partial(clean, operation, target, sanitizer))
        for operation in operations()
        for target in TARGETS
        for sanitizer in SANITIZERS
    ]
    listed += [(str(mutant), partial(must_be_found, str(mutant), partial(found_by, mutant))) for mutant in mutants()]
    for plant in PLANTS:
        what = f"{plant.what} in kernels/{plant.file}"
        listed.append((what, partial(must_be_found, what, partial(planted, plant))))
    return listed


def sources_for_nvcc() -> list[Path]:
    """All CUDA sources; none, with a line that says so, where no nvcc is."""
    try:
        cuda_compiler()
    except KernelError as error:
        print(f"not checked with nvcc: {error}")
        return []
    return device_sources()


def main() -> int:
    """Run all checks; 1 if any finds something."""
    started = time.perf_counter()
    listed = checks()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = 0
        for lines in pool.map(lambda check: check[1](), listed):
            for line in lines:
                print(line, flush=True)
            found += len(lines)
    print(f"{len(listed)} checks, {found} findings, {time.perf_counter() - started:.0f} s")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
