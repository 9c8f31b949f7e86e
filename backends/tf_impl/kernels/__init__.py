"""The operations that native kernels do, and how a session gets them: natively or in plain TensorFlow.

`framework` holds the twins in plain TensorFlow, `native` the same functions on compiled operations, `rules`,
`levels` and `outlines` what they take, `protocol` what both can do. `choose_kernels` gives a session one of the two.
"""

from typing import Protocol

from backends.tf_impl.device import Device, thread_count
from backends.tf_impl.kernels import framework, native
from backends.tf_impl.kernels.levels import Grid, Level, Selected
from backends.tf_impl.kernels.outlines import Outlines, Runs, Target
from backends.tf_impl.kernels.protocol import Kernels
from backends.tf_impl.kernels.rules import Focal, Pooling, Selection, SoftSuppression, Suppression, Thresholds
from harness.kernels import Choice, KernelError, choose, load
from harness.kernels.choice import Asked

__all__ = [
    "Asks",
    "Focal",
    "Grid",
    "Kernels",
    "Level",
    "Outlines",
    "Pooling",
    "Runs",
    "Selected",
    "Selection",
    "SoftSuppression",
    "Suppression",
    "Target",
    "Thresholds",
    "choose_kernels",
]

UNDER_XLA = "XLA compiles no custom operation"


class Asks(Protocol):
    """Options that say which kernels a trial wants."""

    @property
    def kernels(self) -> Asked:
        """`native` or `framework`."""

    @property
    def strict_kernels(self) -> bool:
        """No other path than the one asked for."""


def choose_kernels(options: Asks, device: Device, *, xla: bool) -> tuple[Kernels, str]:
    """The kernels that a trial asks for, or plain TensorFlow in their place; and in words which they are.

    Native CPU kernels then use as many threads as TensorFlow gives each operation.

    Args:
        options: of the trial.
        device: where it computes.
        xla: its functions are compiled by XLA.

    Raises:
        KernelError: native kernels cannot be had, and the trial is strict about it.
    """
    choice = _choice(options, device, UNDER_XLA if xla else None)
    if choice.library is None:
        return framework, choice.words
    try:
        native.load(device.type)
    except KernelError as error:
        return framework, _choice(options, device, str(error)).words
    load("cpu").set_threads(thread_count())
    return native, choice.words


def _choice(options: Asks, device: Device, unavailable: str | None) -> Choice:
    return choose(options.kernels, device.type, strict=options.strict_kernels, unavailable=unavailable)
