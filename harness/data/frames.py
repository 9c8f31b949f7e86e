"""Where an image stands in the batch that the model sees, and how category ids become classes.

Shapes: H and W rows and columns, K classes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.data.geometry import flip_boxes, resize, shorter_side_size
from harness.data.records import Dataset

Size = tuple[int, int]
"""Height and width in pixels."""
Window = tuple[int, int, int, int]
"""Top, left, height and width in pixels of a stored image."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Where an image stands in its batch: the top left `size` pixels, stretched from all or a window of `stored`."""

    image_id: int
    stored: Size
    size: Size
    window: Window | None = None
    """What is cut out of the stored image before it is resized; None: nothing is, all of it stands."""

    @property
    def region(self) -> Window:
        """The part of the stored image that stands in the frame."""
        return self.window or (0, 0, *self.stored)

    def boxes(self, boxes_N4: NDArray[np.float32], *, mirrored: bool) -> NDArray[np.float32]:
        """Boxes x1, y1, x2, y2 of the stored image in this frame, clipped to it; float32 [N, 4].

        Args:
            boxes_N4: x2 - x1 is the width.
            mirrored: The frame is mirrored left to right: x becomes width - x.
        """
        top, left, height, width = self.region
        gain_2 = np.array((self.size[1] / width, self.size[0] / height))
        corners_N22 = (boxes_N4.reshape(-1, 2, 2) - (left, top)) * gain_2
        placed_N4 = corners_N22.clip(0, self.size[::-1]).reshape(-1, 4).astype(np.float32)
        return flip_boxes(placed_N4, self.size[1]) if mirrored else placed_N4


@dataclass(frozen=True, slots=True)
class Resizing:
    """How images are brought to the model's size."""

    shorter: int
    longer: int
    rule: Literal["floor", "detectron"]
    """`detectron`: the shorter side is met exactly; `floor`: both sides times one factor, rounded down."""
    method: Literal["opencv", "pillow"]
    divisible: int

    def size(self, height: int, width: int) -> Size:
        """The resized height and width."""
        if self.rule == "detectron":
            rows, columns = shorter_side_size(height, width, self.shorter, self.longer)
            return max(1, rows), max(1, columns)
        return fitted(height, width, self.shorter / min(height, width), self.longer / max(height, width))

    def canvas(self, size: Size) -> Size:
        """A resized image's own frame: its sides rounded up to what the pyramid divides by."""
        return round_up(size[0], self.divisible), round_up(size[1], self.divisible)

    def frame(self, dataset: Dataset, index: int) -> Frame:
        """Where an image will stand; reads no pixels."""
        record = dataset.image(index)
        return Frame(record.id, (record.height, record.width), self.size(record.height, record.width))

    def pixels(self, dataset: Dataset, index: int, size: Size) -> NDArray[np.uint8]:
        """Decode and resize an image, uint8 RGB [*size, 3]."""
        return resize(dataset.load(index), *size, self.method)


def fitted(height: int, width: int, *scales: float) -> Size:
    """Both sides times the least of the scales, rounded down, a pixel at least."""
    scale = min(scales)
    return max(1, int(height * scale)), max(1, int(width * scale))


def round_up(value: int, divisor: int) -> int:
    """The least multiple of the divisor that is not below the value."""
    return -(-value // divisor) * divisor


def common_canvas(resizing: Resizing, sizes: Iterable[Size]) -> Size:
    """The smallest frame that holds all images of a training batch, rounded up."""
    heights, widths = zip(*sizes, strict=True)
    return resizing.canvas((max(heights), max(widths)))


def label_map(category_ids: Sequence[int], labels: Literal["contiguous", "ids"]) -> dict[int, int]:
    """The class of each category id: its place among the sorted ids from 1 on, or the id itself; 0 is background."""
    if labels == "ids":
        return {category: category for category in category_ids}
    return {category: place for place, category in enumerate(sorted(category_ids), start=1)}


def inverse_label_map(classes: Mapping[int, int], length: int) -> NDArray[np.int64]:
    """The category id of each class, int64 [length]; 0 where a class has none."""
    ids_K = np.zeros(length, dtype=np.int64)
    for category, label in classes.items():
        ids_K[label] = category
    return ids_K
