"""Field values of one device: readings that NVML gives many of in one call."""

import ctypes
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from harness.measure.telemetry.calls import Calls, plain
from harness.measure.telemetry.query import Way, gone, later

FUNCTION = "nvmlDeviceGetFieldValues"
ALL_LINKS = 0xFFFFFFFF
"""Scope of an NVLink field: the sum over all links."""
WIDTHS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
"""Members of nvmlValue_t, by nvmlValueType_t."""


class Fields:
    """Fields that are asked for together; one that is refused is not asked for again."""

    def __init__(self, calls: Calls, constants: Mapping[str, str]) -> None:
        """Ask for these.

        Args:
            calls: of the device.
            constants: the binding's name of each field; those that it does not know are left out.
        """
        self.nvml, self.handle = calls.nvml, calls.handle
        self.call = getattr(calls.library, FUNCTION, None)
        self.constants = constants
        self.later, self.gone = later(self.nvml), gone(self.nvml)
        self.found: dict[str, float] = {}
        """What was read last."""
        self.codes: dict[str, int] = {}
        """NVML's code for each field that was not found; of one that nobody asked for, that it is not supported."""
        self.keep(name for name, constant in constants.items() if hasattr(self.nvml, constant))

    def keep(self, names: Iterable[str]) -> None:
        """Ask for these from now on, and for no others."""
        asked = list(names)
        values = (plain(self.nvml.c_nvmlFieldValue_t) * len(asked))()
        for name, value in zip(asked, values, strict=True):
            value.fieldId = getattr(self.nvml, self.constants[name])
            value.scopeId = ALL_LINKS if name.startswith("nvlink") else 0
        self.slots = [(name, value, value.value) for name, value in zip(asked, values, strict=True)]
        self.ask: Callable[[], int] = partial(
            self.call or self.missing, self.handle, ctypes.c_int(len(asked)), ctypes.byref(values)
        )

    def missing(self, *_: Any) -> int:
        """What stands for a function that the driver does not have."""
        return int(self.nvml.NVML_ERROR_FUNCTION_NOT_FOUND)

    def forget(self, name: str) -> None:
        """Ask for one field no longer."""
        self.keep(each for each, _, _ in self.slots if each != name)

    def query(self) -> list[Way]:
        """The way that asks for all of them; each is found by its own."""
        return [(FUNCTION, self.read)]

    def way(self, name: str) -> Way:
        """The way to one field among those that were read last."""

        def find() -> float:
            value = self.found.get(name)
            if value is None:
                raise self.nvml.NVMLError(self.codes.get(name, self.nvml.NVML_ERROR_NOT_SUPPORTED))
            return value

        return self.constants[name], find

    def read(self) -> dict[str, float]:
        """Ask for all of them; refusals that say nothing about the next call are left at that.

        Raises:
            pynvml.NVMLError: the call is refused, or the device is gone.
        """
        self.found, self.codes = {}, {}
        if self.slots and (code := self.ask()):
            self.codes = dict.fromkeys(self.constants, code)
            raise self.nvml.NVMLError(code)
        for name, slot, value in self.slots:
            if code := slot.nvmlReturn:
                self.codes[name] = code
            else:
                self.found[name] = getattr(value, WIDTHS[slot.valueType])
        if self.codes:
            self.sort_out()
        return self.found

    def sort_out(self) -> None:
        """Drop the fields that are refused for good.

        Raises:
            pynvml.NVMLError: the device is gone.
        """
        for code in self.gone.intersection(self.codes.values()):
            raise self.nvml.NVMLError(code)
        refused = {name for name, code in self.codes.items() if code not in self.later}
        if refused:
            self.keep(name for name, _, _ in self.slots if name not in refused)
