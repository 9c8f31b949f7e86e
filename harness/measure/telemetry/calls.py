"""NVML's calls, made ready once: building their arguments anew for each, as the binding does, costs more than they do.

Structures, constants and errors are the binding's; only what is read all the time goes past its functions.
"""

import ctypes
from functools import partial
from types import ModuleType
from typing import Any

from harness.measure.telemetry.query import Way


def plain(structure: Any) -> Any:
    """The binding's structure without the Python that the binding runs at each look at a member."""
    return type(structure.__name__, (ctypes.Structure,), {"_fields_": structure._fields_})


class Calls:
    """Ready calls on one device."""

    def __init__(self, nvml: ModuleType, library: ctypes.CDLL, handle: Any) -> None:
        self.nvml, self.library, self.handle = nvml, library, handle

    def number(self, function: str, width: Any, *arguments: int) -> list[Way]:
        """The way through a function that answers by one number; none where the driver does not have it."""
        return self.ready(function, width(), "value", arguments)

    def member(self, function: str, structure: str, member: str, **given: str | int) -> list[Way]:
        """The way through a function that fills a structure of which one member is wanted.

        Args:
            function: its name in the library; no way where the driver does not have it.
            structure: its name in the binding; no way where the binding does not have it.
            member: the wanted one.
            given: what the structure must hold before; a name stands for the binding's constant.
        """
        described = getattr(self.nvml, structure, None)
        if described is None:
            return []
        filled = {name: getattr(self.nvml, value) if isinstance(value, str) else value for name, value in given.items()}
        return self.ready(function, plain(described)(**filled), member)

    def ready(self, function: str, answer: Any, member: str, arguments: tuple[int, ...] = ()) -> list[Way]:
        """The way through a function that writes where its last argument points."""
        call = getattr(self.library, function, None)
        if call is None:
            return []
        ask = partial(call, self.handle, *map(ctypes.c_uint, arguments), ctypes.byref(answer))
        error = self.nvml.NVMLError

        def read() -> Any:
            if code := ask():
                raise error(code)
            return getattr(answer, member)

        return [(function, read)]
