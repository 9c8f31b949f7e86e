"""What sanitizers and nvcc say of the kernels, in part: `make check-kernels` is the whole."""

import os
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from kernel_checks.device_code import FUSIBLE, compiling, device_sources, findings, spills
from kernel_checks.mutations import PLANTS, Mutant, code_of, found_by, mutants, planted
from kernel_checks.programs import DRIVER, SANITIZERS, TARGETS, operations, sanitized

from harness.errors import KernelError
from harness.kernels.sources import source_root
from harness.kernels.toolchain import cuda_architectures, cuda_compiler


def first_of_each() -> list[Mutant]:
    """One mutant an operation, for the time."""
    return list({mutant.operations: mutant for mutant in reversed(mutants())}.values())


def has_nvcc() -> bool:
    """Whether there is a CUDA compiler."""
    try:
        cuda_compiler()
    except KernelError:
        return False
    return True


@pytest.fixture(name="_nvcc")
def nvcc() -> None:
    """Skip where there is no CUDA compiler."""
    if not has_nvcc():
        pytest.skip("there is no nvcc")


@pytest.fixture(autouse=True, scope="module")
def _compile_on_all_cpus():
    """What the tests ask for is kept; here it is made on all processors at once, and what fails fails in its test."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for operation in operations():
            for target in TARGETS:
                for sanitizer in SANITIZERS:
                    pool.submit(sanitized, operation, target, sanitizer)
        for source in device_sources() if has_nvcc() else ():
            pool.submit(findings, source, cuda_architectures()[:1])
        for mutant in first_of_each():
            pool.submit(found_by, mutant, tests=False)


@pytest.mark.parametrize("sanitizer", SANITIZERS)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("operation", operations())
def test_a_sanitizer_finds_nothing(operation, target, sanitizer):
    """Neither races nor accesses out of bounds, in no body and in no order of threads."""
    assert sanitized(operation, target, sanitizer) is None


def test_the_driver_calls_every_operation():
    """An operation that has bodies and no driver would pass unwatched."""
    assert {path.stem for path in DRIVER.glob("*.cpp")} - {"driver"} == set(operations())


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.what.replace(" ", "-"))
def test_a_planted_fault_is_found(plant):
    """One byte too far, in device memory or shared memory, and a race between blocks."""
    words = planted(plant)
    assert words is not None
    assert {"address": "AddressSanitizer", "thread": "ThreadSanitizer"}[plant.sanitizer] in words


@pytest.mark.parametrize("mutant", first_of_each(), ids=lambda mutant: mutant.file)
def test_a_removed_barrier_is_found(mutant):
    """The first barrier of every file with any, taken out."""
    assert found_by(mutant, tests=False)


def test_mutants_leave_out_comments():
    """A barrier that is only talked about is none, and lines keep their numbers."""
    text = "a; // __syncthreads()\n/* __syncwarp()\n */ __syncthreads();"
    assert code_of(text).count("__sync") == 1
    assert len(code_of(text)) == len(text)


@pytest.mark.usefixtures("_nvcc")
@pytest.mark.parametrize("source", device_sources(), ids=lambda path: path.name)
def test_nvcc_finds_nothing(source):
    """No warning, no spilled register on the oldest architecture, and every product is rounded on its own."""
    assert findings(source, cuda_architectures()[:1]) == []


@pytest.mark.usefixtures("_nvcc")
def test_products_that_may_be_fused_are_found():
    """Compiled without the libraries' flag, the products of IoU name no rounding, and ptxas would fuse them."""
    flags = ["-std=c++17", "-DKERNEL_TARGET_CUDA", f"-arch=sm_{cuda_architectures()[0]}"]
    (finding,) = compiling(source_root() / "cuda" / "box_iou.cu", flags)
    assert re.fullmatch(r"box_iou.cu: [1-9]\d* products in its PTX are fused or may be", finding)


def test_plain_arithmetic_is_not_taken_for_fused():
    """Rounded products and atomic sums are neither."""
    assert FUSIBLE.search("fma.rn.f32 %f1, %f2, %f3, %f4;")
    assert FUSIBLE.search("mul.f64 %fd1, %fd2, %fd3;")
    assert not FUSIBLE.search("mul.rn.f32 %f1, %f2, %f3; atom.global.add.f32 %f1, [%r1], %f2;")


def test_spills_are_found():
    """In what ptxas says, by kernel and architecture."""
    lines = [
        "ptxas info    : Compiling entry function 'one' for 'sm_80'",
        "    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads",
        "ptxas info    : Compiling entry function 'two' for 'sm_90'",
        "ptxas info    : Function properties for two",
        "    24 bytes stack frame, 24 bytes spill stores, 40 bytes spill loads",
    ]
    assert spills("x.cu", lines) == ["x.cu: two on sm_90: 24 bytes spill stores"]
