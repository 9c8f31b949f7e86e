"""Outlines of objects as tensors.

Shapes: V vertices, P polygons, O objects, N runs.
"""

from dataclasses import dataclass
from typing import NamedTuple

import tensorflow as tf


class Outlines(NamedTuple):
    """Objects as unions of polygons."""

    points_V2: tf.Tensor
    """The vertices of all polygons, float64."""
    polygon_starts: tf.Tensor
    """The first vertex of each polygon, and the end, int64 [P + 1]."""
    object_starts: tf.Tensor
    """The first polygon of each object, and the end, int64 [O + 1]."""


class Runs(NamedTuple):
    """Objects as run lengths of their masks, down the columns, zeros first."""

    counts_N: tf.Tensor
    """The runs of all objects, uint32."""
    object_starts: tf.Tensor
    """The first run of each object, and the end, int64 [O + 1]."""
    sizes_O2: tf.Tensor
    """Height and width of each object's mask, int64."""


@dataclass(frozen=True, slots=True)
class Target:
    """What RoIs are stretched to."""

    side: int
    """Pixels."""
    min_side: float = 1.0
    """An RoI's sides count as at least this long, in pixels of the image."""
