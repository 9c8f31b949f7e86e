"""The device of a rank: which one, its name, waiting for it, its clock, and its out-of-memory errors."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from harness.api import Context, DeviceClock, DeviceOutOfMemoryError, Trial, UnsupportedTrialError

_CPU_OUT_OF_MEMORY = ("not enough memory", "can't allocate memory", "Cannot allocate memory")


def device_of(trial: Trial, context: Context) -> torch.device:
    """Pick this rank's device and make it the current one.

    Raises:
        UnsupportedTrialError: the machine has no such device.
    """
    if trial.device == "cpu":
        return torch.device("cpu")
    found = torch.cuda.device_count()
    if context.local_rank >= found:
        raise UnsupportedTrialError(f"local rank {context.local_rank} needs its own CUDA device; torch finds {found}")
    device = torch.device("cuda", context.local_rank)
    torch.cuda.set_device(device)
    return device


def device_name(device: torch.device) -> str:
    """Name the device as its maker does; the CPU is the machine's business and is called cpu."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def synchronize(device: torch.device) -> None:
    """Wait for the device; on the CPU every torch operation has finished when its call returns."""
    if device.type == "cuda":
        with memory_errors():
            torch.cuda.synchronize(device)


class CudaClock:
    """CUDA events that carry a time, in the current stream of the current device."""

    def mark(self) -> torch.cuda.Event:
        """Record an event behind all that was handed to the stream; returns at once."""
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def elapsed_ms(self, start: torch.cuda.Event, end: torch.cuda.Event) -> float:
        """Milliseconds between two events that have passed, to about half a microsecond."""
        return float(start.elapsed_time(end))


def clock_of(device: torch.device) -> DeviceClock | None:
    """The clock of a CUDA device; on the CPU the host's is the only one."""
    return CudaClock() if device.type == "cuda" else None


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn torch's out-of-memory errors, CUDA's and the CPU allocator's, into the harness's.

    Raises:
        DeviceOutOfMemoryError: torch could not allocate; the message is the first line of torch's.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceOutOfMemoryError(_first_line(error)) from error
    except RuntimeError as error:
        if any(phrase in str(error) for phrase in _CPU_OUT_OF_MEMORY):
            raise DeviceOutOfMemoryError(_first_line(error)) from error
        raise


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0].strip()
