"""Anchors about one position of each level, in double precision: by the framework's path, and by the library.

See kernels/include/anchors.h for the conventions.
"""

import ctypes
import math
from collections.abc import Sequence

from backends.torch_impl.kernels.binding import host_float64
from backends.torch_impl.kernels.rules import AnchorGrid
from harness.kernels import Library

Cell = tuple[float, float, float, float]
CONVENTIONS = {"legacy": 0, "torchvision": 1, "efficientdet": 2}


def legacy_cell_anchors(stride: int, size: float, ratios: Sequence[float]) -> list[Cell]:
    """Inclusive integer anchors of one position, as R-CNN's original code rounds them.

    The base is the pixel block 0..stride-1; its area over the ratio gives a rounded width, the width times the ratio a
    rounded height; both are then scaled by size / stride about the block's centre (stride - 1) / 2.
    """
    centre, scale = (stride - 1) / 2, size / stride
    cells = []
    for ratio in ratios:
        base = round(math.sqrt(stride * stride / ratio))
        width, height = base * scale, round(base * ratio) * scale
        half_w, half_h = (width - 1) / 2, (height - 1) / 2
        cells.append((centre - half_w, centre - half_h, centre + half_w, centre + half_h))
    return cells


def centred_cell_anchors(size: float, ratios: Sequence[float]) -> list[Cell]:
    """Anchors about the origin with sides size·√(1/ratio) and size·√ratio, half sides rounded, as in torchvision."""
    halves = [(round(size / math.sqrt(ratio) / 2), round(size * math.sqrt(ratio) / 2)) for ratio in ratios]
    return [(-width, -height, width, height) for width, height in halves]


def octave_cell_anchors(stride: int, size: float, aspects: Sequence[tuple[float, float]], octaves: int) -> list[Cell]:
    """EfficientDet's anchors about stride / 2, octave before aspect; an aspect is width and height."""
    cells = []
    for octave in range(octaves):
        base = size * 2 ** (octave / octaves)
        for width, height in aspects:
            half_w, half_h = base * width / 2, base * height / 2
            cells.append((stride / 2 - half_w, stride / 2 - half_h, stride / 2 + half_w, stride / 2 + half_h))
    return cells


def framework_cells(grid: AnchorGrid) -> list[list[Cell]]:
    """The cells of each level."""
    ratios = [ratio for _, ratio in grid.aspects]
    levels = zip(grid.strides, grid.sizes, strict=True)
    if grid.convention == "legacy":
        return [legacy_cell_anchors(stride, size, ratios) for stride, size in levels]
    if grid.convention == "torchvision":
        return [centred_cell_anchors(size, ratios) for _, size in levels]
    return [octave_cell_anchors(stride, size, grid.aspects, grid.octaves) for stride, size in levels]


def native_cells(library: Library, grid: AnchorGrid) -> list[float]:
    """The corners of all cells of all levels, one after the other, as the library makes them."""
    aspects = host_float64([number for aspect in grid.aspects for number in aspect])
    count = 4 * grid.octaves * len(grid.aspects)
    corners: list[float] = []
    for stride, size in zip(grid.strides, grid.sizes, strict=True):
        cells = (ctypes.c_double * count)()
        shape = (float(stride), float(size), aspects, len(grid.aspects), grid.octaves, cells)
        library.run("anchor_cells", CONVENTIONS[grid.convention], *shape)
        corners += cells
    return corners
