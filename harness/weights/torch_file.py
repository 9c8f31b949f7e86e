"""The two containers of `torch.save`, read without torch: the zip archive of 1.6 and later, and the older stream."""

import io
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from harness.errors import WeightsError
from harness.weights.pickled import Storage, StridedTensor, unpickle
from harness.weights.tensors import Tensors, from_bytes, value_size

WRAPPERS = ("state_dict_ema", "model", "state_dict")
"""Entries of a checkpoint that may hold its state dict; the averaged one of a training is the one to evaluate."""

_Opened = tuple[Any, Callable[[Storage], NDArray[Any]]]
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_MOST_DIMENSIONS = 8
_BIG_ENDIAN = "was written on a big-endian machine; save it anew on a little-endian one"
_NO_STATE = "holds no state dict; a mapping of names to tensors is needed"


@dataclass(frozen=True, slots=True)
class Saved:
    """What torch.save wrote."""

    tensors: Tensors
    types: Mapping[str, str]
    """Of the values of each tensor in the file."""
    container: str
    """`zip` or `legacy`."""
    entry: str | None
    """The entry of a checkpoint that held the tensors."""


def read_torch(path: Path) -> Saved:
    """Read a state dict, or the one within a checkpoint.

    Raises:
        WeightsError: the file is damaged, or holds anything but tensors and plain values.
        OSError: it cannot be read.
    """
    kind = "zip" if zipfile.is_zipfile(path) else "legacy"
    storages: dict[str, NDArray[Any]] = {}
    tensors = {}
    with _open_archive(path) if kind == "zip" else _open_stream(path) as (value, fetch):
        state, entry = _state_dict(value)
        for name, tensor in state.items():
            key = tensor.storage.key
            if key not in storages:
                storages[key] = fetch(tensor.storage)
            tensors[name] = _window(name, tensor, storages[key])
    types = {name: tensor.storage.dtype for name, tensor in state.items()}
    return Saved(tensors, types, kind, entry)


def _state_dict(value: Any) -> tuple[Mapping[str, StridedTensor], str | None]:
    entry = None
    for name in WRAPPERS:
        if isinstance(value, dict) and isinstance(value.get(name), dict):
            value, entry = value[name], name
            break
    if not isinstance(value, dict) or not value:
        raise WeightsError(_NO_STATE)
    for key, found in value.items():
        if not isinstance(key, str) or not isinstance(found, StridedTensor):
            raise WeightsError(f"{_NO_STATE}, {key!r} is a {type(found).__name__}")
    return value, entry


def _window(name: str, tensor: StridedTensor, storage: NDArray[Any]) -> NDArray[Any]:
    """The tensor in C order; a view of its storage where that is so already."""
    shape, strides, offset = tensor.shape, tensor.strides, tensor.offset
    count = math.prod(shape)
    end = offset + 1 + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=False)) if count else 0
    if len(shape) != len(strides) or len(shape) > _MOST_DIMENSIONS or max(end, count) > len(storage):
        raise WeightsError(f"is damaged: tensor {name!r} of shape {shape} leaves its storage of {len(storage)} values")
    if not count:
        return np.zeros(shape, storage.dtype)
    view = as_strided(storage[offset:], shape, [stride * storage.itemsize for stride in strides])
    return np.asarray(view, order="C")


@contextmanager
def _open_archive(path: Path) -> Iterator[_Opened]:
    """The pickled value of a zip archive, and what fetches a storage from it."""
    try:
        with zipfile.ZipFile(path) as file:
            archive = _Archive(file, path.stat().st_size)
            yield archive.value(), archive.fetch
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, UnicodeDecodeError) as error:
        raise WeightsError(f"is a damaged or cut zip archive: {error}") from error


