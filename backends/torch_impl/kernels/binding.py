"""How operations call the library of their tensors' device: by addresses, through ctypes.

The library knows no framework, so that one serves both. A compiled extension on torch's stable C++ interface would
take 4 µs a call instead of 10; none of these operations takes less than ten times that at the sizes of a model, and so
much is not worth a library for every version of torch.
"""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.library import define, impl, register_fake

from harness.kernels import Library, load


def operation(name: str, schema: str, fake: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """Register a function as `torch.ops.detection.<name>` for the CPU and for CUDA; it changes none of its inputs.

    Args:
        name: of the operation.
        schema: its arguments and results.
        fake: makes results of the right shapes and types, without values, for torch.compile.
    """

    def register(function: Callable[..., Any]) -> Any:
        full_name = f"detection::{name}"
        define(full_name, schema, tags=(torch.Tag.pt2_compliant_tag,))
        impl(full_name, ("cpu", "cuda"), function)
        register_fake(full_name, fake)
        return getattr(torch.ops.detection, name).default

    return register


def call(name: str, device: torch.device, *arguments: Any) -> None:
    """Run a kernel on tensors of a device, in its current stream.

    Args:
        name: of the operation, without prefix.
        device: of all tensors.
        arguments: of the C function, but for the stream: dense tensors go by their address, lists of tensors as host
            arrays of addresses, arrays of ctypes as they are.

    Raises:
        KernelError: the library cannot be had, or the kernel fails.
    """
    passed = [_passed(argument) for argument in arguments]
    if device.type == "cuda":
        with torch.cuda.device(device):
            load("cuda").run(name, *passed, torch.cuda.current_stream(device).cuda_stream)
    else:
        _on_cpu().run(name, *passed, None)


def workspace(name: str, device: torch.device, *sizes: int) -> Tensor:
    """The scratch memory that an operation wants, uint8."""
    return torch.empty(library(device).size(name, *sizes), dtype=torch.uint8, device=device)


def library(device: torch.device) -> Library:
    """The library of a device.

    Raises:
        KernelError: it cannot be built or loaded.
    """
    return load("cuda" if device.type == "cuda" else "cpu")


def dense(tensor: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """The tensor in row-major order.

    Raises:
        TypeError: its values are of another type.
    """
    if tensor.dtype != dtype:
        raise TypeError(f"a kernel was given {tensor.dtype} of shape {tuple(tensor.shape)}; it would be {dtype}")
    return tensor.contiguous()


def host_int64(values: Sequence[int]) -> Any:
    """A host array of int64."""
    return (ctypes.c_int64 * max(1, len(values)))(*values)


def host_float64(values: Sequence[float]) -> Any:
    """A host array of float64."""
    return (ctypes.c_double * max(1, len(values)))(*values)


def _passed(argument: Any) -> Any:
    if isinstance(argument, Tensor):
        return argument.data_ptr()
    if isinstance(argument, list):
        return (ctypes.c_void_p * max(1, len(argument)))(*(tensor.data_ptr() for tensor in argument))
    return argument


def _on_cpu() -> Library:
    """The CPU's library, which computes with as many threads as torch."""
    found = load("cpu")
    found.set_threads(torch.get_num_threads())
    return found
