"""One record of the published layout as a COCO file has it: an image, its objects, and where its bytes stand."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.tfrecord_example import Found, Span, decode
from harness.data.tfrecord_file import RecordFile
from harness.data.tfrecord_layout import DIGITS, no_mask, pixels
from harness.errors import DataError

SIDES = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True, slots=True)
class Example:
    """A record of N objects; every error names it."""

    features: Mapping[str, Found]
    file: RecordFile
    number: int

    @property
    def label(self) -> str:
        """What messages call it."""
        return self.file.label(self.number)

    def texts(self, name: str) -> list[Span]:
        """Places in the file of a feature's bytes; none where the feature is missing."""
        value = self.features.get(name, [])
        if not isinstance(value, list):
            raise DataError(f"{self.label} has numbers as {name}; bytes are needed")
        start = self.file.span(self.number)[0]
        return [Span(span.start + start, span.stop + start) for span in value]

    def text(self, name: str) -> str:
        """The text of a feature, or nothing."""
        found = self.strings(name)
        return found[0] if found else ""

    def strings(self, name: str) -> list[str]:
        """The texts of a feature."""
        return [str(self.file.view(*span), "utf-8", "replace") for span in self.texts(name)]

    def numbers(self, name: str, count: int | None = None) -> NDArray[Any]:
        """A feature's numbers, and so many if that is said."""
        value = self.features.get(name, [])
        if isinstance(value, list) and value:
            raise DataError(f"{self.label} has bytes as {name}; numbers are needed")
        if count is not None and len(value) != count:
            raise DataError(f"{self.label} has {len(value)} numbers as {name}; {count} needed")
        return np.asarray(value)

    def encoded(self) -> Span:
        """Where the image's file stands."""
        spans = self.texts("image/encoded")
        if len(spans) != 1:
            raise DataError(f"{self.label} has {len(spans)} files as image/encoded; one is needed")
        return spans[0]

    def image(self) -> dict[str, Any]:
        """The image's entry in a COCO file."""
        height, width = (int(self.numbers(f"image/{side}", 1)[0]) for side in ("height", "width"))
        name = self.text("image/source_id")
        if not name.removeprefix("-").isdecimal():
            raise DataError(f"{self.label} has {name!r:.40} as image/source_id; the image's id, an integer, is needed")
        if min(height, width) < 1:
            raise DataError(f"{self.label} has an image of {width} x {height}; above zero is needed")
        return {"id": int(name), "file_name": self.text("image/filename"), "height": height, "width": width}

    def labels(self) -> list[int]:
        """The category id of each object."""
        return [int(label) for label in self.numbers("image/object/class/label")]

    def objects(self, image: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The objects' entries in a COCO file, but for ids and outlines."""
        labels = self.labels()
        lengths = (image["width"], image["height"]) * 2
        x1, y1, x2, y2 = (
            pixels(self.numbers(f"image/object/bbox/{side}", len(labels)).astype(np.float32), length)
            for side, length in zip(SIDES, lengths, strict=True)
        )
        boxes = np.stack([x1, y1, x2 - x1, y2 - y1], axis=1).round(DIGITS).tolist()
        crowds = self._or(np.zeros(len(labels)), "image/object/is_crowd").astype(np.int64).tolist()
        areas = self._or((x2 - x1) * (y2 - y1), "image/object/area").astype(np.float64).tolist()
        return [
            {"image_id": image["id"], "category_id": label, "bbox": box, "iscrowd": crowd, "area": area}
            for label, box, crowd, area in zip(labels, boxes, crowds, areas, strict=True)
        ]

    def _or(self, default_N: NDArray[Any], name: str) -> NDArray[Any]:
        return self.numbers(name, len(default_N)) if name in self.features else default_N

    def ids(self, count: int) -> list[int] | None:
        """The objects' ids, if the file has them."""
        name = "image/object/id"
        return self.numbers(name, count).tolist() if name in self.features else None

    def masks(self, image: Mapping[str, Any], count: int) -> list[Span | None]:
        """Places in the file of the objects' masks; None for an object without an outline."""
        spans = self.texts("image/object/mask")
        if spans and len(spans) != count:
            raise DataError(f"{self.label} has {len(spans)} masks of {count} objects")
        absent = no_mask(image["height"], image["width"])
        return [None if self.file.view(*span) == absent else span for span in spans] or [None] * count


def read_example(file: RecordFile, number: int) -> Example:
    """Read a record's features; of its files, only where they stand.

    Raises:
        DataError: The record is no Example.
    """
    try:
        return Example(decode(file.view(*file.span(number))), file, number)
    except (ValueError, UnicodeDecodeError) as error:
        file.verify(number)
        raise DataError(f"{file.label(number)} is no tf.train.Example: {error}") from error
