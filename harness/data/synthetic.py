"""A set made up in memory: noise, boxes and polygons, the same ones for the same reference."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.index import Index
from harness.data.pack import build
from harness.data.records import Annotations, ImageRecord
from harness.errors import DataError

DEFAULT_SIZE = (640, 480)
DEFAULT_COUNT = 64
CATEGORIES = (1, 2, 3, 5, 90)
OBJECTS = 7  # about as many as COCO's images have


def is_synthetic(ref: str) -> bool:
    """Say whether a reference asks for a set in memory."""
    return ref.split(":", 1)[0] == "synthetic"


def parse_synthetic(ref: str) -> tuple[int, int, int]:
    """Read width, height and number of images from `synthetic[:WIDTHxHEIGHT[:COUNT]]`.

    Raises:
        DataError: The reference has another form.
    """
    match = re.fullmatch(r"synthetic(?::(\d+)x(\d+)(?::(\d+))?)?", ref)
    width, height, count = (int(part) if part else None for part in match.groups()) if match else (0, 0, 0)
    if match is None or 0 in (width, height, count):
        raise DataError(f"{ref!r} is no set in memory; synthetic:WIDTHxHEIGHT:COUNT is needed, as synthetic:640x480:64")
    return width or DEFAULT_SIZE[0], height or DEFAULT_SIZE[1], count or DEFAULT_COUNT


class SyntheticDataset:
    """Random pixels with OBJECTS diamonds in each image; nothing in them can be learnt."""

    def __init__(self, width: int, height: int, count: int) -> None:
        self._width, self._height, self._count = width, height, count

    @cached_property
    def _index(self) -> Index:
        images = [
            {"id": i + 1, "file_name": f"{i:012d}", "width": self._width, "height": self._height}
            for i in range(self._count)
        ]
        annotations = [annotation for i in range(self._count) for annotation in self._objects(i)]
        categories = [{"id": key, "name": f"category {key}"} for key in CATEGORIES]
        return build({"images": images, "annotations": annotations, "categories": categories}, "the synthetic set")

    def _objects(self, index: int) -> list[dict[str, Any]]:
        random = np.random.default_rng([index, self._width, self._height])
        size = random.uniform(0.05, 0.5, (OBJECTS, 2)) * (self._width, self._height)
        corner = random.uniform(0, 1, (OBJECTS, 2)) * ((self._width, self._height) - size)
        labels = random.choice(CATEGORIES, OBJECTS).tolist()
        return [
            _diamond(index, place, labels[place], np.concatenate([corner[place], size[place]]).round(2).tolist())
            for place in range(OBJECTS)
        ]

    @property
    def image_ids(self) -> Sequence[int]:
        """Ids of the images, from 1."""
        return range(1, self._count + 1)

    @property
    def category_ids(self) -> tuple[int, ...]:
        """Ids of the categories, ascending."""
        return CATEGORIES

    @property
    def category_names(self) -> Mapping[int, str]:
        """Names of the categories by id."""
        return self._index.categories

    def __len__(self) -> int:
        return self._count

    def image(self, index: int) -> ImageRecord:
        """Return the record of the image at that place."""
        return self._index.image(index)

    def load(self, index: int) -> NDArray[np.uint8]:
        """Return random pixels, uint8 [H, W, 3], the same at every call."""
        record = self.image(index)
        noise = np.random.default_rng(index).bytes(record.height * record.width * 3)
        return np.frombuffer(bytearray(noise), dtype=np.uint8).reshape(record.height, record.width, 3)

    def encoded(self, index: int) -> None:
        """There are no files."""

    def annotations(self, index: int) -> Annotations:
        """Return the objects of the image at that place."""
        return self._index.annotations(index)

    def coco(self) -> dict[str, Any]:
        """Return the ground truth as a COCO dict, for scoring."""
        return self._index.coco()

    def fingerprint(self) -> str:
        """Return the SHA-256 of the ground truth, in hexadecimal."""
        return hashlib.sha256(json.dumps(self.coco(), sort_keys=True).encode()).hexdigest()


def _diamond(image: int, place: int, label: int, box: list[float]) -> dict[str, Any]:
    x, y, width, height = box
    corners = [x + width / 2, y, x + width, y + height / 2, x + width / 2, y + height, x, y + height / 2]
    return {
        "id": image * OBJECTS + place + 1,
        "image_id": image + 1,
        "category_id": label,
        "bbox": box,
        "area": round(width * height / 2, 2),
        "iscrowd": 0,
        "segmentation": [corners],
    }
