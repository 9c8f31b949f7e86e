"""The C functions' arguments, read from their headers, so that they stand in one place."""

import ctypes
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from harness.errors import KernelError
from harness.kernels.sources import headers

_DECLARATION = re.compile(r"KERNEL_API\s+(?P<result>[^;{}]*?)\s*KERNEL\((?P<name>\w+)\)\((?P<arguments>[^)]*)\);")
HOST = "KERNEL_HOST"
_TYPES: dict[str, Any] = {
    "int": ctypes.c_int,
    "int32_t": ctypes.c_int32,
    "int64_t": ctypes.c_int64,
    "float": ctypes.c_float,
    "double": ctypes.c_double,
    "const char*": ctypes.c_char_p,
}


@dataclass(frozen=True, slots=True)
class Prototype:
    """How a C function is called."""

    name: str
    result: Any
    """A ctypes type."""
    arguments: tuple[tuple[str, Any], ...]
    """Names and ctypes types; every pointer is a void pointer."""
    host: frozenset[str]
    """Arguments that are pointers to host memory on a device too."""


@cache
def prototypes() -> dict[str, Prototype]:
    """Every function that the headers declare, by name without prefix.

    Raises:
        KernelError: a declaration uses a type that is not known here.
    """
    found = {}
    for header in headers():
        text = re.sub(r"//[^\n]*", "", header.read_text())
        for match in _DECLARATION.finditer(text):
            parts = match["arguments"].split(",")
            arguments = tuple((_name(part), _type(_kind(part), header.name)) for part in parts)
            host = frozenset(_name(part) for part in parts if HOST in part.split() or "* const*" in part)
            found[match["name"]] = Prototype(match["name"], _type(match["result"], header.name), arguments, host)
    return found


def _name(argument: str) -> str:
    return argument.rsplit(maxsplit=1)[-1]


def _kind(argument: str) -> str:
    return " ".join(word for word in argument.split()[:-1] if word != HOST)


def _type(text: str, header: str) -> Any:
    if text in _TYPES:
        return _TYPES[text]
    if text.endswith(("*", "* const")):
        return ctypes.c_void_p
    raise KernelError(f"{header} declares an argument of type {text!r}; known are {', '.join(_TYPES)} and pointers")
