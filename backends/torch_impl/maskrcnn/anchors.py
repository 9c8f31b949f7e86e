"""Anchors of both flavours, made once for each padded shape and device."""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from backends.torch_impl.maskrcnn.config import MaskRCNNConfig

Cell = tuple[float, float, float, float]
GridSize = tuple[int, int]


def legacy_cell_anchors(stride: int, size: int, ratios: Sequence[float]) -> list[Cell]:
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


def centred_cell_anchors(size: int, ratios: Sequence[float]) -> list[Cell]:
    """Anchors about the origin with sides size·√(1/ratio) and size·√ratio, half sides rounded, as in torchvision."""
    halves = [(round(size / math.sqrt(ratio) / 2), round(size * math.sqrt(ratio) / 2)) for ratio in ratios]
    return [(-width, -height, width, height) for width, height in halves]


def grid_anchors(cell: Sequence[Cell], grid: GridSize, step: GridSize) -> Tensor:
    """The cell's anchors at every position of a grid, ordered row, column, anchor; float32 [H·W·A, 4].

    Args:
        cell: anchors of position (0, 0).
        grid: rows and columns of positions.
        step: pixels between rows and between columns.
    """
    rows_H = torch.arange(grid[0], dtype=torch.float32) * step[0]
    cols_W = torch.arange(grid[1], dtype=torch.float32) * step[1]
    y_HW, x_HW = torch.meshgrid(rows_H, cols_W, indexing="ij")
    shift_HW14 = torch.stack((x_HW, y_HW, x_HW, y_HW), dim=-1)[:, :, None]
    return (shift_HW14 + torch.tensor(cell)).reshape(-1, 4)


class AnchorMaker:
    """Anchors of a batch, cached by shape and device."""

    def __init__(self, config: MaskRCNNConfig) -> None:
        self.legacy = config.inclusive_boxes
        self.cells = [self._cell(4 << level, size, config) for level, size in enumerate(config.anchor_sizes)]
        self._cached = lru_cache(maxsize=64)(self._make)

    def __call__(self, padded: GridSize, grids: Sequence[GridSize], device: torch.device) -> tuple[Tensor, ...]:
        """Anchors of each level, float32 [H·W·A, 4], for a batch padded to `padded` whose levels have these sizes."""
        return self._cached(padded, tuple(grids), device)

    def _cell(self, stride: int, size: int, config: MaskRCNNConfig) -> list[Cell]:
        if self.legacy:
            return legacy_cell_anchors(stride, size, config.anchor_ratios)
        return centred_cell_anchors(size, config.anchor_ratios)

    @torch.inference_mode(mode=False)  # the first call may be an inference, the tensors also serve training
    def _make(self, padded: GridSize, grids: tuple[GridSize, ...], device: torch.device) -> tuple[Tensor, ...]:
        return tuple(
            grid_anchors(cell, grid, self._step(level, padded, grid)).to(device)
            for level, (cell, grid) in enumerate(zip(self.cells, grids, strict=True))
        )

    def _step(self, level: int, padded: GridSize, grid: GridSize) -> GridSize:
        # torchvision divides the padded size by the grid: 96 px give P6 two positions 48 px apart, not 64
        return (4 << level, 4 << level) if self.legacy else (padded[0] // grid[0], padded[1] // grid[1])
