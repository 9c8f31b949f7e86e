"""Anchors, as constants.

Shapes: C anchors of a cell, N anchors of all levels, ordered level, row, column, cell.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from backends.tf_impl.kernels.levels import Grid


def anchors(grids: Sequence[Grid]) -> tf.Tensor:
    """The anchors of a pyramid, float32 [N, 4]; positions are added in double precision and rounded once.

    Args:
        grids: of each level.
    """
    return tf.constant(np.concatenate([_of_level(grid) for grid in grids]).astype(np.float32))


def _of_level(grid: Grid) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    y_HW, x_HW = np.mgrid[: grid.rows, : grid.columns] * np.array(grid.steps, dtype=np.float64)[:, None, None]
    shift_HW14 = np.stack((x_HW, y_HW, x_HW, y_HW), axis=-1)[:, :, None]
    return (shift_HW14 + np.array(grid.cell, dtype=np.float64).reshape(-1, 4)).reshape(-1, 4)
