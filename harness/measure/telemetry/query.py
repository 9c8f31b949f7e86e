"""One reading of NVML: what a driver, a device or the binding does not have is None, and costs nothing further."""

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

LATER = ("NVML_ERROR_TIMEOUT", "NVML_ERROR_NO_DATA", "NVML_ERROR_NOT_READY", "NVML_ERROR_IN_USE", "NVML_ERROR_UNKNOWN")
"""Refusals that say nothing about the next call."""

Way = tuple[str, Callable[[], Any]]


class LostError(Exception):
    """The device has fallen off the bus, or must be reset; its message is NVML's words."""


class Query:
    """One reading and the ways to it, the best first; a way that is refused is not tried again."""

    def __init__(self, nvml: ModuleType, ways: Sequence[Way]) -> None:
        self.nvml = nvml
        self.ways = list(ways)
        self.later = {getattr(nvml, name, None) for name in LATER}
        self.gone = {nvml.NVML_ERROR_GPU_IS_LOST, nvml.NVML_ERROR_RESET_REQUIRED}

    @property
    def source(self) -> str | None:
        """Name of the way in use; None where none is left."""
        return self.ways[0][0] if self.ways else None

    def read(self) -> Any | None:
        """The reading, or None.

        Raises:
            LostError: the device is gone.
        """
        while self.ways:
            try:
                value = self.ways[0][1]()
            except self.nvml.NVMLError as error:
                if error.value in self.gone:
                    raise LostError(str(error)) from error
                if error.value in self.later:
                    return None
            else:
                if value is not None:
                    return value
            del self.ways[0]
        return None
