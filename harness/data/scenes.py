"""One image of coco-mini: a textured background, objects that partly hide each other, and their annotations."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from harness.data import rle as runs
from harness.data.index import raw_segmentation
from harness.data.masks import Segmentation, rasterise
from harness.data.shapes import DISC, KINDS, RING, Kind, Polygon, clipped, outline

LEAST_RADIUS = 7.0
GREATEST_RADIUS = 0.3  # of the shorter side
MIN_VISIBLE = 12  # pixels
TRIES = 12
CROWD = 40  # discs in a cloud
CROWD_OWNER = 9999


@dataclass(frozen=True, slots=True)
class Item:
    """An object to draw: the polygons that are filled, and the hole of a ring."""

    kind: Kind
    x: float
    y: float
    radius: float
    parts: tuple[Polygon, ...]
    hole: Polygon | None


@dataclass(frozen=True, slots=True)
class Scene:
    """Pixels uint8 [H, W, 3] and the annotations without ids."""

    pixels: NDArray[np.uint8]
    annotations: list[dict[str, Any]]


def draw(random: np.random.Generator, width: int, height: int, *, empty: bool, crowd: bool) -> Scene:
    """Draw an image and annotate what is visible of its objects.

    Args:
        random: Decides everything.
        width: In pixels.
        height: In pixels.
        empty: No objects.
        crowd: A cloud of small discs, annotated as one crowd, lies over the objects.
    """
    pixels = _background(random, width, height)
    items = [] if empty else _placed(random, width, height)
    owner = np.full((width, height), -1, dtype=np.int16).T  # columns first, as the masks are
    whole = [_paint(random, pixels, owner, number, item) for number, item in enumerate(items)]
    cloud = _crowd(random, pixels, owner) if crowd else None
    visible = [owner == number for number in range(len(items))]
    annotations = [_annotation(*parts) for parts in zip(items, visible, whole, strict=True) if parts[1].any()]
    return Scene(pixels, [*annotations, cloud] if cloud else annotations)


def _background(random: np.random.Generator, width: int, height: int) -> NDArray[np.uint8]:
    """Muted clouds of two scales, and fine noise; whole numbers throughout, so that every processor draws the same."""
    coarse = random.normal(0, 20, (5, 5, 1)) + random.normal(0, 9, (5, 5, 3)) + random.uniform(40, 95, 3)
    fine = _stretched(coarse, 17, 17) + random.normal(0, 6, (17, 17, 1))
    clouds = _stretched(fine, width, height)
    noise = random.integers(0, 17, (height, width), dtype=np.uint8)
    return np.asarray(cv2.add(clouds, cv2.merge([noise, noise, noise])), dtype=np.uint8)


def _stretched(cells: NDArray[Any], width: int, height: int) -> NDArray[np.uint8]:
    whole = np.clip(cells, 0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_LINEAR_EXACT), dtype=np.uint8)


def _placed(random: np.random.Generator, width: int, height: int) -> list[Item]:
    shorter = min(width, height)
    wanted = 1 + min(int(random.geometric(1 / (1 + shorter / 80))), 24)
    items: list[Item] = []
    for _ in range(wanted):
        radius = float(np.exp(random.uniform(np.log(LEAST_RADIUS), np.log(GREATEST_RADIUS * shorter))))
        kind = KINDS[int(random.choice(len(KINDS), p=(0.28, 0.24, 0.18, 0.12, 0.18)))]
        angle = float(random.uniform(0, 2 * np.pi))
        for x, y in random.uniform(0.2 * -radius, 0.2 * radius + np.array([width, height]), (TRIES, 2)):
            if all(_apart(x, y, radius, other) for other in items):
                items.append(_item(kind, (x, y), radius, angle, (width, height)))
                break
    return items


def _apart(x: float, y: float, radius: float, other: Item) -> bool:
    """Let an object hide a part of another, never most of it."""
    least = max(radius, other.radius) + 0.4 * min(radius, other.radius)
    return bool(np.hypot(x - other.x, y - other.y) >= least)


def _item(kind: Kind, centre: tuple[float, float], radius: float, angle: float, frame: tuple[int, int]) -> Item:
    polygons = [np.round(clipped(part + centre, *frame), 2) for part in outline(kind, radius, angle)]
    hole = polygons.pop() if kind == RING else None
    parts = tuple(part for part in polygons if len(part) >= 3)
    return Item(kind, *centre, radius, parts, hole if hole is not None and len(hole) >= 3 else None)


def _paint(
    random: np.random.Generator, pixels: NDArray[np.uint8], owner: NDArray[np.int16], number: int, item: Item
) -> NDArray[np.bool_]:
    """Draw an object over what is there, note whose the pixels are, and return its mask as if nothing hid it."""
    height, width = owner.shape
    mask = rasterise(tuple(part.ravel() for part in item.parts), height, width)
    if item.hole is not None:
        mask &= ~rasterise((item.hole.ravel(),), height, width)
    if np.count_nonzero(mask) >= MIN_VISIBLE:
        owner[mask] = number
        _colour(random, pixels, mask, item.kind)
    return mask


def _colour(random: np.random.Generator, pixels: NDArray[np.uint8], mask: NDArray[np.bool_], kind: Kind) -> None:
    """Fill a mask with the kind's colour, a little off, darker at one end and grainy."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    height, width = rows[-1] + 1 - rows[0], columns[-1] + 1 - columns[0]
    top, bottom = random.uniform(0.8, 1.15, 2).tolist()
    shade = np.linspace(top, bottom, height, dtype=np.float32)[:, None, None]
    colour = (np.array(kind.colour) + random.uniform(-14, 14, 3)).astype(np.float32)
    grain = random.integers(-9, 10, (height, width, 1), dtype=np.int8)
    filled = np.clip(colour * shade + grain, 0, 255).astype(np.uint8)
    inside = mask[window]
    pixels[window][inside] = filled[inside]


