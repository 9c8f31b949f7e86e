"""`tf.train.Example` to bytes and back: named lists of bytes, floats or integers in protocol buffers' wire format.

The three messages in use (Features, Feature, and a list) are written out here: the protobuf package is larger than all
that this room needs, its version is tied to TensorFlow's, and it would copy every image out of the mapped file where
here only its place is noted. Wire format: field keys and lengths are varints; lists of numbers may be packed or not.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
WIDTHS = {FIXED64: 8, FIXED32: 4}
BYTES_LIST, FLOAT_LIST, INT64_LIST = 1, 2, 3

Value = Sequence[bytes] | NDArray[np.float32] | NDArray[np.int64]


class Span(NamedTuple):
    """Where bytes stand in what was parsed."""

    start: int
    stop: int


Found = list[Span] | NDArray[np.float32] | NDArray[np.int64]


def encode(features: Mapping[str, Value]) -> bytes:
    """Write an Example; arrays of floats become float lists, arrays of integers int64 lists, all else bytes lists."""
    entries = (_field(1, _field(1, name.encode()) + _field(2, _list(value))) for name, value in features.items())
    return _field(1, b"".join(entries))


def _list(value: Value) -> bytes:
    if not isinstance(value, np.ndarray):
        return _field(BYTES_LIST, b"".join(_field(1, item) for item in value))
    if value.dtype.kind == "f":
        return _field(FLOAT_LIST, _field(1, value.astype("<f4").tobytes()))
    return _field(INT64_LIST, _field(1, b"".join(_varint(number % (1 << 64)) for number in value.tolist())))


def _field(number: int, data: bytes) -> bytes:
    return b"".join((_varint(number << 3 | BYTES), _varint(len(data)), data))


def _varint(number: int) -> bytes:
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def decode(data: memoryview) -> dict[str, Found]:
    """Read an Example; bytes come as their places in the data, numbers as arrays.

    Raises:
        ValueError: The data are no Example.
    """
    found: dict[str, Found] = {}
    for _, _, features in _fields(data, Span(0, len(data)), {1: (BYTES,)}):
        for _, _, entry in _fields(data, features, {1: (BYTES,)}):
            parts = {number: span for number, _, span in _fields(data, entry, {1: (BYTES,), 2: (BYTES,)})}
            name = str(data[slice(*parts.get(1, Span(0, 0)))], "utf-8")
            found[name] = _feature(data, parts.get(2, Span(0, 0)))
    return found


def _feature(data: memoryview, span: Span) -> Found:
    kinds = dict.fromkeys((BYTES_LIST, FLOAT_LIST, INT64_LIST), (BYTES,))
    value: Found = []
    for kind, _, content in _fields(data, span, kinds):
        if kind == BYTES_LIST:
            value = [item for _, _, item in _fields(data, content, {1: (BYTES,)})]
        elif kind == FLOAT_LIST:
            value = _joined((_floats(data, item) for _, _, item in _fields(data, content, {1: (BYTES, FIXED32)})), "f4")
        else:
            value = _joined(
                (_integers(data, item) for _, _, item in _fields(data, content, {1: (BYTES, VARINT)})), "i8"
            )
    return value


def _joined(parts: Iterable[NDArray[Any]], kind: str) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, kind), *parts])


def _floats(data: memoryview, span: Span) -> NDArray[np.float32]:
    return np.frombuffer(data[slice(*span)], dtype="<f4").astype(np.float32)


def _integers(data: memoryview, span: Span) -> NDArray[np.int64]:
    numbers, place = [], span.start
    while place < span.stop:
        number, place = _read_varint(data, place, span.stop)
        numbers.append(number)
    return np.array(numbers, dtype=np.uint64).astype(np.int64)  # negative numbers stand as their complement


def _fields(data: memoryview, span: Span, wanted: Mapping[int, tuple[int, ...]]) -> Iterator[tuple[int, int, Span]]:
    """Yield number, wire type and place of a message's wanted fields; others are skipped, as readers must."""
    place = span.start
    while place < span.stop:
        key, start = _read_varint(data, place, span.stop)
        number, wire = key >> 3, key & 7
        if wire == BYTES:
            length, start = _read_varint(data, start, span.stop)
            place = start + length
        elif wire == VARINT:
            _, place = _read_varint(data, start, span.stop)
        elif wire in WIDTHS:
            place = start + WIDTHS[wire]
        else:
            raise ValueError(f"wire type {wire}")
        if place > span.stop:
            raise ValueError(f"field {number} ends behind its message")
        if number in wanted:
            if wire not in wanted[number]:
                raise ValueError(f"field {number} has wire type {wire}")
            yield number, wire, Span(start, place)


def _read_varint(data: memoryview, place: int, stop: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if place >= stop:
            raise ValueError("a number is cut off")
        byte = data[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & 0xFFFF_FFFF_FFFF_FFFF, place
    raise ValueError("a number of more than 10 bytes")
