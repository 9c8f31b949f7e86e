"""TFRecord files: records one after the other, each with its length and two checksums; no framework.

A record is its length in 8 bytes, the masked CRC-32C of these, the data, and the masked CRC-32C of the data, all little
endian (the framing of TensorFlow's `core/lib/io/record_writer`). Finding the records reads the heads alone: a file is
mapped into memory, and what is skipped is not read from disk.
"""

import mmap
import struct
from collections.abc import Iterable
from pathlib import Path

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError

HEAD = struct.Struct("<QI")
CHECKSUM = struct.Struct("<I")
MASK_DELTA = 0xA282EAD8


def masked(data: bytes) -> int:
    """The CRC-32C of the data, rotated and shifted, so that a checksum over checksums is no weaker."""
    crc = int(google_crc32c.value(data))
    return ((crc >> 15 | crc << 17) + MASK_DELTA) & 0xFFFFFFFF


def write_records(path: Path, records: Iterable[bytes]) -> None:
    """Write a file of records.

    Raises:
        OSError: The file cannot be written.
    """
    with path.open("wb") as file:
        for data in records:
            length = struct.pack("<Q", len(data))
            file.write(b"".join((length, CHECKSUM.pack(masked(length)), data, CHECKSUM.pack(masked(data)))))


class RecordFile:
    """A file of records, each to be read at once by its number; safe to read from several threads."""

    def __init__(self, path: Path) -> None:
        """Find the records.

        Raises:
            DataError: The file cannot be read, or is cut off or damaged between two records.
        """
        self.path = path
        self._bytes = _mapped(path)
        self._spans_R2 = self._scan()

    def __len__(self) -> int:
        return len(self._spans_R2)

    def span(self, number: int) -> tuple[int, int]:
        """Where the data of a record begin and end, in bytes of the file."""
        start, stop = self._spans_R2[number].tolist()
        return start, stop

    def view(self, start: int, stop: int) -> memoryview:
        """Bytes of the file; not copied, and not read before they are looked at."""
        return self._bytes[start:stop]

    def verify(self, number: int) -> None:
        """Compare a record's data with their checksum.

        Raises:
            DataError: They differ.
        """
        start, stop = self.span(number)
        if masked(bytes(self._bytes[start:stop])) != self.checksum(number):
            raise DataError(f"{self.label(number)} has a wrong checksum: its data are damaged")

    def checksum(self, number: int) -> int:
        """The checksum that is written behind a record's data."""
        return int(CHECKSUM.unpack_from(self._bytes, self.span(number)[1])[0])

    def label(self, number: int) -> str:
        """What messages call a record; the first is 0."""
        return f"record {number} of {self.path}"

    def _scan(self) -> NDArray[np.int64]:
        spans: list[tuple[int, int]] = []
        place, end = 0, len(self._bytes)
        while place < end:
            label = f"record {len(spans)} of {self.path}"
            if end - place < HEAD.size:
                raise DataError(f"{label} is cut off after {end - place} bytes of its head")
            length, checksum = HEAD.unpack_from(self._bytes, place)
            if masked(bytes(self._bytes[place : place + 8])) != checksum:
                raise DataError(
                    f"{label} has a wrong checksum of its length; a TFRecord file, not compressed, is needed"
                )
            start, place = place + HEAD.size, place + HEAD.size + length + CHECKSUM.size
            if place > end:
                raise DataError(f"{label} is cut off: {end - start} bytes of {length + CHECKSUM.size} are there")
            spans.append((start, start + length))
        return np.array(spans, dtype=np.int64).reshape(-1, 2)


def _mapped(path: Path) -> memoryview:
    try:
        with path.open("rb") as file:
            if not path.stat().st_size:
                return memoryview(b"")  # a shard without records; an empty file cannot be mapped
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
