"""Outlines of objects as arrays that a kernel can read."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from harness.data import Rle, Segmentation


@dataclass(frozen=True, slots=True)
class Polygons:
    """The polygons of O objects."""

    points_V2: Tensor
    """float64, the vertices of all polygons in turn, in pixels of the image."""
    polygon_starts: Tensor
    """int64 [P + 1], the first vertex of each polygon and the end."""
    object_starts: Tensor
    """int64 [O + 1], the first polygon of each object and the end."""

    def to(self, device: torch.device) -> "Polygons":
        """The same on a device; nothing waits for it."""
        return Polygons(*(getattr(self, field.name).to(device, non_blocking=True) for field in fields(self)))


@dataclass(frozen=True, slots=True)
class Runs:
    """The run lengths of O objects; an object without runs is nowhere."""

    counts: Tensor
    """int32, run lengths down the columns, zeros first."""
    object_starts: Tensor
    """int64 [O + 1], the first run of each object and the end."""
    sizes_O2: Tensor
    """int64, height and width of each object's mask."""

    def to(self, device: torch.device) -> "Runs":
        """The same on a device; nothing waits for it."""
        return Runs(*(getattr(self, field.name).to(device, non_blocking=True) for field in fields(self)))


def pack_polygons(segmentations: Sequence[Segmentation]) -> Polygons:
    """The polygons of N objects; objects that are run lengths have none."""
    shapes = [() if isinstance(shape, Rle) else tuple(shape) for shape in segmentations]
    polygons = [np.asarray(polygon, dtype=np.float64) for shape in shapes for polygon in shape]
    points_2V = np.concatenate(polygons) if polygons else np.zeros(0)
    return Polygons(
        torch.from_numpy(points_2V).reshape(-1, 2),
        _starts([polygon.size // 2 for polygon in polygons]),
        _starts([len(shape) for shape in shapes]),
    )


def pack_runs(segmentations: Sequence[Segmentation]) -> Runs | None:
    """The run lengths of N objects, objects that are polygons having none; None where all are polygons."""
    found = [shape if isinstance(shape, Rle) else None for shape in segmentations]
    runs = [shape.counts_R for shape in found if shape is not None]
    if not runs:
        return None
    sizes = [(0, 0) if shape is None else (shape.height, shape.width) for shape in found]
    return Runs(
        torch.from_numpy(np.concatenate(runs).astype(np.int32)),
        _starts([0 if shape is None else len(shape.counts_R) for shape in found]),
        torch.tensor(sizes, dtype=torch.int64),
    )


def _starts(lengths: Sequence[int]) -> Tensor:
    return torch.from_numpy(np.concatenate(([0], np.cumsum(lengths, dtype=np.int64))).astype(np.int64))
