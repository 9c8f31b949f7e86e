"""Polygons to pixels, by the rule that the COCO numbers of record use.

The outline is walked on a grid five times finer. Where the walk steps from fine column 5c+2 to 5c+3 it crosses the
centre of pixel column c, and every pixel of that column below the crossing changes sides. Only these crossings are
computed here, all edges of all polygons at once. Source of the rule: the COCO API's mask code; its results are matched
bit for bit by the tests.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FINE = 5
FINE_LIMIT = 10**9
"""Coordinates on the fine grid are kept within ± this: about 200 million pixels. The COCO API's overflow beyond."""


class Edges(NamedTuple):
    """E edges on the fine grid, each walked from its lower end along its longer side."""

    x0_E: NDArray[np.int64]
    y0_E: NDArray[np.int64]
    x1_E: NDArray[np.int64]
    y1_E: NDArray[np.int64]
    steep_E: NDArray[np.bool_]


def toggles(
    points_V2: NDArray[np.float64], lengths_P: NDArray[np.int64], height: int, width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find where P closed polygons cross the columns of a frame of height × width pixels.

    Args:
        points_V2: The vertices x, y in pixels of all polygons, one after the other; a polygon with a NaN crosses
            nothing.
        lengths_P: How many vertices each polygon has, 0 or more.
        height: Rows of the frame.
        width: Columns of the frame.

    Returns:
        For each of T crossings the polygon [T], and the place [T] in the frame read down its columns from which on
        all pixels change sides.
    """
    edges = _edges(points_V2, lengths_P)
    low, high = np.minimum(edges.x0_E, edges.x1_E), np.maximum(edges.x0_E, edges.x1_E)
    first_column = np.maximum(-((2 - low) // FINE), 0)  # the least c with 5c+2 ≥ low
    last_column = np.minimum((high - 3) // FINE, width - 1)  # the greatest c with 5c+3 ≤ high
    crossings_E = np.maximum(last_column - first_column + 1, 0)
    edge_T = np.arange(crossings_E.size).repeat(crossings_E)
    start_T = (first_column - (crossings_E.cumsum() - crossings_E)).repeat(crossings_E)
    column_T = start_T + np.arange(edge_T.size)
    row_T = np.minimum(np.maximum((_fine_row(edges, edge_T, column_T) + 2) // FINE, 0), height)
    polygon_E = np.arange(lengths_P.size).repeat(lengths_P)
    return polygon_E[edge_T], column_T * height + row_T


def _edges(points_V2: NDArray[np.float64], lengths_P: NDArray[np.int64]) -> Edges:
    fine_V2 = _fine_points(points_V2, lengths_P)
    some_P = lengths_P > 0
    after_V, stop_P = np.arange(1, len(fine_V2) + 1), lengths_P.cumsum()
    after_V[stop_P[some_P] - 1] = (stop_P - lengths_P)[some_P]  # the last vertex is joined to the first
    x0_E, y0_E = fine_V2[:, 0], fine_V2[:, 1]
    x1_E, y1_E = x0_E[after_V], y0_E[after_V]
    steep_E = np.abs(x1_E - x0_E) < np.abs(y1_E - y0_E)
    swap_E = np.where(steep_E, y0_E > y1_E, x0_E > x1_E)
    return Edges(
        np.where(swap_E, x1_E, x0_E),
        np.where(swap_E, y1_E, y0_E),
        np.where(swap_E, x0_E, x1_E),
        np.where(swap_E, y0_E, y1_E),
        steep_E,
    )


def _fine_points(points_V2: NDArray[np.float64], lengths_P: NDArray[np.int64]) -> NDArray[np.int64]:
    grid_V2 = FINE * points_V2 + 0.5
    if np.isnan(grid_V2).any():
        polygon_V = np.arange(lengths_P.size).repeat(lengths_P)
        broken_P = np.bincount(polygon_V, np.isnan(grid_V2).any(axis=1), lengths_P.size) > 0
        grid_V2[broken_P[polygon_V]] = 0.0  # a polygon in one point crosses nothing
    return grid_V2.clip(-FINE_LIMIT, FINE_LIMIT).astype(np.int64)  # towards zero, as a C cast does


def _fine_row(edges: Edges, edge_T: NDArray[np.int64], column_T: NDArray[np.int64]) -> NDArray[np.int64]:
    x0_T, y0_T, steep_T = edges.x0_E[edge_T], edges.y0_E[edge_T], edges.steep_E[edge_T]
    dx_T, dy_T = edges.x1_E[edge_T] - x0_T, edges.y1_E[edge_T] - y0_T
    # One of both slopes is used below; no edge that crosses a column has two sides of zero.
    along_x_T = dy_T / np.where(steep_T, 1, dx_T)
    along_y_T = dx_T / np.where(steep_T, dy_T, 1)
    step_T = FINE * column_T + 2 - x0_T
    flat_T = np.minimum(_walk(y0_T, along_x_T, step_T), _walk(y0_T, along_x_T, step_T + 1))
    return np.where(steep_T, y0_T + _last_before(x0_T, along_y_T, column_T, steep_T), flat_T)


def _walk(start_T: NDArray[np.int64], slope_T: NDArray[np.float64], step_T: NDArray[np.int64]) -> NDArray[np.int64]:
    return (start_T + slope_T * step_T + 0.5).astype(np.int64)


def _last_before(
    x0_T: NDArray[np.int64], slope_T: NDArray[np.float64], column_T: NDArray[np.int64], steep_T: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return the last step of a steep walk that is still on the near side of the column's centre."""
    rising_T = slope_T > 0
    slope_T = np.where(steep_T, slope_T, 1.0)
    guess_T = np.ceil((FINE * column_T + 2.5 - x0_T) / slope_T).astype(np.int64)
    crossed_T = guess_T + 1
    for step_T in (guess_T, guess_T - 1):  # the guess is off by one where the walk's own rounding is
        across_T = (_walk(x0_T, slope_T, step_T) >= FINE * column_T + 3) == rising_T
        crossed_T = np.where(across_T, step_T, crossed_T)
    return crossed_T - 1
