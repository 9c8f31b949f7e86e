"""What a data set hands out, and what every data set can do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from harness.data.masks import Segmentation


class ImageRecord(NamedTuple):
    """One image as the annotation file lists it; sizes in pixels."""

    id: int
    file_name: str
    width: int
    height: int


class Outlines(Sequence[Segmentation]):
    """The segmentations of N objects, each drawn when it is asked for; which objects have one is known before."""

    def __init__(self, outlined_N: NDArray[np.bool_], draw: Callable[[int], Segmentation]) -> None:
        self.outlined_N, self._draw = outlined_N, draw

    @overload
    def __getitem__(self, place: int) -> Segmentation: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Segmentation]: ...

    def __getitem__(self, place: int | slice) -> Segmentation | Sequence[Segmentation]:
        if isinstance(place, slice):
            return tuple(self._draw(number) for number in range(len(self))[place])
        return self._draw(range(len(self))[place])

    def __len__(self) -> int:
        return len(self.outlined_N)


@dataclass(frozen=True, slots=True)
class Annotations:
    """The N objects of one image, in the order of the annotation file.

    boxes_N4: float32 x1, y1, x2, y2 with x2 - x1 the width, in pixels as stored. labels_N: int64 category ids.
    crowd_N: bool. area_N: float64, in pixels, as the file has it. ids_N: int64. segmentations: N, each a tuple of
    polygons or run lengths; an empty tuple where the file has none. Outlines that take time to read are drawn when they
    are asked for: `outlined_N` says which objects have one, and draws none.
    """

    boxes_N4: NDArray[np.float32]
    labels_N: NDArray[np.int64]
    crowd_N: NDArray[np.bool_]
    area_N: NDArray[np.float64]
    ids_N: NDArray[np.int64]
    segmentations: Sequence[Segmentation]

    @property
    def outlined_N(self) -> NDArray[np.bool_]:  # noqa: N802  a shape suffix, as the fields have
        """Which objects have a segmentation, bool [N]."""
        if isinstance(self.segmentations, Outlines):
            return self.segmentations.outlined_N
        return np.array([len(shape) > 0 for shape in self.segmentations], dtype=np.bool_)

    def with_outlines(self, outlines: Outlines) -> "Annotations":
        """The same objects with other segmentations."""
        return replace(self, segmentations=outlines)

    def __len__(self) -> int:
        return len(self.ids_N)


class Dataset(Protocol):
    """A COCO-format set; every method may be called from several threads at once."""

    @property
    def image_ids(self) -> Sequence[int]:
        """Ids of the images, in the order of the annotation file."""

    @property
    def category_ids(self) -> tuple[int, ...]:
        """Ids of the categories, ascending; gaps are usual."""

    @property
    def category_names(self) -> Mapping[int, str]:
        """Names of the categories by id."""

    def __len__(self) -> int:
        """Return the number of images."""

    def image(self, index: int) -> ImageRecord:
        """Return the record of the image at that place."""

    def load(self, index: int) -> NDArray[np.uint8]:
        """Return the pixels, uint8 RGB [H, W, 3] in stored order; DataError names file and id of a broken image."""

    def encoded(self, index: int) -> bytes | None:
        """Return the image file's bytes as they are, for a framework's own decoder; None where there is no file."""

    def annotations(self, index: int) -> Annotations:
        """Return the objects of the image at that place."""

    def coco(self) -> dict[str, Any]:
        """Return the ground truth as a COCO dict, for scoring."""

    def fingerprint(self) -> str:
        """Return the SHA-256 of the annotation content, in hexadecimal."""
