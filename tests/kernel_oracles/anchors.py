"""Anchors of the three conventions by their definitions, in Python's float64 and NumPy."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Cell = tuple[float, float, float, float]
Pair = tuple[float, float]
LEGACY, TORCHVISION, EFFICIENTDET = 0, 1, 2


def legacy_cell(stride: float, size: float, ratio: float) -> Cell:
    """Inclusive, about the middle of the pixels 0..stride-1."""
    middle = (stride - 1) / 2
    columns = round(math.sqrt(stride * stride / ratio))
    width, height = columns * (size / stride), round(columns * ratio) * (size / stride)
    half_width, half_height = (width - 1) / 2, (height - 1) / 2
    return middle - half_width, middle - half_height, middle + half_width, middle + half_height


def torchvision_cell(size: float, ratio: float) -> Cell:
    """About the origin, half sides rounded."""
    half_width, half_height = round(size / math.sqrt(ratio) / 2), round(size * math.sqrt(ratio) / 2)
    return -half_width, -half_height, half_width, half_height


def efficientdet_cells(stride: float, size: float, aspects: Sequence[Pair], octaves: int) -> list[Cell]:
    """About the middle of the cell, `octaves` sizes of each aspect."""
    cells, middle = [], stride / 2
    for octave in range(octaves):
        side = size * 2 ** (octave / octaves)
        halves = [(side * width / 2, side * height / 2) for width, height in aspects]
        cells += [(middle - width, middle - height, middle + width, middle + height) for width, height in halves]
    return cells


def anchor_cells(convention: int, stride: float, size: float, aspects: Sequence[Pair], octaves: int) -> list[Cell]:
    """Anchors of one position; aspects are (1, ratio), or (width, height) for EfficientDet."""
    if convention == EFFICIENTDET:
        return efficientdet_cells(stride, size, aspects, octaves)
    if convention == LEGACY:
        return [legacy_cell(stride, size, ratio) for _, ratio in aspects]
    return [torchvision_cell(size, ratio) for _, ratio in aspects]


def anchors(
    cells_LC4: NDArray[np.float64], grids: Sequence[tuple[int, int]], steps: Sequence[Pair]
) -> NDArray[np.float32]:
    """Anchors of all levels [N, 4], ordered level, row, column, cell; grids are (rows, columns), steps (y, x)."""
    levels = []
    for cells_C4, (rows, columns), (step_y, step_x) in zip(cells_LC4, grids, steps, strict=True):
        y_HW, x_HW = np.meshgrid(np.arange(rows) * float(step_y), np.arange(columns) * float(step_x), indexing="ij")
        shift_HW14 = np.stack((x_HW, y_HW, x_HW, y_HW), axis=-1)[:, :, None]
        levels.append((shift_HW14 + cells_C4).reshape(-1, 4))
    return np.concatenate([np.empty((0, 4)), *levels]).astype(np.float32)
