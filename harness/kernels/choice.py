"""Which kernels a trial runs on, and in what words its record says so."""

from dataclasses import dataclass
from typing import Literal

from harness.errors import KernelError
from harness.kernels.library import Library, load

Asked = Literal["native", "framework"]
FRAMEWORK = "framework"


@dataclass(frozen=True, slots=True)
class Choice:
    """Native kernels, or the framework's own operations."""

    library: Library | None
    """None: the framework's own."""
    words: str
    """`native (cpu)`, `framework` where that was asked for, `framework instead of native: reason` where it was not."""


def choose(asked: Asked, target: Literal["cpu", "cuda"], *, strict: bool, unavailable: str | None = None) -> Choice:
    """Load the kernels that a trial asks for, or say why its framework's own operations run in their place.

    Args:
        asked: the trial's option `kernels`.
        target: where it computes.
        strict: the trial's option `strict_kernels`: no other path than the one asked for.
        unavailable: why this backend cannot use native kernels in this trial, if it cannot.

    Raises:
        KernelError: native kernels cannot be had, and `strict`.
    """
    if asked == FRAMEWORK:
        return Choice(None, FRAMEWORK)
    library, reason = (None, unavailable) if unavailable else _loaded(target)
    if library is not None:
        return Choice(library, f"native ({target})")
    if strict:
        raise KernelError(f"strict_kernels is true and native kernels cannot be had: {reason}")
    return Choice(None, f"{FRAMEWORK} instead of native: {reason}")


def _loaded(target: Literal["cpu", "cuda"]) -> tuple[Library | None, str]:
    try:
        return load(target), ""
    except KernelError as error:
        return None, str(error)
