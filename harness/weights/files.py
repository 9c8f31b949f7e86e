"""Reading and writing files of weights; nothing that a file holds is ever run."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray

from harness.errors import WeightsError
from harness.weights.tensors import SAFETENSORS_TYPES, Tensors, from_bytes
from harness.weights.torch_file import read_torch

SUFFIX = ".safetensors"
_SHORT = {name: short for short, name in SAFETENSORS_TYPES.items()}
_ALIGNMENT = 8


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file holds."""

    tensors: Tensors
    """By the names of the file; bfloat16 is widened to float32."""
    types: Mapping[str, str]
    """Of the values of each tensor in the file."""
    metadata: Mapping[str, str]
    """Of a safetensors file."""
    container: str
    """`safetensors`, `torch zip` or `torch legacy`."""
    entry: str | None
    """The entry of a torch checkpoint that the tensors were in, if it had one."""


def read_contents(path: Path) -> Contents:
    """Read a safetensors file, or a state dict of `torch.save`, by what the file is and not by its name.

    Raises:
        WeightsError: it is neither, is damaged, or wants code to be run; one line that names the file.
    """
    try:
        with path.open("rb") as file:
            head = file.read(9)
        if head[8:] == b"{":
            return _read_safetensors(path)
        saved = read_torch(path)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from error
    except WeightsError as error:
        raise WeightsError(f"{path} {error}") from error
    except MemoryError as error:
        raise WeightsError(f"{path} does not fit into memory") from error
    return Contents(saved.tensors, saved.types, {}, f"torch {saved.container}", saved.entry)


def read_tensors(path: Path) -> Tensors:
    """The tensors of a file by the names it has for them, see `read_contents`.

    Raises:
        WeightsError: it cannot be read.
    """
    return read_contents(path).tensors


def _read_safetensors(path: Path) -> Contents:
    data = path.read_bytes()
    try:
        found = safetensors.deserialize(data)  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError as error:
        raise WeightsError(f"is no whole safetensors file: {str(error).partition(chr(10))[0]}") from error
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    tensors = {name: _array(name, part) for name, part in found}
    types = {name: SAFETENSORS_TYPES[part["dtype"]] for name, part in found}
    return Contents(tensors, types, header.get("__metadata__", {}), "safetensors", None)


def _array(name: str, part: Mapping[str, Any]) -> NDArray[Any]:
    dtype = SAFETENSORS_TYPES.get(part["dtype"])
    if dtype is None:
        raise WeightsError(f"holds {name!r} as {part['dtype']}; one of {', '.join(SAFETENSORS_TYPES)} is needed")
    return from_bytes(part["data"], dtype).reshape(part["shape"])


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, whole or not at all; the same tensors give the same bytes.

    The library's own writer orders metadata anew in every process, so that a checksum would say nothing.

    Raises:
        WeightsError: it cannot be written; what was there is untouched.
    """
    if path.suffix != SUFFIX:
        raise WeightsError(f"{path} does not end in {SUFFIX}, the one format that is written")
    header = _header(tensors, metadata)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with aside.open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            for name in _order(tensors):
                file.write(np.asarray(tensors[name], order="C").tobytes())
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise WeightsError(f"cannot write {path}: {error.strerror}") from error
    finally:
        aside.unlink(missing_ok=True)


def _order(tensors: Mapping[str, NDArray[Any]]) -> list[str]:
    """The widest values first, which keeps every tensor aligned, then by name."""
    return sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))


def _header(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    entries: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    at = 0
    for name in _order(tensors):
        array = tensors[name]
        if array.dtype.name not in _SHORT or not array.dtype.isnative:
            raise WeightsError(f"{name!r} is {array.dtype}; one of {', '.join(_SHORT)} is needed")
        entries[name] = {
            "dtype": _SHORT[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [at, at + array.nbytes],
        }
        at += array.nbytes
    text = json.dumps(entries, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % _ALIGNMENT)
