"""The five kinds of object that coco-mini draws, told apart by outline and by colour."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Polygon = NDArray[np.float64]


class Kind(NamedTuple):
    """A category; ids have gaps, as COCO's have."""

    id: int
    name: str
    colour: tuple[int, int, int]


DISC, BOX, STAR, RING, TWIN = KINDS = (
    Kind(1, "disc", (205, 60, 50)),
    Kind(3, "box", (55, 105, 215)),
    Kind(7, "star", (235, 205, 60)),
    Kind(13, "ring", (60, 175, 90)),
    Kind(90, "twin", (165, 80, 190)),
)
RING_HOLE = 0.5  # inner radius over outer


def outline(kind: Kind, radius: float, angle: float) -> list[Polygon]:
    """Return the polygons [V, 2] of an object around the origin; those of a ring are its rim, then its hole."""
    if kind == BOX:
        corners = np.array([[1.0, 0.62], [-1.0, 0.62], [-1.0, -0.62], [1.0, -0.62]]) / np.hypot(1.0, 0.62)
        return [_turned(corners * radius, angle)]
    if kind == STAR:
        return [_around(radius * np.where(np.arange(10) % 2, 0.45, 1.0), angle)]
    if kind == RING:
        return [_around(np.full(24, radius), angle), _around(np.full(24, radius * RING_HOLE), angle)]
    if kind == TWIN:
        offset = _turned(np.array([[0.52 * radius, 0.0]]), angle)
        half = _around(np.full(3, 0.66 * radius), angle)
        return [half + offset, -half - offset]
    return [_around(np.full(24, radius), angle)]


def _around(radii_V: NDArray[np.float64], angle: float) -> Polygon:
    angles_V = angle + np.arange(len(radii_V)) * (2 * np.pi / len(radii_V))
    return np.stack([radii_V * np.cos(angles_V), radii_V * np.sin(angles_V)], axis=1)


def _turned(points_V2: Polygon, angle: float) -> Polygon:
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.asarray(points_V2 @ np.array([[cosine, sine], [-sine, cosine]]))


def clipped(points_V2: Polygon, width: int, height: int) -> Polygon:
    """Cut a polygon to the frame, side by side (Sutherland and Hodgman 1974); may be empty."""
    for axis, limit, sign in ((0, 0, 1), (0, width, -1), (1, 0, 1), (1, height, -1)):
        if len(points_V2):
            points_V2 = _cut(points_V2, axis, limit, sign)
    return points_V2


def _cut(points_V2: Polygon, axis: int, limit: float, sign: int) -> Polygon:
    depth_V = sign * (points_V2[:, axis] - limit)
    if (depth_V >= 0).all():
        return points_V2
    kept = []
    for here, there, depth, beyond in zip(
        points_V2, np.roll(points_V2, -1, axis=0), depth_V, np.roll(depth_V, -1), strict=True
    ):
        if depth >= 0:
            kept.append(here)
        if (depth >= 0) != (beyond >= 0):
            kept.append(here + (there - here) * (depth / (depth - beyond)))
    return np.array(kept).reshape(-1, 2)
