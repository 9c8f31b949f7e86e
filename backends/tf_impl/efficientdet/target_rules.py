"""How the objects of an image become padded targets.

Shapes: N objects of an image, M places for objects, the same in every batch of a run.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data import Annotations, Dataset, Frame


@dataclass(frozen=True, slots=True)
class TargetRules:
    """How annotations become targets: which objects, at which class, in how many places."""

    classes: Mapping[int, int]
    """Class of each category id, from 1 on; 0 marks a place without an object."""
    places: int
    """M."""

    def target(self, annotations: Annotations, frame: Frame, *, mirrored: bool) -> dict[str, NDArray[Any]]:
        """The objects of an image in its frame, in their order, and empty places after them.

        Returns:
            `boxes_BM4` float32 [M, 4] as x1, y1, x2, y2, cut to the frame, and `labels_BM` int32 [M]. Crowds are left
            out, and so is what the frame leaves no area of.
        """
        placed_N4 = frame.boxes(annotations.boxes_N4, mirrored=mirrored)
        kept_N = learnable(annotations) & (placed_N4[:, 2:] > placed_N4[:, :2]).all(axis=1)
        labels = [self.classes[label] for label in annotations.labels_N[kept_N].tolist()]
        boxes_M4, labels_M = np.zeros((self.places, 4), np.float32), np.zeros(self.places, np.int32)
        boxes_M4[: len(labels)], labels_M[: len(labels)] = placed_N4[kept_N], labels
        return {"boxes_BM4": boxes_M4, "labels_BM": labels_M}


def learnable(annotations: Annotations) -> NDArray[np.bool_]:
    """Which objects can be learnt, bool [N]: no crowd, and no box without extent."""
    boxes_N4 = annotations.boxes_N4
    return (boxes_N4[:, 2:] > boxes_N4[:, :2]).all(axis=1) & ~annotations.crowd_N


def most_objects(dataset: Dataset, indices: Iterable[int]) -> int:
    """How many objects the image that has most can teach; 0 where none has any."""
    return max((int(learnable(dataset.annotations(index)).sum()) for index in indices), default=0)
