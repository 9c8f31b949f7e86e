"""Images on their way to the device: which ones make up a step, their frames, and batches as uint8 tensors.

A step is planned for all ranks at once and then split, so that the images of an update do not depend on how many ranks
or micro-batches share it, and every rank has the same number of steps.

Shapes: B images of a batch, H and W of its padded frame, I images of a set, K classes.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.data import Dataset, epoch_order, resize, shorter_side_size

Size = tuple[int, int]
"""Height and width in pixels."""

_SEED_BITS = (1 << 64) - 1
_FLIP_STREAM = 1


class Draw(NamedTuple):
    """One image of a training step: its place in the set, and the epoch in which it was drawn."""

    epoch: int
    image: int


@dataclass(frozen=True, slots=True)
class Frame:
    """Where an image stands in its batch: the top left `size` pixels, stretched from `stored`."""

    image_id: int
    stored: Size
    size: Size


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
        scale = min(self.shorter / min(height, width), self.longer / max(height, width))
        return max(1, int(height * scale)), max(1, int(width * scale))

    def canvas(self, size: Size) -> Size:
        """A resized image's own frame: its sides rounded up to what the pyramid divides by."""
        return _round_up(size[0], self.divisible), _round_up(size[1], self.divisible)

    def frame(self, dataset: Dataset, index: int) -> Frame:
        """Where an image will stand; reads no pixels."""
        record = dataset.image(index)
        return Frame(record.id, (record.height, record.width), self.size(record.height, record.width))

    def pixels(self, dataset: Dataset, index: int, size: Size) -> NDArray[np.uint8]:
        """Decode and resize an image, uint8 RGB [*size, 3]."""
        return resize(dataset.load(index), *size, self.method)


def _round_up(value: int, divisor: int) -> int:
    return -(-value // divisor) * divisor


def label_map(category_ids: Sequence[int], labels: Literal["contiguous", "ids"]) -> dict[int, int]:
    """The class of each category id: its place among the sorted ids from 1 on, or the id itself; 0 is background."""
    if labels == "ids":
        return {category: category for category in category_ids}
    return {category: place for place, category in enumerate(sorted(category_ids), start=1)}


def shuffled_steps(groups_I: Sequence[Hashable], images: int, seed: int) -> Iterator[tuple[Draw, ...]]:
    """Plan steps of `images` images each, without end, every image once an epoch in a new order.

    The images of a step are of one group (aspect grouping: landscape or portrait). Steps come in the order of their
    first image, as the published sampler has it. Images that do not fill a step at an epoch's end begin the next.
    """
    left: list[Draw] = []
    for epoch in count():
        drawn = [Draw(epoch, image) for image in epoch_order(len(groups_I), seed, epoch)]
        steps, left = _filled(left + drawn, groups_I, images)
        yield from steps


def _filled(
    draws: Sequence[Draw], groups_I: Sequence[Hashable], images: int
) -> tuple[list[tuple[Draw, ...]], list[Draw]]:
    """Cut draws into steps of one group each, in the order of their first draws; and the draws that are left over."""
    begun: dict[Hashable, list[tuple[int, Draw]]] = {}
    full: list[list[tuple[int, Draw]]] = []
    for place, draw in enumerate(draws):
        step = begun.setdefault(groups_I[draw.image], [])
        step.append((place, draw))
        if len(step) == images:
            full.append(begun.pop(groups_I[draw.image]))
    left = sorted(pair for step in begun.values() for pair in step)
    return [tuple(draw for _, draw in step) for step in sorted(full)], [draw for _, draw in left]


@dataclass(frozen=True, slots=True)
class Share:
    """Which images of a planned step are this rank's: `micro_batches` times `batch_size` of them."""

    rank: int
    world_size: int
    batch_size: int
    micro_batches: int = 1

    @property
    def images(self) -> int:
        """Images of one step, all ranks and micro-batches together."""
        return self.batch_size * self.world_size * self.micro_batches

    def of(self, step: Sequence[Draw]) -> list[Sequence[Draw]]:
        """This rank's micro-batches."""
        per_rank = self.batch_size
        starts = range(self.rank * per_rank, self.images, per_rank * self.world_size)
        return [step[start : start + per_rank] for start in starts]


def flipped(seed: int, epoch: int, image_id: int) -> bool:
    """Whether an image is mirrored in an epoch: an even chance that depends on nothing else."""
    key = (seed, _FLIP_STREAM, epoch, image_id & _SEED_BITS)
    return bool(np.random.default_rng(key).random() < 0.5)


def collate(images: Sequence[NDArray[np.uint8]], canvas: Size, *, pinned: bool) -> Tensor:
    """Images in the top left corners of one black batch, uint8 [B, *canvas, 3]; from pinned memory if asked."""
    batch_BHW3 = torch.zeros((len(images), *canvas, 3), dtype=torch.uint8, pin_memory=pinned)
    view_BHW3 = batch_BHW3.numpy()
    for place, image_HW3 in enumerate(images):
        view_BHW3[place, : image_HW3.shape[0], : image_HW3.shape[1]] = image_HW3
    return batch_BHW3


def common_canvas(resizing: Resizing, sizes: Iterable[Size]) -> Size:
    """The smallest frame that holds all images of a training batch, rounded up."""
    heights, widths = zip(*sizes, strict=True)
    return resizing.canvas((max(heights), max(widths)))


def inverse(classes: Mapping[int, int], length: int) -> Tensor:
    """The category id of each class, int64 [length]; 0 where a class has none."""
    ids_K = torch.zeros(length, dtype=torch.int64)
    for category, label in classes.items():
        ids_K[label] = category
    return ids_K
