"""One reading of NVML: what a driver, a device or the binding does not have is None, and costs nothing further."""

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

LATER = (
    *("NVML_ERROR_TIMEOUT", "NVML_ERROR_NO_DATA", "NVML_ERROR_NOT_READY", "NVML_ERROR_IN_USE", "NVML_ERROR_UNKNOWN"),
    "NVML_ERROR_INSUFFICIENT_SIZE",
)
"""Refusals that say nothing about the next call; the last is of a list that grew while it was asked for."""

Way = tuple[str, Callable[[], Any]]


class LostError(Exception):
    """The device has fallen off the bus, or must be reset; its message is NVML's words."""


def later(nvml: ModuleType) -> set[int]:
    """The codes of refusals after which the next call may do."""
    return {getattr(nvml, name) for name in LATER if hasattr(nvml, name)}


def gone(nvml: ModuleType) -> set[int]:
    """The codes that say that the device is lost."""
    return {nvml.NVML_ERROR_GPU_IS_LOST, nvml.NVML_ERROR_RESET_REQUIRED}


class Query:
    """One reading and the ways to it, the best first; a way that is refused is not tried again.

    The first way that answers is the only one from then on: two of them may mean different averages, and a series has
    one meaning.
    """

    def __init__(self, nvml: ModuleType, ways: Sequence[Way]) -> None:
        self.nvml = nvml
        self.ways = list(ways)
        self.later, self.gone = later(nvml), gone(nvml)
        self.source: str | None = None
        """Name of the way that answered; None where none has."""

    def read(self) -> Any | None:
        """The reading, or None.

        Raises:
            LostError: the device is gone.
        """
        while self.ways:
            name, way = self.ways[0]
            try:
                value = way()
            except self.nvml.NVMLError as error:
                if error.value in self.gone:
                    raise LostError(str(error)) from error
                if error.value in self.later:
                    return None
                del self.ways[0]
            else:
                if self.source is None:
                    self.source = name
                    del self.ways[1:]
                return value
        return None