def _annotation(item: Item, visible: NDArray[np.bool_], whole: NDArray[np.bool_]) -> dict[str, Any]:
    """Annotate what is seen: polygons where all of the object is, run lengths where a hole or a cover is."""
    seen = np.count_nonzero(visible)
    if item.hole is None and seen == np.count_nonzero(whole):
        points = np.concatenate(item.parts)
        least, greatest = points.min(axis=0), points.max(axis=0)
        box = np.concatenate([least, greatest - least]).round(2).tolist()
        shape: Segmentation = tuple(part.ravel() for part in item.parts)
    else:
        shape = runs.encode(visible)
        box = [float(side) for side in runs.bounding_box(shape)]
    return {
        "category_id": item.kind.id,
        "iscrowd": 0,
        "bbox": box,
        "area": float(seen),
        "segmentation": raw_segmentation(shape),
    }


def _crowd(random: np.random.Generator, pixels: NDArray[np.uint8], owner: NDArray[np.int16]) -> dict[str, Any]:
    """Draw a cloud of discs; COCO stores crowds as plain run lengths."""
    height, width = owner.shape
    shorter = min(height, width)
    centre = random.uniform(0.3, 0.7, 2) * (width, height)
    spots = np.clip(random.normal(centre, 0.1 * shorter, (CROWD, 2)), 0, (width - 1, height - 1))
    disc = outline(DISC, 0.015 * shorter + 1.5, 0.0)[0]
    mask = rasterise(tuple(clipped(disc + spot, width, height).ravel() for spot in spots), height, width)
    owner[mask] = CROWD_OWNER
    _colour(random, pixels, mask, DISC)
    rle = runs.encode(mask)
    return {
        "category_id": DISC.id,
        "iscrowd": 1,
        "bbox": [float(side) for side in runs.bounding_box(rle)],
        "area": float(runs.area(rle)),
        "segmentation": {"size": [height, width], "counts": rle.counts_R.tolist()},
    }
