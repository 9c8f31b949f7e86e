"""Opening a COCO-format set, whatever its reference."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.files import Location, image_path, locate, read_json, without_collection
from harness.data.index import Index
from harness.data.jpeg import decode
from harness.data.pack import build
from harness.data.records import Annotations, Dataset, ImageRecord
from harness.data.synthetic import SyntheticDataset, is_synthetic, parse_synthetic
from harness.data.tfrecord import TFRecordDataset, fingerprint_of
from harness.data.tfrecord_file import RecordFile
from harness.data.tfrecord_layout import find_shards
from harness.errors import DataError


class CocoDataset:
    """A set on disk: one annotation file and a folder of images."""

    def __init__(self, location: Location) -> None:
        self._location = location
        with without_collection():
            self._index: Index = build(read_json(location.annotations), str(location.annotations))

    @property
    def image_ids(self) -> Sequence[int]:
        """Ids of the images, in the order of the annotation file."""
        return self._index.image_ids

    @property
    def category_ids(self) -> tuple[int, ...]:
        """Ids of the categories, ascending."""
        return tuple(self._index.categories)

    @property
    def category_names(self) -> Mapping[int, str]:
        """Names of the categories by id."""
        return self._index.categories

    def __len__(self) -> int:
        return len(self._index.image_ids)

    def image(self, index: int) -> ImageRecord:
        """Return the record of the image at that place."""
        return self._index.image(index)

    def path(self, index: int) -> Path:
        """Return where the image at that place lies."""
        return image_path(self._location.images, self.image(index).file_name)

    def load(self, index: int) -> NDArray[np.uint8]:
        """Return the pixels, uint8 RGB [H, W, 3] in stored order.

        Raises:
            DataError: The file is missing, broken, or not of the size that the annotation file says.
        """
        record, data = self.image(index), self.encoded(index)
        label = self._label(index)
        try:
            pixels = decode(data)
        except DataError as error:
            raise DataError(f"{label}: {error}") from error
        if pixels.shape[:2] != (record.height, record.width):
            found, listed = f"{pixels.shape[1]} x {pixels.shape[0]}", f"{record.width} x {record.height}"
            raise DataError(f"{label} has {found} pixels, {self._location.annotations} says {listed}")
        return pixels

    def encoded(self, index: int) -> bytes:
        """Return the image file's bytes.

        Raises:
            DataError: The file cannot be read.
        """
        try:
            return self.path(index).read_bytes()
        except OSError as error:
            raise DataError(f"{self._label(index)} cannot be read: {error.strerror}") from error

    def _label(self, index: int) -> str:
        return f"image {self.path(index)} of id {self.image(index).id}"

    def annotations(self, index: int) -> Annotations:
        """Return the objects of the image at that place."""
        return self._index.annotations(index)

    def coco(self) -> dict[str, Any]:
        """Return the ground truth as a COCO dict, for scoring."""
        return self._index.coco()

    def fingerprint(self) -> str:
        """Return the SHA-256 of the annotation file, in hexadecimal."""
        return _digest(self._location)


def open_dataset(ref: str) -> Dataset:
    """Open a set: a path (see `harness.data.files.locate`), TFRecord files, or `synthetic[:WIDTHxHEIGHT[:COUNT]]`.

    TFRecord files are named by their folder, by `FOLDER/train` where several splits share one, or by a pattern.

    Raises:
        DataError: There is no such set, or it is not in COCO's format nor in the published TFRecord layout.
    """
    if is_synthetic(ref):
        return SyntheticDataset(*parse_synthetic(ref))
    if shards := find_shards(ref):
        return TFRecordDataset(shards)
    return CocoDataset(locate(ref))


def fingerprint(ref: str) -> str:
    """Return the SHA-256 of a set's annotations, in hexadecimal, without reading them into memory.

    Raises:
        DataError: There is no such set.
    """
    if is_synthetic(ref):
        return open_dataset(ref).fingerprint()
    if shards := find_shards(ref):
        return fingerprint_of([RecordFile(path) for path in shards])
    return _digest(locate(ref))


def _digest(location: Location) -> str:
    try:
        with location.annotations.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"cannot read {location.annotations}: {error.strerror}") from error
