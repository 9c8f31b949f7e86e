"""Which images make up a training step, and how ranks and micro-batches share it.

A step is planned for all ranks at once and then split, so that the images of an update do not depend on how many ranks
or micro-batches share it, and every rank has the same number of steps.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import numpy as np

from harness.data.loader import epoch_order

SEED_BITS = (1 << 64) - 1
FLIP_STREAM = 1


class Draw(NamedTuple):
    """One image of a training step: its place in the set, and the epoch in which it was drawn."""

    epoch: int
    image: int


def shuffled_steps(groups_I: Sequence[Hashable], images: int, seed: int) -> Iterator[tuple[Draw, ...]]:
    """Plan steps of `images` images each, without end, every image once an epoch in a new order.

    The images of a step are of one group (aspect grouping: landscape or portrait). Steps come in the order of their
    first image, as the published sampler has it. Images that do not fill a step at an epoch's end begin the next.

    Args:
        groups_I: The group of each of the I images.
        images: Images of a step, all ranks and micro-batches together.
        seed: Another seed, another order.
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
    return bool(image_stream(seed, FLIP_STREAM, epoch, image_id).random() < 0.5)


def image_stream(seed: int, purpose: int, epoch: int, image_id: int) -> np.random.Generator:
    """The random numbers of one image in one epoch, for one purpose: whatever the order, and on whichever rank."""
    return np.random.default_rng((seed, purpose, epoch, image_id & SEED_BITS))
