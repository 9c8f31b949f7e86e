"""Calls of native kernels with NumPy arrays, on the CPU and on the emulated device in each order of threads.

With HARNESS_TEST_DEVICE=cuda the same tests run on a GPU instead (`make gpu-check`).
"""

import ctypes
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.kernels import Library, load
from harness.kernels.prototypes import prototypes


@dataclass(frozen=True)
class Runner:
    """One way of running the kernels."""

    name: str
    order: int | None = None
    """Of the emulated device's threads; None: the CPU's own bodies."""

    @property
    def library(self) -> Library:
        library = load("cpu" if self.order is None else "emulated")
        if self.order is not None:
            set_order = library.exported("emulated_set_order")
            set_order.argtypes = [ctypes.c_int32, ctypes.c_int64]
            set_order(self.order, 20)
        return library

    def run(self, name: str, *arguments: Any) -> None:
        """Call an operation; arrays go by their address, and lists of arrays as arrays of addresses."""
        kept: list[Any] = []
        self.library.run(name, *(passed(argument, kept) for argument in arguments), None)

    def size(self, name: str, *arguments: int) -> int:
        return self.library.size(name, *arguments)


class DeviceRunner(Runner):
    """The CUDA library on the first GPU: arrays are brought there before a call and back after it."""

    @property
    def library(self) -> Library:
        return load("cuda")

    def run(self, name: str, *arguments: Any) -> None:
        """Call an operation; PyTorch lends memory and stream."""
        import torch

        host = prototypes()[name].host
        names = [argument for argument, _ in prototypes()[name].arguments]
        moved: list[tuple[NDArray[Any], Any]] = []
        kept: list[Any] = []

        def address(array: NDArray[Any]) -> int:
            room = torch.empty(array.nbytes + 64, dtype=torch.uint8, device="cuda")
            start = array.ctypes.data % 64  # what is unaligned stays so
            part = room[start : start + array.nbytes]
            part.copy_(torch.from_numpy(np.frombuffer(array.tobytes(), np.uint8).copy()))
            moved.append((array, part))
            return int(part.data_ptr())

        def on_device(argument: Any, where: str) -> Any:
            if isinstance(argument, np.ndarray):
                return argument.ctypes.data if where in host else address(argument)
            if isinstance(argument, (list, tuple)):
                addresses = (ctypes.c_void_p * max(1, len(argument)))(*map(address, argument))
                kept.append(addresses)
                return ctypes.addressof(addresses)
            return argument

        values = [on_device(argument, where) for argument, where in zip(arguments, names, strict=False)]
        self.library.run(name, *values, torch.cuda.current_stream().cuda_stream)
        for array, part in moved:
            array.flat = np.frombuffer(part.cpu().numpy().tobytes(), array.dtype)


ON_THE_HOST = (Runner("cpu"), Runner("forward", 0), Runner("reverse", 1), Runner("random", 2))
RUNNERS = (DeviceRunner("cuda"),) if os.environ.get("HARNESS_TEST_DEVICE") == "cuda" else ON_THE_HOST


def passed(argument: Any, kept: list[Any]) -> Any:
    """What ctypes is given for an argument; what has to outlive the call is kept."""
    if isinstance(argument, np.ndarray):
        assert argument.flags.c_contiguous or argument.size == 0
        return argument.ctypes.data
    if isinstance(argument, (list, tuple)):
        addresses = (ctypes.c_void_p * max(1, len(argument)))(*(array.ctypes.data for array in argument))
        kept.append(addresses)
        return ctypes.addressof(addresses)
    return argument


def unaligned(array: NDArray[Any]) -> NDArray[Any]:
    """A copy whose first value stands one element behind an aligned address."""
    room = np.empty(array.size + 65, array.dtype)
    start = next(i for i in range(65) if (room.ctypes.data + i * array.itemsize) % 64 == array.itemsize % 64)
    view = room[start : start + array.size].reshape(array.shape)
    view[...] = array
    return view


def clustered_boxes(rng: np.random.Generator, count: int, *, side: float = 800.0, centres: int = 40) -> NDArray[Any]:
    """Boxes as detectors propose them: many about each of a few objects; float32 [count, 4]."""
    middle_N2 = rng.uniform(0, side, (centres, 2))[rng.integers(centres, size=count)] + rng.normal(0, 6, (count, 2))
    half_N2 = np.exp(rng.normal(3.5, 0.6, (centres, 2)))[rng.integers(centres, size=count)] * rng.uniform(
        0.7, 1.4, (count, 2)
    )
    return np.concatenate((middle_N2 - half_N2, middle_N2 + half_N2), axis=1).astype(np.float32)


SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-38, 1e-45, 1e30, 3e38, float("inf"), float("-inf"), float("nan"))
COORDINATES = st.one_of(st.sampled_from(SPECIAL), st.floats(-50, 50, width=32), st.integers(-3, 12).map(float))


@st.composite
def box_arrays(draw: Any, counts: Sequence[int] = (0, 1, 2, 3, 31, 32, 33, 65, 129)) -> NDArray[np.float32]:
    """Boxes of every kind, degenerate and broken ones too, in numbers about the edges of blocks; float32 [N, 4]."""
    count = draw(st.sampled_from(counts))
    few = draw(st.lists(st.tuples(*[COORDINATES] * 4), min_size=1, max_size=12))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    boxes = np.array(few, dtype=np.float32)[rng.integers(len(few), size=count)]
    plain = clustered_boxes(rng, count, side=60.0, centres=4)
    return np.where(rng.random((count, 1)) < draw(st.sampled_from((0.0, 0.3, 1.0))), boxes, plain).astype(np.float32)
