"""What stands between top-k and NMS, by its definition, in NumPy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Code:
    """How offsets become boxes, and which boxes are large enough."""

    one: float = 0.0
    weight_xy: float = 1.0
    weight_wh: float = 1.0
    log_limit: float = 4.135166556742356
    min_size: float = 0.0
    ordered: bool = False


class Level(NamedTuple):
    """What a head says of one level, and which of its anchors were chosen."""

    index_BK: NDArray[Any]
    logit_BK: Float
    delta_BN4: Float
    anchor_N4: Float


class Selected(NamedTuple):
    """Slots of all levels."""

    box_BK4: Float
    score_BK: Float
    valid_BK: NDArray[np.bool_]
    reach_BK4: Float
    """How far numbers that each coordinate is a difference of are from 0: its rounding errors are shares of this."""


def sigmoid(logit: Float) -> Float:
    """1 / (1 + e^-x), without overflow."""
    small = np.exp(-np.abs(logit))
    return np.where(logit < 0, small / (1 + small), 1 / (1 + small)).astype(np.float32)


def decode(delta_K4: Float, anchor_K4: Float, code: Code) -> tuple[Float, Float]:
    """Boxes [K, 4] and their reach."""
    one, limit = np.float32(code.one), np.float32(code.log_limit)
    side_K2 = anchor_K4[:, 2:] - anchor_K4[:, :2] + one
    middle_K2 = delta_K4[:, :2] / np.float32(code.weight_xy) * side_K2 + (anchor_K4[:, :2] + np.float32(0.5) * side_K2)
    half_K2 = np.float32(0.5) * (np.exp(np.minimum(delta_K4[:, 2:] / np.float32(code.weight_wh), limit)) * side_K2)
    reach_K2 = np.abs(middle_K2) + np.abs(half_K2) + one
    return np.concatenate((middle_K2 - half_K2, middle_K2 + half_K2 - one), 1), np.tile(reach_K2, 2)


def _image(level: Level, image: int, size_2: Float, code: Code) -> Selected:
    one = np.float32(code.one)
    index_K, logit_K = level.index_BK[image], level.logit_BK[image]
    there_K = (index_K >= 0) & (index_K < len(level.anchor_N4))
    box_K4, reach_K4 = np.zeros((2, len(index_K), 4), np.float32)
    at = index_K[there_K].astype(np.int64)
    box_K4[there_K], reach_K4[there_K] = decode(level.delta_BN4[image, at], level.anchor_N4[at], code)
    box_K4 = np.maximum(np.minimum(box_K4, np.tile(size_2[::-1] - one, 2)), np.float32(0))
    if code.ordered:
        box_K4[:, 2:] = np.maximum(box_K4[:, :2], box_K4[:, 2:])
    large_K = (box_K4[:, 2:] - box_K4[:, :2] + one >= np.float32(code.min_size)).all(axis=1)
    return Selected(box_K4, sigmoid(logit_K), large_K & there_K & ~np.isnan(logit_K), reach_K4)


def select_boxes(levels: Sequence[Level], sizes_B2: Float, code: Code) -> Selected:
    """The slots of all levels of each image, levels in order; boxes are of any value where not valid."""
    images = []
    with np.errstate(all="ignore"):
        for image, size_2 in enumerate(sizes_B2):
            parts = [_image(level, image, size_2, code) for level in levels]
            images.append([np.concatenate(part) for part in zip(*parts, strict=True)])
    return Selected(*(np.stack(part) for part in zip(*images, strict=True)))
