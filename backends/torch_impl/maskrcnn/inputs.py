"""What goes into a step of Mask R-CNN: images with their targets for training, images with their frames otherwise.

Shapes: N objects of an image, H and W of its pixels, B images of a batch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle

import torch
from torch import Tensor

from backends.torch_impl.data import collate
from backends.torch_impl.maskrcnn.config import MaskRCNNConfig
from backends.torch_impl.maskrcnn.session import Session
from backends.torch_impl.maskrcnn.target_rules import TargetRules
from backends.torch_impl.maskrcnn.targets import Target
from harness.api import Batch, UnsupportedTrialError
from harness.data import (
    Dataset,
    Draw,
    Frame,
    Resizing,
    Share,
    common_canvas,
    flip_image,
    flipped,
    grouped_batches,
    prefetch,
    shard,
    shuffled_steps,
)


@dataclass(frozen=True, slots=True)
class TrainInputs:
    """One micro-batch of one rank."""

    images_BHW3: Tensor
    sizes_B2: Tensor
    targets: tuple[Target, ...]

    def to(self, device: torch.device) -> "TrainInputs":
        """The same on a device, the sizes on the host still; copies from pinned memory do not wait for it."""
        images_BHW3 = self.images_BHW3.to(device, non_blocking=True)
        return TrainInputs(images_BHW3, self.sizes_B2, tuple(target.to(device) for target in self.targets))


@dataclass(frozen=True, slots=True)
class InferenceInputs:
    """One batch of images that share a canvas."""

    images_BHW3: Tensor
    sizes_B2: Tensor
    frames: tuple[Frame, ...]


def resizing_of(config: MaskRCNNConfig) -> Resizing:
    """The model's resizing, in the words of `data`."""
    return Resizing(
        shorter=config.shorter_side,
        longer=config.longer_side,
        rule=config.size_rule,
        method="pillow" if config.resize == "pillow" else "opencv",
        divisible=config.size_divisible,
    )


@dataclass(frozen=True, slots=True)
class Feed:
    """One set as one rank reads it."""

    dataset: Dataset
    resizing: Resizing
    share: Share
    threads: int
    depth: int
    pinned: bool

    def examples(self, step: Sequence[Draw], rules: TargetRules, seed: int) -> TrainInputs:
        """Decode one micro-batch: pixels, mirrored or not, and targets."""
        frames = [self.resizing.frame(self.dataset, draw.image) for draw in step]
        images, targets = [], []
        for draw, frame in zip(step, frames, strict=True):
            mirrored = flipped(seed, draw.epoch, frame.image_id)
            pixels = self.resizing.pixels(self.dataset, draw.image, frame.size)
            images.append(flip_image(pixels) if mirrored else pixels)
            targets.append(rules.target(self.dataset.annotations(draw.image), frame, mirrored=mirrored))
        sizes = [frame.size for frame in frames]
        images_BHW3 = collate(images, common_canvas(self.resizing, sizes), pinned=self.pinned)
        return TrainInputs(images_BHW3, torch.tensor(sizes), tuple(targets))

    def train_batches(self, rules: TargetRules, seed: int) -> Iterator[Batch]:
        """Batches of one update each, without end.

        Raises:
            UnsupportedTrialError: no image has an object to learn.
        """
        usable = [index for index in range(len(self.dataset)) if self._learnable(index, rules)]
        if not usable:
            raise UnsupportedTrialError(
                f"none of the {len(self.dataset)} training images has an object that is no crowd"
            )
        tall = [image.height >= image.width for image in map(self.dataset.image, usable)]
        steps = shuffled_steps(tall, self.share.images, seed)
        shares = (self.share.of([Draw(epoch, usable[place]) for epoch, place in step]) for step in steps)

        def load(parts: Sequence[Sequence[Draw]]) -> Batch:
            return Batch(sum(map(len, parts)), tuple(self.examples(part, rules, seed) for part in parts))

        return prefetch(shares, load, threads=self.threads, depth=self.depth)

    def _learnable(self, index: int, rules: TargetRules) -> bool:
        record = self.dataset.image(index)
        return bool(rules.corners(self.dataset.annotations(index), record.height, record.width)[1].any())

    def inference_batches(self, *, endless: bool) -> Iterator[Batch]:
        """Batches of equal canvas from this rank's shard: once, the last of each canvas smaller, or without end.

        An image's canvas depends on the image alone, so its detections do not depend on what shares its batch.

        Raises:
            UnsupportedTrialError: without end, but no image for this rank.
        """
        mine = shard(range(len(self.dataset)), self.share.rank, self.share.world_size)
        if endless and not mine:
            raise UnsupportedTrialError(f"{len(self.dataset)} val images leave none for rank {self.share.rank}")
        canvases = [self.resizing.canvas(self.resizing.frame(self.dataset, index).size) for index in mine]
        numbers = {canvas: number for number, canvas in enumerate(dict.fromkeys(canvases))}
        keys = {index: numbers[canvas] for index, canvas in zip(mine, canvases, strict=True)}
        groups = grouped_batches(cycle(mine) if endless else mine, keys, self.share.batch_size)
        return prefetch(groups, self._images, threads=self.threads, depth=self.depth)

    def _images(self, group: Sequence[int]) -> Batch:
        frames = tuple(self.resizing.frame(self.dataset, index) for index in group)
        images = [
            self.resizing.pixels(self.dataset, index, frame.size) for index, frame in zip(group, frames, strict=True)
        ]
        batch_BHW3 = collate(images, self.resizing.canvas(frames[0].size), pinned=self.pinned)
        sizes_B2 = torch.tensor([frame.size for frame in frames])
        return Batch(len(group), InferenceInputs(batch_BHW3, sizes_B2, frames))


def feed_of(session: Session, dataset: Dataset, micro_batches: int = 1) -> Feed:
    """A set as this rank of a trial reads it."""
    trial, context, options = session.trial, session.context, session.options
    return Feed(
        dataset=dataset,
        resizing=resizing_of(session.config),
        share=Share(context.rank, context.world_size, trial.batch_size_per_gpu, micro_batches),
        threads=options.loader_threads,
        depth=options.prefetch_batches,
        pinned=session.device.type == "cuda",
    )


def target_rules(session: Session) -> TargetRules:
    """The flavour's rules for targets."""
    config = session.config
    return TargetRules(config.inclusive_boxes, bitmaps=config.flavour == "torchvision", classes=session.classes)
