"""How the images of a set are framed: resized to what, on a canvas of which size, and which may share a batch.

Shapes: H and W rows and columns.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from harness.data.frames import Frame, Resizing, Size, Window, common_canvas, fitted, round_up
from harness.data.geometry import Method
from harness.data.records import Dataset
from harness.data.steps import Draw, image_stream

JITTER_STREAM = 2
PUBLISHED_LONGER = 1333 / 800


class Framing(Protocol):
    """What a pipeline asks of a rule."""

    @property
    def method(self) -> Method:
        """How pixels are interpolated."""

    def frame(self, dataset: Dataset, index: int) -> Frame:
        """Where an image stands when nothing is random; reads no pixels."""

    def drawn(self, dataset: Dataset, draw: Draw, seed: int) -> Frame:
        """Where an image stands in one epoch of training; depends on seed, epoch and image alone."""

    def step_group(self, frame: Frame) -> Hashable:
        """What the images of a training step have in common."""

    def batch_group(self, frame: Frame) -> Hashable:
        """What the images of an inference batch have in common."""

    def canvas(self, frames: Sequence[Frame]) -> Size:
        """Height and width of a batch of these images."""


@dataclass(frozen=True, slots=True)
class OwnCanvas:
    """A batch is as large as its images need: training groups by orientation, inference by each image's own canvas."""

    resizing: Resizing

    @property
    def method(self) -> Method:
        """The resizing's."""
        return self.resizing.method

    def frame(self, dataset: Dataset, index: int) -> Frame:
        """The resizing's."""
        return self.resizing.frame(dataset, index)

    def drawn(self, dataset: Dataset, draw: Draw, seed: int) -> Frame:  # noqa: ARG002  nothing is random
        """The same in every epoch."""
        return self.resizing.frame(dataset, draw.image)

    def step_group(self, frame: Frame) -> Hashable:
        """Whether it is tall."""
        return tall(frame.stored)

    def batch_group(self, frame: Frame) -> Hashable:
        """Its canvas, so that its detections do not depend on what shares its batch."""
        return self.resizing.canvas(frame.size)

    def canvas(self, frames: Sequence[Frame]) -> Size:
        """The smallest that holds all, rounded up."""
        return common_canvas(self.resizing, (frame.size for frame in frames))


@dataclass(frozen=True, slots=True)
class FixedCanvas:
    """Every image is fitted into the top left of one canvas, height × width; static shapes, as a compiler wants them.

    The published TensorFlow Mask R-CNN has 832 × 1344 for every image, the published EfficientDet a square.
    """

    height: int
    width: int
    method: Method = "opencv"
    oriented: bool = False
    """A tall image gets the canvas turned, width × height, so that a portrait does not stand in half of a landscape."""
    jitter: tuple[float, float] | None = None
    """In training the image is scaled by a factor of this range beside the fit, and cropped if it then is too large."""

    def frame(self, dataset: Dataset, index: int) -> Frame:
        """The whole image, as large as fits."""
        record = dataset.image(index)
        stored = (record.height, record.width)
        return Frame(record.id, stored, self._scaled(stored, 1.0))

    def drawn(self, dataset: Dataset, draw: Draw, seed: int) -> Frame:
        """The same, or with jitter: scaled by chance, and a window by chance where that leaves the canvas."""
        if self.jitter is None:
            return self.frame(dataset, draw.image)
        record = dataset.image(draw.image)
        stored = (record.height, record.width)
        random = image_stream(seed, JITTER_STREAM, draw.epoch, record.id)
        scaled = self._scaled(stored, random.uniform(*self.jitter))
        return cropped(record.id, stored, scaled, self._canvas(stored), random)

    def step_group(self, frame: Frame) -> Hashable:
        """Whether it is tall, if that makes a difference."""
        return self.oriented and tall(frame.stored)

    def batch_group(self, frame: Frame) -> Hashable:
        """As in training."""
        return self.step_group(frame)

    def canvas(self, frames: Sequence[Frame]) -> Size:
        """The fixed one, turned for tall images if oriented."""
        return self._canvas(frames[0].stored)

    def _canvas(self, stored: Size) -> Size:
        return (self.width, self.height) if self.oriented and tall(stored) else (self.height, self.width)

    def _scaled(self, stored: Size, factor: float) -> Size:
        rows, columns = self._canvas(stored)
        return fitted(*stored, factor * rows / stored[0], factor * columns / stored[1])


def published_canvas(shorter: int, divisible: int = 64) -> Size:
    """The fixed landscape canvas for a shorter side: 800 gives 832 × 1344, as published; others have its shape."""
    return round_up(shorter, divisible), round_up(round(shorter * PUBLISHED_LONGER), divisible)


def tall(stored: Size) -> bool:
    """Whether an image counts as portrait; a square does."""
    return stored[0] >= stored[1]


def cropped(image_id: int, stored: Size, scaled: Size, canvas: Size, random: np.random.Generator) -> Frame:
    """The frame of an image that would be `scaled`, of which a window drawn by chance fits the canvas.

    The window is in whole pixels of the stored image, so that only it has to be decoded and resized.
    """
    size = min(scaled[0], canvas[0]), min(scaled[1], canvas[1])
    top, height = _window(stored[0], scaled[0], size[0], float(random.random()))
    left, width = _window(stored[1], scaled[1], size[1], float(random.random()))
    window: Window = (top, left, height, width)
    return Frame(image_id, stored, size, None if (height, width) == stored else window)


def _window(stored: int, scaled: int, kept: int, chance: float) -> tuple[int, int]:
    """Start and length, in stored pixels, of `kept` of `scaled` pixels."""
    offset = int(chance * (scaled - kept + 1))
    start = min(round(offset * stored / scaled), stored - 1)
    stop = max(start + 1, min(round((offset + kept) * stored / scaled), stored))
    return start, stop - start
