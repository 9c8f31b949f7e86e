"""Sets of ground truth and detections with the oddities of real ones."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

IMAGE_IDS = (0, 7, 8, 2**32 + 1, 2**40)
CATEGORY_IDS = (1, 3, 90)
HEIGHT, WIDTH = 120, 160


def rle(mask_HW):
    """Compressed RLE with counts as a string."""
    found = coco_mask.encode(np.asfortranarray(mask_HW, dtype=np.uint8))
    return {"size": [int(side) for side in found["size"]], "counts": found["counts"].decode()}


def uncompressed(mask_HW):
    """RLE as the list of run lengths in column order, starting with zeros."""
    edges = np.flatnonzero(np.diff(mask_HW.flatten(order="F").astype(int), prepend=0))
    return {"size": list(mask_HW.shape), "counts": np.diff(edges, prepend=0, append=mask_HW.size).tolist()}


def ring(box, hole=0.3):
    """An ellipse that fills a box (x, y, w, h), with a hole in its middle."""
    x, y, w, h = box
    v, u = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    radius = ((u - x - w / 2) / (w / 2)) ** 2 + ((v - y - h / 2) / (h / 2)) ** 2
    return (radius <= 1) & (radius > hole**2)


def random_box(rng):
    """A box (x, y, w, h) inside the image, anything from 8 pixels to nearly all of it."""
    w, h = rng.integers(8, WIDTH), rng.integers(8, HEIGHT)
    return [int(rng.integers(0, WIDTH - w + 1)), int(rng.integers(0, HEIGHT - h + 1)), int(w), int(h)]


def annotation(rng, number):
    """One annotation, its segmentation a polygon or one of the two kinds of RLE, sometimes a crowd."""
    box = random_box(rng)
    form = rng.integers(3)
    if form == 0:
        x, y, w, h = box
        segmentation, area = [[x, y, x + w, y, x + w, y + h, x, y + h]], w * h
    else:
        mask_HW = ring(box)
        segmentation, area = (rle if form == 1 else uncompressed)(mask_HW), int(mask_HW.sum())
    return {
        "id": number,
        "image_id": int(rng.choice(IMAGE_IDS[:-1])),  # the last image has none
        "category_id": int(rng.choice(CATEGORY_IDS)),
        "bbox": [float(side) for side in box],
        "area": float(area),
        "iscrowd": int(form > 0 and rng.random() < 0.2),
        "segmentation": segmentation,
    }


def result(rng, annotations):
    """One detection: near an annotation or anywhere, its score from a few values, so that many are equal."""
    near = annotations[rng.integers(len(annotations))] if annotations and rng.random() < 0.7 else None
    box = [int(side) for side in near["bbox"]] if near else random_box(rng)
    box[2:] = [max(2, side + int(rng.integers(-6, 7))) for side in box[2:]]
    return {
        "image_id": near["image_id"] if near else int(rng.choice(IMAGE_IDS)),
        "category_id": near["category_id"] if near and rng.random() < 0.8 else int(rng.choice((*CATEGORY_IDS, 55))),
        "score": float(rng.integers(1, 8)) / 8,
        "bbox": [float(side) for side in box],
        "segmentation": rle(ring(box, hole=rng.choice([0.0, 0.3]))),
    }


def coco_set(annotations):
    """A ground truth of all images and categories with these annotations."""
    return {
        "images": [{"id": i, "file_name": f"{i}.jpg", "height": HEIGHT, "width": WIDTH} for i in IMAGE_IDS],
        "categories": [{"id": c, "name": f"thing {c}"} for c in CATEGORY_IDS],
        "annotations": annotations,
    }


@pytest.fixture(scope="session")
def make_set():
    """Make a ground truth and detections from a seed and how many of each."""

    def make(seed, annotations, results):
        rng = np.random.default_rng(seed)
        made = [annotation(rng, number) for number in range(annotations)]
        return coco_set(made), [result(rng, made) for _ in range(results)]

    return make


def compressed(segmentation):
    """Any of the three forms of a segmentation as compressed RLE with counts as a string."""
    if isinstance(segmentation, list):
        found = coco_mask.merge(coco_mask.frPyObjects(segmentation, HEIGHT, WIDTH))
    elif isinstance(segmentation["counts"], list):
        found = coco_mask.frPyObjects(segmentation, HEIGHT, WIDTH)
    else:
        return segmentation
    return {"size": [HEIGHT, WIDTH], "counts": found["counts"].decode()}


@pytest.fixture(scope="session")
def as_results():
    """Turn annotations into detections that repeat them exactly."""

    def perfect(ground_truth):
        return [
            {
                "image_id": annotation["image_id"],
                "category_id": annotation["category_id"],
                "score": 0.5,
                "bbox": annotation["bbox"],
                "segmentation": compressed(annotation["segmentation"]),
            }
            for annotation in ground_truth["annotations"]
            if not annotation["iscrowd"]
        ]

    return perfect
