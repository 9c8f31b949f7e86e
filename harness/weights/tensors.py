"""Raw bytes and arrays: the types of values that files of weights hold."""

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import WeightsError

Tensors = dict[str, NDArray[Any]]
"""Tensors by name."""

BFLOAT16 = "bfloat16"
"""A type that numpy lacks: the upper half of a float32; its values are read as float32, which holds all of them."""

_NAMES = ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")
_SHORT = ("F64", "F32", "F16", "I64", "I32", "I16", "I8", "U8", "BOOL")
SAFETENSORS_TYPES = dict(zip(_SHORT, _NAMES, strict=True)) | {"BF16": BFLOAT16}
"""Types by their names in a safetensors file."""


def value_size(dtype: str) -> int:
    """Bytes of one value."""
    return 2 if dtype == BFLOAT16 else np.dtype(dtype).itemsize


def from_bytes(data: bytes | bytearray, dtype: str) -> NDArray[Any]:
    """A flat, writable array of little-endian values; bfloat16 becomes float32.

    Raises:
        WeightsError: the number of bytes is no multiple of a value's.
    """
    if sys.byteorder != "little":
        raise WeightsError("weights are read on little-endian machines only")
    if len(data) % value_size(dtype):
        raise WeightsError(f"{len(data)} bytes are no whole number of {dtype} values")
    if dtype == BFLOAT16:
        return (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(data if isinstance(data, bytearray) else bytearray(data), np.dtype(dtype))
