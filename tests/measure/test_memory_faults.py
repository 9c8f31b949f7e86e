"""A log that ends for want of memory is told from one that only speaks of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.memory_faults import Fault, faults, memory_cause

TRACEBACK = 'Traceback (most recent call last):\n  File "train.py", line 3, in step\n    loss = model(images)\n'
ASKED = "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.25 GiB"
SHAPE = "OOM when allocating tensor with shape[16,256,200,200] and type float"
TERMINATE = "terminate called after throwing an instance of '"
NCCL = """NCCL error in: /pytorch/NCCLUtils.cpp:77, unhandled cuda error, NCCL version 2.27
ncclUnhandledCudaError: Call to CUDA function failed.
Last error:
Cuda failure 2 'out of memory'"""
ALLOCATOR = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000000000000 bytes. Error code 12"

ENDS = [
    (f"{TRACEBACK}torch.OutOfMemoryError: {ASKED}", "cuda_memory"),
    (f"{TRACEBACK}torch.cuda.OutOfMemoryError: {ASKED}", "cuda_memory"),
    (f"{TRACEBACK}RuntimeError: {ASKED}", "cuda_memory"),
    (f"{TRACEBACK}torch.AcceleratorError: CUDA error: out of memory\nCUDA kernel errors might be", "cuda_memory"),
    (f"{TRACEBACK}RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`", "cuda_memory"),
    (f"{TRACEBACK}RuntimeError: cuDNN error: CUDNN_STATUS_ALLOC_FAILED", "cuda_memory"),
    (
        f"{TRACEBACK}torch.distributed.DistBackendError: {NCCL}",
        "cuda_memory",
    ),
    (
        f"{TERMINATE}thrust::system::system_error'\n  what():  free: cudaErrorMemoryAllocation: out of memory",
        "cuda_memory",
    ),
    (
        f"terminate called after throwing an instance of 'c10::OutOfMemoryError'\n  what():  {ASKED}\nframe #0: x",
        "cuda_memory",
    ),
    ("terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc", "process_memory"),
    (f"{TRACEBACK}MemoryError", "process_memory"),
    (f"{TRACEBACK}numpy._core._exceptions._ArrayMemoryError: Unable to allocate 8.00 TiB", "process_memory"),
    (f"{TRACEBACK}OSError: [Errno 12] Cannot allocate memory", "process_memory"),
    (
        f"{TRACEBACK}RuntimeError: [enforce fail at alloc_cpu.cpp:121] err == 0. {ALLOCATOR}",
        "process_memory",
    ),
    (f"{TRACEBACK}tensorflow.python.framework.errors_impl.ResourceExhaustedError: {SHAPE}", "tensorflow_memory"),
    (
        f"{TRACEBACK}tensorflow.python.framework.errors_impl.ResourceExhaustedError: Graph execution error:",
        "tensorflow_memory",
    ),
    (f"{TRACEBACK}jaxlib.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes", "tensorflow_memory"),
    (
        "F0101 10:00:00.1 77 gpu.cc:1] Check failed: s.ok() status: RESOURCE_EXHAUSTED: Failed to allocate request",
        "tensorflow_memory",
    ),
    (f"[rank1]: {TRACEBACK.replace(chr(10), chr(10) + '[rank1]: ')}torch.OutOfMemoryError: {ASKED}", "cuda_memory"),
]
OTHERS = [
    "WARNING: CUDA out of memory. Tried to allocate 20.00 MiB; trying a smaller block",
    "2026-01-01 10:00:00.0: W bfc_allocator.cc:1] Allocator (GPU_0_bfc) ran out of memory trying to allocate 2.00GiB",
    "2026-01-01 10:00:00.0: I gpu_driver.cc:1] failed to allocate 2.2KiB from device: CUDA_ERROR_OUT_OF_MEMORY",
    f"retrying after RuntimeError: {ASKED}",
    f"  what():  {ASKED}",
    "MemoryError",
    f"{TRACEBACK}ValueError: set max_split_size_mb to avoid CUDA out of memory",
    f"{TRACEBACK}RuntimeError: CUDA error: an illegal memory access was encountered",
    f"{TRACEBACK}tensorflow.python.framework.errors_impl.ResourceExhaustedError: /x/ckpt; No space left on device",
    f"{TRACEBACK}tensorflow.python.framework.errors_impl.ResourceExhaustedError: /x/a; Too many open files",
    "F0101 10:00:00.123456 77 tensor.cc:1] Check failed: dtype() == expected (1 vs. 2)",
    "terminate called after throwing an instance of 'std::runtime_error'\n  what():  ran out of memory cards",
]


def causes(log: str) -> list[str | None]:
    """What each end that a log tells of says about memory."""
    return [memory_cause(fault.type, fault.message) for fault in faults(log.splitlines())]


@pytest.mark.parametrize(("log", "cause"), ENDS)
def test_each_way_to_say_it_is_known(log: str, cause: str) -> None:
    """Of CUDA, cuBLAS, cuDNN, NCCL, PyTorch, TensorFlow, XLA, C++ and Python, among other lines."""
    assert causes(f"step 1\n{log}\n") == [cause]


@pytest.mark.parametrize("log", OTHERS)
def test_what_only_mentions_memory_is_none(log: str) -> None:
    """Warnings, statistics, advice, files and other errors."""
    assert [cause for cause in causes(f"step 1\n{log}\nstep 2\n") if cause] == []


def test_a_chain_of_exceptions_ends_with_the_last() -> None:
    """As Python prints one that was raised from another."""
    joint = "\nThe above exception was the direct cause of the following exception:\n\n"
    log = f"{TRACEBACK}RuntimeError: {ASKED}\n{joint}{TRACEBACK}ValueError: no: really"
    found = list(faults(log.splitlines()))
    assert found[-1] == Fault("traceback", "ValueError", "no: really")
    assert len(found) == 2


@given(
    st.lists(st.text(max_size=60) | st.sampled_from([*TRACEBACK.splitlines(), "terminate called after"]), max_size=30)
)
def test_any_log_can_be_read(lines: list[str]) -> None:
    """Whatever the workers printed."""
    assert all(fault.form in {"traceback", "terminate", "fatal"} for fault in faults(lines))
