"""Anchors of both flavours, constants of a traced function."""

from collections.abc import Sequence

import tensorflow as tf

from backends.tf_impl.maskrcnn.config import MaskRCNNConfig

Cell = tuple[float, float, float, float]
GridSize = tuple[int, int]
Aspects = Sequence[tuple[float, float]]


def centred_cell_anchors(stride: int, size: int, aspects: Aspects) -> list[Cell]:
    """Anchors of one position about the cell's centre, sides size times each aspect, as in NVIDIA's system."""
    halves = [(size * width / 2, size * height / 2) for width, height in aspects]
    middle = stride / 2
    return [(middle - width, middle - height, middle + width, middle + height) for width, height in halves]


def rounded_cell_anchors(size: int, aspects: Aspects) -> list[Cell]:
    """Anchors about the origin, half sides rounded, as in torchvision."""
    halves = [(round(size * width / 2), round(size * height / 2)) for width, height in aspects]
    return [(-width, -height, width, height) for width, height in halves]


def grid_anchors(cell: Sequence[Cell], grid: GridSize, step: GridSize) -> tf.Tensor:
    """The cell's anchors at every position of a grid, ordered row, column, anchor; float32 [H·W·A, 4].

    Args:
        cell: anchors of position (0, 0).
        grid: rows and columns of positions.
        step: pixels between rows and between columns.
    """
    rows_H = tf.range(grid[0], dtype=tf.float32) * step[0]
    cols_W = tf.range(grid[1], dtype=tf.float32) * step[1]
    y_HW, x_HW = tf.meshgrid(rows_H, cols_W, indexing="ij")
    shift_HW14 = tf.stack((x_HW, y_HW, x_HW, y_HW), axis=-1)[:, :, None]
    return tf.reshape(shift_HW14 + tf.constant(cell, tf.float32), (-1, 4))


def make_anchors(config: MaskRCNNConfig, padded: GridSize, grids: Sequence[GridSize]) -> list[tf.Tensor]:
    """Anchors of each level P2..P6, float32 [H·W·A, 4], for a batch of that padded size and levels of these sizes."""
    levels = []
    for level, (size, grid) in enumerate(zip(config.anchor_sizes, grids, strict=True)):
        stride = 4 << level
        if config.anchors == "centred":
            cell, step = centred_cell_anchors(stride, size, config.anchor_aspects), (stride, stride)
        else:
            # torchvision divides the padded size by the grid: 96 px give P6 two positions 48 px apart, not 64
            cell = rounded_cell_anchors(size, config.anchor_aspects)
            step = (padded[0] // grid[0], padded[1] // grid[1])
        levels.append(grid_anchors(cell, grid, step))
    return levels
