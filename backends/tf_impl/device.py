"""The device of a rank: which one, its name, its threads, waiting for it, and its out-of-memory errors."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import tensorflow as tf

from harness.api import Context, DeviceOutOfMemoryError, Trial, UnsupportedTrialError

THREADS_VARIABLE = "OMP_NUM_THREADS"
"""What the launcher says of a rank's share of the cores; TensorFlow itself does not read it."""

_OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "Out of memory", "out of memory", "failed to allocate memory")


@dataclass(frozen=True, slots=True)
class Device:
    """Where a rank computes; TensorFlow sees this device and no other accelerator."""

    type: Literal["cpu", "cuda"]
    index: int = 0

    @property
    def name(self) -> str:
        """What error messages call it: `cpu`, `cuda:0`."""
        return self.type if self.type == "cpu" else f"{self.type}:{self.index}"


def device_of(trial: Trial, context: Context) -> Device:
    """Pick this rank's device and hide the other accelerators; before TensorFlow's first operation in the process.

    Raises:
        UnsupportedTrialError: the machine has no such device, or TensorFlow already runs on another one.
    """
    if trial.device == "cpu":
        _show([])
        return Device("cpu")
    found = tf.config.list_physical_devices("GPU")
    if context.local_rank >= len(found):
        raise UnsupportedTrialError(
            f"local rank {context.local_rank} needs its own CUDA device; tensorflow finds {len(found)}"
        )
    _show([found[context.local_rank]])
    tf.config.experimental.set_memory_growth(found[context.local_rank], True)
    return Device("cuda", context.local_rank)


def _show(gpus: list[tf.config.PhysicalDevice]) -> None:
    if tf.config.get_visible_devices("GPU") == gpus:
        return
    try:
        tf.config.set_visible_devices(gpus, "GPU")
    except RuntimeError as error:
        raise UnsupportedTrialError(f"tensorflow already runs on another device: {_first_line(error)}") from error


def compute_capability(device: Device) -> tuple[int, int]:
    """Of a CUDA device, such as (8, 0)."""
    major, minor = _details(device)["compute_capability"]
    return major, minor


def device_name(device: Device) -> str:
    """Name the device as its maker does; the CPU is the machine's business and is called cpu."""
    return str(_details(device).get("device_name", device.name)) if device.type == "cuda" else "cpu"


def _details(device: Device) -> dict[str, Any]:
    return dict(tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[device.index]))


def set_threads(threads: int | None) -> None:
    """Give each operation so many threads of the CPU; None: the launcher's share, or else all cores.

    Raises:
        UnsupportedTrialError: TensorFlow already runs with another number.
    """
    share = os.environ.get(THREADS_VARIABLE, "")
    wanted = threads or (int(share) if share.isdecimal() else 0)
    if not wanted or wanted == thread_count():
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(wanted)
    except RuntimeError as error:
        raise UnsupportedTrialError(
            f"cpu_threads is {wanted}; tensorflow already runs with {thread_count()} threads"
        ) from error


def thread_count() -> int:
    """Threads that an operation may use on the CPU."""
    chosen = tf.config.threading.get_intra_op_parallelism_threads()
    environment = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    return int(chosen or (environment if environment.isdecimal() else 0) or len(os.sched_getaffinity(0)))


def synchronize(device: Device) -> None:
    """Wait for the device; on the CPU every TensorFlow operation has finished when its call returns."""
    if device.type == "cuda":
        with memory_errors():
            tf.test.experimental.sync_devices()


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn TensorFlow's out-of-memory errors, the allocators' and XLA's, into the harness's.

    Raises:
        DeviceOutOfMemoryError: TensorFlow could not allocate; the message is the first line of TensorFlow's.
    """
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise DeviceOutOfMemoryError(_first_line(error)) from error
    except tf.errors.OpError as error:
        if any(phrase in str(error) for phrase in _OUT_OF_MEMORY):
            raise DeviceOutOfMemoryError(_first_line(error)) from error
        raise


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0].strip()
