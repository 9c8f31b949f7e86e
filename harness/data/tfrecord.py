"""A set in TFRecord files of the published layout, read at any place and in any order, without a framework."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data import rle as runs
from harness.data.files import without_collection
from harness.data.index import Index, raw_segmentation
from harness.data.jpeg import decode
from harness.data.masks import Segmentation
from harness.data.pack import build
from harness.data.records import Annotations, ImageRecord, Outlines
from harness.data.tfrecord_example import Span
from harness.data.tfrecord_file import RecordFile
from harness.data.tfrecord_layout import decode_mask, read_categories
from harness.data.tfrecord_record import Example, read_example
from harness.errors import DataError


@dataclass(frozen=True, slots=True)
class Place:
    """Where an image lies: its record, its file inside of it, and the masks of its objects."""

    file: RecordFile
    number: int
    image: Span
    masks: tuple[Span | None, ...]

    @property
    def label(self) -> str:
        """What messages call it."""
        return self.file.label(self.number)


class TFRecordDataset:
    """A set in TFRecord files.

    Opening reads the annotations of all records, but no image and no mask. A record's checksum is compared when its
    image or a mask is first asked for, not before: that needs all of the record, and so all of the set. Outlines are
    masks, whatever they were: the layout has no polygons.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        """Read the annotations.

        Raises:
            DataError: A file is damaged, a record is not of the layout, or the records contradict each other.
        """
        self._files = [RecordFile(path) for path in paths]
        self._name = f"{paths[0]}" if len(paths) == 1 else f"{paths[0]} to {paths[-1].name}"
        self._places: list[Place] = []
        with without_collection():
            self._index: Index = build(self._content(paths[0].parent), self._name)
        self._sound = np.zeros(len(self._places), dtype=np.bool_)

    def _content(self, folder: Path) -> dict[str, Any]:
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        names: dict[int, str] = {}
        for file in self._files:
            for number in range(len(file)):
                example = read_example(file, number)
                image = example.image()
                objects = example.objects(image)
                ids = example.ids(len(objects)) or range(len(annotations) + 1, len(annotations) + 1 + len(objects))
                annotations.extend(entry | {"id": identity} for entry, identity in zip(objects, ids, strict=True))
                masks = tuple(example.masks(image, len(objects)))
                self._places.append(Place(file, number, example.encoded(), masks))
                images.append(image)
                names |= _names(example)
        categories = read_categories(folder) or [{"id": key, "name": names[key]} for key in sorted(names)]
        return {"images": images, "annotations": annotations, "categories": categories}

    @property
    def image_ids(self) -> Sequence[int]:
        """Ids of the images, in the order of the files."""
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
        return len(self._places)

    @property
    def objects(self) -> int:
        """How many objects all images have together."""
        return len(self._index.ids_A)

    def image(self, index: int) -> ImageRecord:
        """Return the record of the image at that place."""
        return self._index.image(index)

    def load(self, index: int) -> NDArray[np.uint8]:
        """Return the pixels, uint8 RGB [H, W, 3] in stored order.

        Raises:
            DataError: The record or the image in it is broken, or not of the size that the record says.
        """
        record, label = self.image(index), self._label(index)
        try:
            pixels = decode(self.encoded(index))
        except DataError as error:
            raise DataError(f"{label}: {error}") from error
        if pixels.shape[:2] != (record.height, record.width):
            found, listed = f"{pixels.shape[1]} x {pixels.shape[0]}", f"{record.width} x {record.height}"
            raise DataError(f"{label} has {found} pixels, its record says {listed}")
        return pixels

    def encoded(self, index: int) -> bytes:
        """Return the image file's bytes.

        Raises:
            DataError: The record's checksum is wrong.
        """
        place = self._verified(index)
        return bytes(place.file.view(*place.image))

    def annotations(self, index: int) -> Annotations:
        """Return the objects of the image at that place; DataError comes with a mask that cannot be read."""
        masks = self._places[index].masks
        outlined_N = np.array([span is not None for span in masks], dtype=np.bool_)
        outlines = Outlines(outlined_N, lambda number: self._outline(index, masks[number]))
        return self._index.annotations(index).with_outlines(outlines)

    def _outline(self, index: int, span: Span | None) -> Segmentation:
        if span is None:
            return ()
        place, record = self._verified(index), self.image(index)
        try:
            return runs.encode(decode_mask(place.file.view(*span), record.height, record.width))
        except DataError as error:
            raise DataError(f"{self._label(index)}: {error}") from error

    def coco(self) -> dict[str, Any]:
        """Return the ground truth as a COCO dict, for scoring; compares all checksums and decodes all masks."""
        for index in range(len(self)):
            self._verified(index)
        content = self._index.coco()
        shapes = {
            identity: shape
            for objects in map(self.annotations, range(len(self)))
            for identity, shape in zip(objects.ids_N.tolist(), objects.segmentations, strict=True)
        }
        for annotation in content["annotations"]:
            annotation["segmentation"] = raw_segmentation(shapes[annotation["id"]])
        return content

    def fingerprint(self) -> str:
        """Return the SHA-256 of all records' checksums, in hexadecimal."""
        return fingerprint_of(self._files)

    def _verified(self, index: int) -> Place:
        place = self._places[index]
        if not self._sound[index]:
            place.file.verify(place.number)
            self._sound[index] = True
        return place

    def _label(self, index: int) -> str:
        return f"image {self.image(index).id} in {self._places[index].label}"


def _names(example: Example) -> dict[int, str]:
    """The categories that a record names."""
    labels, texts = example.labels(), example.strings("image/object/class/text")
    if not texts:
        return {label: str(label) for label in labels}
    if len(texts) != len(labels):
        raise DataError(f"{example.label} has {len(texts)} names of {len(labels)} objects' classes")
    return dict(zip(labels, texts, strict=True))


def fingerprint_of(files: Sequence[RecordFile]) -> str:
    """The SHA-256 of all records' checksums: it stands for images and annotations, and reads neither."""
    digest = hashlib.sha256()
    for file in files:
        for number in range(len(file)):
            digest.update(file.checksum(number).to_bytes(4, "little"))
    return digest.hexdigest()
