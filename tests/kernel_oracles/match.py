"""Matching of candidates to objects by its definition, in NumPy."""

from dataclasses import dataclass

import numpy as np
from kernel_oracles.box_iou import box_iou
from numpy.typing import NDArray

Float = NDArray[np.float32]
NONE, TIES, FIRST = 0, 1, 2
"""Which candidates are kept whatever their overlap."""


@dataclass(frozen=True)
class Rule:
    """When a candidate is foreground, background or neither."""

    foreground: float = 0.5
    background: float = 0.5
    strict: bool = False
    keep: int = NONE
    one: float = 0.0


def match(objects_M4: Float, candidates_N4: Float, rule: Rule) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
    """Object and state [N] of the candidates of one image whose places all hold an object."""
    iou_MN = box_iou(objects_M4, candidates_N4, rule.one)
    object_N = np.zeros(len(candidates_N4), np.int32)
    state_N = np.zeros(len(candidates_N4), np.int8)
    if iou_MN.size == 0:
        return object_N, state_N
    object_N[:] = iou_MN.argmax(axis=0)
    best_N = iou_MN.max(axis=0)
    above_N = best_N > np.float32(rule.foreground) if rule.strict else best_N >= np.float32(rule.foreground)
    state_N[:] = np.where(above_N, 1, np.where(best_N >= np.float32(rule.background), -1, 0))
    for number in reversed(range(len(objects_M4))):
        overlap_N = iou_MN[number]
        if overlap_N.max() > 0 and rule.keep == TIES:
            state_N[overlap_N == overlap_N.max()] = 1
        if overlap_N.max() > 0 and rule.keep == FIRST:
            state_N[overlap_N.argmax()], object_N[overlap_N.argmax()] = 1, number
    return object_N, state_N


def match_batch(
    objects_BM4: Float, present_BM: NDArray[np.bool_], candidates_BN4: Float, rule: Rule
) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
    """Object and state [B, N] of images of which some places hold no object."""
    shape = candidates_BN4.shape[:2]
    object_BN, state_BN = np.zeros(shape, np.int32), np.zeros(shape, np.int8)
    for image, present_M in enumerate(present_BM):
        places = np.flatnonzero(present_M)
        if len(places):
            found_N, state_BN[image] = match(objects_BM4[image, places], candidates_BN4[image], rule)
            object_BN[image] = places[found_N]
    return object_BN, state_BN
