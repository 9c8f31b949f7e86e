"""Out-of-memory errors, and waiting for a device that is done already."""

import pytest
import torch

from backends.torch_impl.device import device_name, memory_errors, synchronize
from harness.api import DeviceOutOfMemoryError

pytestmark = pytest.mark.torch
CPU = torch.device("cpu")


def test_an_allocation_that_cannot_be_had_is_out_of_memory():
    """What torch's CPU allocator refuses becomes the harness's error, on one line."""
    with pytest.raises(DeviceOutOfMemoryError, match=r"allocate memory|not enough memory") as caught, memory_errors():
        torch.empty(1 << 60, dtype=torch.uint8)
    assert "\n" not in str(caught.value)


def test_cuda_out_of_memory_is_the_same_error():
    """Torch's CUDA error becomes the harness's, its first line kept."""
    with pytest.raises(DeviceOutOfMemoryError, match=r"^tried to allocate 20 GiB$"), memory_errors():
        raise torch.OutOfMemoryError("tried to allocate 20 GiB\nmore advice")


def test_other_errors_stay_what_they_are():
    """A shape error is no lack of memory."""
    with pytest.raises(RuntimeError, match="must match"), memory_errors():
        torch.ones(2) + torch.ones(3)


def test_the_cpu_needs_no_waiting():
    """On the CPU a result is there when its call returns, and the device is called cpu."""
    synchronize(CPU)
    assert device_name(CPU) == "cpu"
