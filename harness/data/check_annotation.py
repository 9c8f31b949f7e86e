"""Checking one annotation against its image's record."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from harness.data import rle as runs
from harness.data.findings import Finding
from harness.data.masks import Segmentation, parse_segmentation, to_rle
from harness.data.rle import Rle
from harness.errors import DataError

EDGE = 1.0  # pixels by which a box may stand out: files round their numbers
AREA_TOLERANCE = 0.02  # relative; and as many pixels beside
AREA_PIXELS = 4.0
Record = Mapping[str, Any]


def annotation_findings(annotation: Record, image: Record, where: str) -> Iterator[Finding]:
    """Yield what is wrong with an annotation whose required keys are there."""
    yield from (Finding("fault", where, what) for what in _box_faults(annotation["bbox"], image))
    area = annotation["area"]
    if not math.isfinite(area) or area < 0:
        yield Finding("fault", where, f"area is {area}, a finite number of pixels is needed")
    raw = annotation.get("segmentation")
    if raw is None or raw == []:
        yield Finding("warning", where, "has no segmentation: it gives no mask")
        return
    try:
        shape = parse_segmentation(raw)
        rle = _drawn(shape, image)
    except DataError as error:
        yield Finding("fault", where, str(error))
        return
    yield from (Finding("warning", where, what) for what in _doubts(annotation, shape, rle))


def _box_faults(box: list[Any], image: Record) -> Iterator[str]:
    if len(box) != 4 or not all(isinstance(side, int | float) and math.isfinite(side) for side in box):
        yield f"bbox is {box!r:.60}, four finite numbers x, y, width, height are needed"
        return
    x, y, width, height = box
    if width <= 0 or height <= 0:
        yield f"bbox has size {width} x {height}, both must be above zero"
    if min(x, y) < -EDGE or x + width > image["width"] + EDGE or y + height > image["height"] + EDGE:
        yield f"bbox {box} stands out of the image of {image['width']} x {image['height']}"


def _drawn(shape: Segmentation, image: Record) -> Rle:
    height, width = image["height"], image["width"]
    if isinstance(shape, Rle) and (shape.height, shape.width) != (height, width):
        raise DataError(f"run lengths are of {shape.width} x {shape.height} pixels, the image of {width} x {height}")
    return to_rle(shape, height, width)


def _doubts(annotation: Record, shape: Segmentation, rle: Rle) -> Iterator[str]:
    if annotation.get("iscrowd") and not isinstance(shape, Rle):
        yield "is a crowd of polygons, COCO's crowds are run lengths"
    drawn = runs.area(rle)
    if drawn == 0:
        yield "its segmentation covers no pixel"
    elif abs(drawn - annotation["area"]) > AREA_TOLERANCE * drawn + AREA_PIXELS:
        yield f"area is {annotation['area']}, its segmentation covers {drawn} pixels"
