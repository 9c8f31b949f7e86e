"""Small COCO-format sets for the tests of this room."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

BIG = 900_100_000_000


def annotation(identity: int, image_id: int, **changes: Any) -> dict[str, Any]:
    """A square of 4 x 4 pixels at (2, 1)."""
    square = [2, 1, 6, 1, 6, 5, 2, 5]
    record = {"id": identity, "image_id": image_id, "category_id": 18, "bbox": [2, 1, 4, 4], "area": 16, "iscrowd": 0}
    return record | {"segmentation": [square]} | changes


def content() -> dict[str, Any]:
    """Two images, four objects out of order, a crowd, an id above 2**32, and categories with a gap."""
    runs = {"size": [9, 12], "counts": [9, 5, 94]}
    return {
        "images": [
            {"id": 42, "file_name": "b.png", "width": 12, "height": 9},
            {"id": 7, "file_name": "sub/a.png", "width": 8, "height": 10},
        ],
        "annotations": [
            annotation(5, 7),
            annotation(BIG, 42, iscrowd=1, category_id=3, bbox=[1, 0, 1, 5], area=5, segmentation=runs),
            annotation(1, 7, bbox=[2.5, 1.25, 3.5, 3.75], area=13.5),
            annotation(2, 42, segmentation=[[2, 1, 6, 1, 6, 5], [6, 5, 2, 5, 2, 1]]),
        ],
        "categories": [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}],
    }


def write(folder: Path, data: Any) -> str:
    """Write a set and noise for its images; return its reference."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "instances.json").write_text(json.dumps(data))
    for image in data["images"]:
        path = folder / "images" / image["file_name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng(image["id"])
        pixels = random.integers(0, 256, (image["height"], image["width"], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return str(folder)
