"""The options that both TensorFlow backends have, and how a trial's are read; imports no framework."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from harness.api import Option, Trial, UnsupportedTrialError

RANDOM = "random"
"""Untrained weights have a name, so that a table says which figures are theirs."""

MACHINE = (
    Option(
        name="half",
        type="str",
        default="auto",
        choices=("auto", "fp16", "bf16"),
        help="half type of precision amp; auto: fp16 with loss scaling on GPUs, bf16 on the CPU",
    ),
    Option(
        name="cpu_threads",
        type="int",
        default=None,
        minimum=1,
        help="threads that each rank computes with on the CPU; null: the cores shared by the ranks. Set it where ranks "
        "on the CPU are compared with each other, so that one rank has no more than each of two",
    ),
    Option(
        name="loader_threads",
        type="int",
        default=2,
        minimum=1,
        help="threads of each rank that decode and resize images",
    ),
    Option(
        name="prefetch_batches",
        type="int",
        default=2,
        minimum=1,
        help="batches of each rank that are made ahead of the device",
    ),
    Option(
        name="kernels",
        type="str",
        default="native",
        choices=("native", "framework"),
        help="of boxes, masks and focal loss: native, the harness's own C++ and CUDA, which XLA does not compile; "
        "framework, TensorFlow's operations. Where native cannot be had, the framework's run and the settings say why",
    ),
    Option(
        name="strict_kernels",
        type="bool",
        default=False,
        help="decline a trial whose native kernels cannot be had, instead of running the framework's",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineOptions:
    """How a rank computes and loads; `MACHINE` documents each field but the first two."""

    weights: str
    """A file, or `RANDOM`."""
    labels: Literal["contiguous", "ids"]
    half: Literal["auto", "fp16", "bf16"]
    cpu_threads: int | None
    loader_threads: int
    prefetch_batches: int
    kernels: Literal["native", "framework"]
    strict_kernels: bool


Kind = TypeVar("Kind", bound=MachineOptions)


def read_options(trial: Trial, backend: str, options: Sequence[Option], kind: type[Kind]) -> Kind:
    """Fill the defaults into a trial's options.

    Args:
        trial: whose.
        backend: its name.
        options: all that the backend has.
        kind: their typed form.

    Raises:
        UnsupportedTrialError: an option is not this backend's, or not one of its choices.
    """
    known = {option.name: option for option in options}
    values: dict[str, Any] = {name: option.default for name, option in known.items()}
    for name, value in trial.options.items():
        if name not in known:
            raise UnsupportedTrialError(f"option {name!r} is not known to {backend}; it has {', '.join(known)}")
        choices = known[name].choices
        if choices and value is not None and value not in choices:
            raise UnsupportedTrialError(
                f"option {name} is {value!r}; it would be one of {', '.join(map(str, choices))}"
            )
        values[name] = known[name].default if value is None else value
    return kind(**values)