class _Archive:
    """A zip archive of torch.save."""

    def __init__(self, file: zipfile.ZipFile, size: int) -> None:
        self.file, self.size = file, size
        self.members = {info.filename: info for info in file.infolist()}
        pickles = [name for name in self.members if name.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise WeightsError("is a zip archive without torch's data.pkl; a file of torch.save is needed")
        self.root = pickles[0].removesuffix("data.pkl")

    def value(self) -> Any:
        """What was pickled."""
        if f"{self.root}byteorder" in self.members and self.read("byteorder") != b"little":
            raise WeightsError(_BIG_ENDIAN)
        return unpickle(io.BytesIO(self.read("data.pkl")))

    def fetch(self, storage: Storage) -> NDArray[Any]:
        """The values of a storage."""
        wanted = storage.values * value_size(storage.dtype)
        info = self.members.get(f"{self.root}data/{storage.key}")
        if info is None or info.file_size != wanted:
            found = "is missing" if info is None else f"has {info.file_size} bytes"
            raise WeightsError(f"is damaged: storage {storage.key!r} {found}; {wanted} bytes are needed")
        return from_bytes(self.read(f"data/{storage.key}"), storage.dtype)

    def read(self, name: str) -> bytes:
        """One member; torch stores members plain, so that none can be larger than the file."""
        info = self.members[self.root + name]
        if info.compress_type != zipfile.ZIP_STORED or info.file_size > self.size:
            raise WeightsError(f"has the compressed member {info.filename!r}; torch.save stores members plain")
        data = self.file.read(info)
        if len(data) != info.file_size:
            raise WeightsError(f"is cut within the member {info.filename!r}")
        return data


@contextmanager
def _open_stream(path: Path) -> Iterator[_Opened]:
    """The pickled value of the format before torch 1.6, and what fetches a storage: pickles, then raw storages."""
    stream = io.BytesIO(path.read_bytes())
    if stream.getvalue()[:1] != b"\x80":
        raise WeightsError("cannot be read as tensors: it is neither safetensors nor a file of torch.save")
    if (unpickle(stream), unpickle(stream)) != (_MAGIC, _PROTOCOL):
        raise WeightsError("cannot be read as tensors: it is a pickle but no file of torch.save")
    machine = unpickle(stream)
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise WeightsError(_BIG_ENDIAN)
    value, keys = unpickle(stream), unpickle(stream)
    if not isinstance(keys, list):
        raise WeightsError("is damaged: it has no list of storages")
    places = _places(stream, keys, {tensor.storage.key: tensor.storage for tensor in _tensors(value)})
    yield value, lambda storage: _slice(stream, places, storage)


def _places(stream: io.BytesIO, keys: list[Any], storages: Mapping[str, Storage]) -> Mapping[str, int]:
    """Where each storage begins: one after the other, each after its number of values."""
    places: dict[str, int] = {}
    for key in keys:
        if not isinstance(key, str) or key not in storages:
            raise WeightsError(f"is damaged: its storage number {len(places)} belongs to no tensor")
        values = storages[key].values
        if int.from_bytes(stream.read(8), "little") != values:
            raise WeightsError(f"is damaged or cut: storage {key!r} has not the {values} values of its tensors")
        places[key] = stream.tell()
        stream.seek(values * value_size(storages[key].dtype), io.SEEK_CUR)
    return places


def _slice(stream: io.BytesIO, places: Mapping[str, int], storage: Storage) -> NDArray[Any]:
    wanted = storage.values * value_size(storage.dtype)
    if storage.key in places:
        stream.seek(places[storage.key])
        data = stream.read(wanted)
        if len(data) == wanted:
            return from_bytes(data, storage.dtype)
    raise WeightsError(f"is cut within the storage {storage.key!r}; {wanted} bytes are needed")


def _tensors(value: Any) -> Iterator[StridedTensor]:
    """Every tensor within nested mappings and lists, each container once."""
    waiting, seen = [value], set()
    while waiting:
        found = waiting.pop()
        if isinstance(found, StridedTensor):
            yield found
        elif isinstance(found, dict | list | tuple) and id(found) not in seen:
            seen.add(id(found))
            waiting += found.values() if isinstance(found, dict) else found
