"""A COCO ground truth as the scorers need it, checked before anything is trained or scored on it."""

from collections.abc import Mapping
from typing import Any, Literal

from harness.errors import DataError

Kind = Literal["bbox", "segm"]
GroundTruth = Mapping[str, Any]
POLYGON_MIN_NUMBERS = 6  # three corners


def check_ground_truth(ground_truth: GroundTruth, kinds: tuple[Kind, ...]) -> None:
    """Refuse a ground truth that the scorers would stumble over or silently misread.

    Raises:
        DataError: names the first annotation that cannot be scored, and why.
    """
    for key in ("images", "annotations", "categories"):
        if not isinstance(ground_truth.get(key), list):
            raise DataError(f"ground truth has no list of {key}; COCO format needs images, annotations and categories")
    for image in ground_truth["images"]:
        if not {"id", "height", "width"} <= image.keys():
            raise DataError(f"image {image.get('id', image.get('file_name'))}: scoring needs its id, height and width")
    sizes = {image["id"]: [image["height"], image["width"]] for image in ground_truth["images"]}
    category_ids = {category["id"] for category in ground_truth["categories"]}
    for annotation in ground_truth["annotations"]:
        fault = _fault(annotation, sizes, category_ids, masks="segm" in kinds)
        if fault:
            raise DataError(f"annotation {annotation.get('id')}: {fault}")


def scorable(ground_truth: GroundTruth, kind: Kind) -> dict[str, Any]:
    """Return a copy of what one kind of scoring reads, its annotations numbered from 1.

    The numbering matters: pycocotools takes an annotation whose id is 0 for unmatched, and of two with the same id it
    forgets one.
    """
    keep = ("image_id", "category_id", "bbox", "area", *(["segmentation"] if kind == "segm" else []))
    return {
        "images": [{key: image[key] for key in ("id", "height", "width")} for image in ground_truth["images"]],
        "categories": [{"id": c["id"], "name": str(c.get("name", c["id"]))} for c in ground_truth["categories"]],
        "annotations": [
            {"id": number, "iscrowd": int(annotation.get("iscrowd", 0)), **{key: annotation[key] for key in keep}}
            for number, annotation in enumerate(ground_truth["annotations"], start=1)
        ],
    }


def _fault(annotation: Mapping[str, Any], sizes: Mapping[int, list[int]], categories: set[int], *, masks: bool) -> str:
    missing = [key for key in ("image_id", "category_id", "bbox", "area") if key not in annotation]
    if missing:
        return f"no {missing[0]}; scoring needs image_id, category_id, bbox and area"
    if annotation["image_id"] not in sizes:
        return f"its image {annotation['image_id']} is not in the set"
    if annotation["category_id"] not in categories:
        return f"its category {annotation['category_id']} is not in the set"
    return _mask_fault(annotation.get("segmentation"), sizes[annotation["image_id"]]) if masks else ""


def _mask_fault(segmentation: Any, size: list[int]) -> str:
    if isinstance(segmentation, list) and segmentation:
        odd = [polygon for polygon in segmentation if len(polygon) < POLYGON_MIN_NUMBERS or len(polygon) % 2]
        return f"polygon of {len(odd[0])} numbers; at least three x, y pairs are needed" if odd else ""
    if isinstance(segmentation, dict):
        found = list(segmentation.get("size", ()))
        return f"mask of size {found}; its image is {size} (height, width)" if found != list(size) else ""
    return "no segmentation; scoring segm needs polygons or RLE"
