"""Crops of objects drawn by native kernels, to the bit what `harness.data.crop_targets` draws.

Shapes: N objects, P polygons of all objects, V vertices of all polygons, S pixels a side.
"""

from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.tf_impl.maskrcnn.targets import Draw
from harness.data import Rle, Segmentation, crop_targets
from harness.kernels import Library

MIN_SIDE = 1.0
"""A box's sides count as at least this long, in pixels."""


def drawing(library: Library | None) -> Draw:
    """What draws crops: kernels of the CPU, or NumPy where there are none."""
    return crop_targets if library is None else partial(native_crops, library)


def native_crops(
    library: Library, segmentations: Sequence[Segmentation], boxes_N4: NDArray[Any], size: int
) -> NDArray[np.uint8]:
    """Each object inside its box, the box stretched to size × size pixels, uint8 [N, S, S].

    Args:
        library: of the CPU; several threads may draw at once.
        segmentations: outlines in the frame of the boxes.
        boxes_N4: the objects' boxes, edges.
        size: S.

    Raises:
        KernelError: a kernel fails.
    """
    boxes_N4 = np.ascontiguousarray(boxes_N4, dtype=np.float64)
    targets_NSS = np.zeros((len(segmentations), size, size), dtype=np.uint8)
    for kind, draw in ((False, _draw_polygons), (True, _draw_runs)):
        index = [place for place, shape in enumerate(segmentations) if isinstance(shape, Rle) is kind]
        if index:
            targets_NSS[index] = draw(library, [segmentations[place] for place in index], boxes_N4[index], size)
    return targets_NSS


def _draw_polygons(
    library: Library, objects: Sequence[Any], boxes_N4: NDArray[np.float64], size: int
) -> NDArray[np.uint8]:
    polygons = [polygon for shape in objects for polygon in shape]
    shapes = (
        np.concatenate(polygons) if polygons else np.zeros(0),
        _starts([polygon.size // 2 for polygon in polygons]),
        _starts([len(shape) for shape in objects]),
    )
    workspace = np.empty(library.size("polygon_targets", len(objects), size, size), dtype=np.uint8)
    targets_NSS = np.empty((len(objects), size, size), dtype=np.uint8)
    _run(library, "polygon_targets", *shapes, *_regions(boxes_N4, size), targets_NSS, workspace)
    return targets_NSS


def _draw_runs(library: Library, objects: Sequence[Any], boxes_N4: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    counts = np.concatenate([runs.counts_R for runs in objects]).astype(np.uint32)
    starts = _starts([runs.counts_R.size for runs in objects])
    sizes_N2 = np.array([(runs.height, runs.width) for runs in objects], dtype=np.int64)
    targets_NSS = np.empty((len(objects), size, size), dtype=np.uint8)
    shapes = (counts, starts, sizes_N2, len(objects))
    _run(library, "rle_targets", *shapes, *_regions(boxes_N4, size), targets_NSS, np.empty_like(counts))
    return targets_NSS


def _regions(boxes_N4: NDArray[np.float64], size: int) -> tuple[Any, ...]:
    """A region for each object: whose it is, its box, how many there are, rows, columns, shortest side."""
    count = len(boxes_N4)
    return np.arange(count, dtype=np.int32), boxes_N4, count, size, size, MIN_SIDE


def _starts(lengths: Sequence[int]) -> NDArray[np.int64]:
    """Where each part begins, and the end."""
    return np.array(list(accumulate(lengths, initial=0)), dtype=np.int64)


def _run(library: Library, name: str, *arguments: Any) -> None:
    """Call a kernel; arrays go by their address."""
    library.run(name, *(part.ctypes.data if isinstance(part, np.ndarray) else part for part in arguments), None)
