"""Images on their way to the device, by tf.data: read, decoded, resized, mirrored and padded ahead of the model.

A plan says which images stand where, on every rank alike; each rank's share is cut from it before anything is read.
The plan goes by index over the whole set, so that an epoch is really shuffled, whatever the files' order. TensorFlow
decodes JPEG by the accurate integer transform, whose pixels are `harness.data.decode`'s, and only the window that is
needed; resizing is `harness.data.resize`, so that both frameworks see the same bytes. Pixels stay uint8 up to the
device.

Words shared with PyTorch's twin (Draw, Frame, Resizing, Share, shuffled_steps, label_map) stand in `harness.data`.

Shapes: B images of a batch, H and W of its padded frame.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import cycle
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from harness.api import Batch, UnsupportedTrialError
from harness.data import (
    Dataset,
    Draw,
    Frame,
    Framing,
    Share,
    Size,
    flipped,
    grouped_batches,
    plain_size,
    prefetch,
    resize_into,
    shard,
    shuffled_steps,
)

Targets = Callable[[int, Frame, bool, Size], Mapping[str, NDArray[Any]]]
"""What is learnt from an image, as arrays that can be stacked; given its place in the set, its frame, whether it is
mirrored, and the size of its batch's canvas."""
MicroBatch = tuple[tf.Tensor, tf.Tensor, dict[str, tf.Tensor]]
"""Images, sizes and targets."""

ROW = 12
"""Numbers that say all about one image: index (-1: black), window (4), size (2), mirrored, canvas (2), stored size
(2)."""
MARGIN = 2
"""Columns beside a window that are decoded too: at its edge the decoder would not know the colour beyond."""
ALIGNMENT = 64
"""Bytes at whose multiples TensorFlow takes over an array without copying it."""
NO_PIXELS = np.zeros((0, 0, 3), dtype=np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """One batch, or one micro-batch of training."""

    images_BHW3: tf.Tensor
    """uint8 RGB, each image in the top left corner of its place, black elsewhere."""
    sizes_B2: tf.Tensor
    """int32, height and width of each image's pixels."""
    frames: tuple[Frame, ...]
    """Of the real images; a batch filled up with black ones has fewer frames than places."""
    targets: Mapping[str, tf.Tensor] = field(default_factory=dict)
    """What `targets` returned, stacked along a first axis of B; empty in inference."""

    def seen(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Images and sizes: what detections are made of."""
        return self.images_BHW3, self.sizes_B2

    def learnt(self) -> MicroBatch:
        """Images, sizes and targets: what losses are made of."""
        return *self.seen(), dict(self.targets)


class Part(NamedTuple):
    """The plan of one micro-batch: what stands where."""

    indices: tuple[int, ...]
    frames: tuple[Frame, ...]
    mirrored: tuple[bool, ...]
    canvas: Size

    def rows(self, places: int) -> NDArray[np.int64]:
        """All about each image of a batch, black ones at the end to fill the places; int64 [places, ROW]."""
        black = (-1, 0, 0, 1, 1, *self.canvas, 0, *self.canvas, 1, 1)
        real = [
            (index, *frame.region, *frame.size, mirrored, *self.canvas, *frame.stored)
            for index, frame, mirrored in zip(self.indices, self.frames, self.mirrored, strict=True)
        ]
        return np.array(real + [black] * (places - len(real)), dtype=np.int64)


NOTHING = Part((), (), (), (1, 1))
"""What is planned behind the end of a plan: a black pixel in each place."""


class Canvases:
    """Batches that are being filled, by several threads at once: each image is written where it stays.

    Images have numbers: those of the first batch, place by place, those of the second, and so on without end.
    """

    def __init__(self, parts: Iterator[Part], places: int) -> None:
        self._parts, self._places, self._lock = parts, places, Lock()
        self._open: dict[int, tuple[NDArray[np.int64], NDArray[np.uint8]]] = {}
        self._begun = 0

    def row(self, number: int) -> NDArray[np.int64]:
        """All about an image, int64 [ROW]."""
        batch, place = divmod(number, self._places)
        with self._lock:
            while self._begun <= batch:
                part = next(self._parts, NOTHING)
                canvas_BHW3 = _aligned((self._places, *part.canvas, 3))
                self._open[self._begun] = part.rows(self._places), canvas_BHW3
                self._begun += 1
            return self._open[batch][0][place]

    def place(self, number: int) -> tuple[NDArray[np.uint8], bool]:
        """Where an image of a batch goes, uint8 [*size, 3], and whether it is mirrored; beside it turns black."""
        batch, place = divmod(number, self._places)
        with self._lock:
            rows, canvas_BHW3 = self._open[batch]
        height, width, mirrored = rows[place, 5:8].tolist()
        canvas_BHW3[place, height:] = 0
        canvas_BHW3[place, :height, width:] = 0
        return canvas_BHW3[place, :height, :width], bool(mirrored)

    def take(self, number: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The batch that begins with an image, uint8 [B, H, W, 3]; all its images are in their places."""
        with self._lock:
            return self._open.pop(int(number) // self._places)[1]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """One set as one rank reads it."""

    dataset: Dataset
    framing: Framing
    share: Share
    threads: int
    """Images decoded at once."""
    depth: int
    """Batches ready ahead of the model."""
    device: str | None = None
    """Where batches are copied ahead, as `GPU:0`; None leaves them on the host."""
    flip: bool = True
    """In training an even chance mirrors each image left to right."""

    def train_batches(self, usable: Sequence[int], targets: Targets, seed: int) -> Iterator[Batch]:
        """Batches of one update each, without end; the payload is a tuple of Inputs, one for each micro-batch.

        Args:
            usable: Places in the set of the images that have something to learn.
            targets: Called once for each image, on another thread.
            seed: Decides order, mirroring and crops.

        Raises:
            UnsupportedTrialError: No image is usable.
        """
        if not usable:
            raise UnsupportedTrialError(
                f"none of the {len(self.dataset)} training images has an object that is no crowd"
            )
        groups = [self.framing.step_group(self.framing.frame(self.dataset, index)) for index in usable]

        def plan() -> Iterator[list[Part]]:
            for step in shuffled_steps(groups, self.share.images, seed):
                draws = [Draw(epoch, usable[place]) for epoch, place in step]
                yield [self._drawn(micro_batch, seed) for micro_batch in self.share.of(draws)]

        def stacked(parts: Sequence[Part]) -> list[dict[str, tf.Tensor]]:
            return [_stacked(part, targets) for part in parts]

        for parts, learnt, images in self._carried_out(plan, stacked):
            payload = tuple(
                Inputs(images_BHW3, _sizes(part, len(part.frames)), part.frames, objects)
                for part, objects, images_BHW3 in zip(parts, learnt, images, strict=True)
            )
            yield Batch(sum(len(part.frames) for part in parts), payload)

    def inference_batches(self, *, endless: bool, full: bool = True) -> Iterator[Batch]:
        """Batches of this rank's shard, each image exactly once, or without end; the payload is Inputs.

        Args:
            endless: Begin again at the end.
            full: Black images fill the last batch of each group up to the batch size, so that shapes stay the same;
                `Batch.images` and `frames` count the real ones. Otherwise that batch is smaller.

        Raises:
            UnsupportedTrialError: Without end, but no image for this rank.
        """
        mine = shard(range(len(self.dataset)), self.share.rank, self.share.world_size)
        if endless and not mine:
            raise UnsupportedTrialError(f"{len(self.dataset)} val images leave none for rank {self.share.rank}")
        groups = [self.framing.batch_group(self.framing.frame(self.dataset, index)) for index in mine]
        numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
        keys = {index: numbers[group] for index, group in zip(mine, groups, strict=True)}

        def plan() -> Iterator[list[Part]]:
            for batch in grouped_batches(cycle(mine) if endless else mine, keys, self.share.batch_size):
                frames = tuple(self.framing.frame(self.dataset, index) for index in batch)
                yield [Part(tuple(batch), frames, (False,) * len(batch), self.framing.canvas(frames))]

        for (part,), _, (images_BHW3,) in self._carried_out(plan, lambda _: None):
            real, places = len(part.frames), self.share.batch_size
            if real < places and not full:
                images_BHW3, places = images_BHW3[:real], real  # noqa: PLW2901  the last of its group
            yield Batch(real, Inputs(images_BHW3, _sizes(part, places), part.frames))

    def _drawn(self, draws: Sequence[Draw], seed: int) -> Part:
        frames = tuple(self.framing.drawn(self.dataset, draw, seed) for draw in draws)
        pairs = zip(draws, frames, strict=True)
        mirrored = tuple(self.flip and flipped(seed, draw.epoch, frame.image_id) for draw, frame in pairs)
        return Part(tuple(draw.image for draw in draws), frames, mirrored, self.framing.canvas(frames))

    def _carried_out(
        self, plan: Callable[[], Iterator[list[Part]]], beside: Callable[[Sequence[Part]], Any]
    ) -> Iterator[tuple[list[Part], Any, list[tf.Tensor]]]:
        """Yield each step's parts, what is made beside the images, and the images of each part."""
        batches = iter(self._images(lambda: (part for parts in plan() for part in parts)))
        made = prefetch(plan(), lambda parts: (parts, beside(parts)), threads=self.threads, depth=self.depth)
        with closing(made):  # type: ignore[type-var]  # a generator, though its type does not say so
            for parts, extra in made:
                yield parts, extra, [self._next(batches, part) for part in parts]

    def _next(self, batches: Iterator[tf.Tensor], part: Part) -> tf.Tensor:
        try:
            return next(batches)
        except tf.errors.OpError:
            for index in part.indices:
                self.dataset.load(index)  # raises the error that names the broken file
            raise

    def _images(self, parts: Callable[[], Iterator[Part]]) -> tf.data.Dataset:
        places = self.share.batch_size
        canvases = Canvases(parts(), places)

        def image(number: tf.Tensor) -> tf.Tensor:
            return self._image(number, canvases)

        def taken(numbers: tf.Tensor) -> tf.Tensor:
            batch_BHW3 = tf.numpy_function(canvases.take, [numbers[0]], tf.uint8)
            return tf.ensure_shape(batch_BHW3, (places, None, None, 3))

        images = tf.data.Dataset.counter().map(image, num_parallel_calls=self.threads, deterministic=True)
        batches = images.batch(places, drop_remainder=True).map(taken).prefetch(self.depth)
        batches = batches.with_options(_options(self.threads))
        if self.device is None:
            return batches
        return batches.apply(tf.data.experimental.prefetch_to_device(self.device, buffer_size=1))

    def _image(self, number: tf.Tensor, canvases: Canvases) -> tf.Tensor:
        """Decode an image and put it into its batch; its number is returned."""

        def read(number: NDArray[np.int64]) -> tuple[bytes, NDArray[np.uint8], NDArray[np.int64]]:
            row = canvases.row(int(number))
            return *self._read(row), row

        def stand(image_HW3: NDArray[np.uint8], number: NDArray[np.int64]) -> NDArray[np.int64]:
            place_HW3, mirrored = canvases.place(int(number))
            resize_into(image_HW3, place_HW3, self.framing.method, mirrored=mirrored)
            return number

        data, pixels_HW3, row = tf.numpy_function(read, [number], (tf.string, tf.uint8, tf.int64))
        row = tf.ensure_shape(row, (ROW,))
        decoded_HW3 = tf.cond(tf.strings.length(data) > 0, lambda: _decoded(data, row), lambda: pixels_HW3)
        return tf.ensure_shape(tf.numpy_function(stand, [decoded_HW3, number], tf.int64), ())

    def _read(self, row: NDArray[np.int64]) -> tuple[bytes, NDArray[np.uint8]]:
        """The file of an image for TensorFlow to decode; where it would decode it otherwise, nothing and the pixels."""
        index, top, left, height, width = row[:5].tolist()
        if index < 0:
            return b"", np.zeros((1, 1, 3), dtype=np.uint8)
        data = self.dataset.encoded(index)
        record = self.dataset.image(index)
        if data is not None and plain_size(data) == (record.height, record.width):
            return data, NO_PIXELS
        return b"", self.dataset.load(index)[top : top + height, left : left + width]


def _decoded(data: tf.Tensor, row: tf.Tensor) -> tf.Tensor:
    """The window of a JPEG, to the bit what the whole image has there; uint8 [height, width, 3]."""
    return tf.cond(
        tf.reduce_all(row[3:5] == row[10:12]),
        lambda: tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: _decoded_window(data, tf.cast(row, tf.int32)),
    )


def _decoded_window(data: tf.Tensor, row: tf.Tensor) -> tf.Tensor:
    top, left, height, width, stored_width = row[1], row[2], row[3], row[4], row[11]
    start, stop = tf.maximum(left - MARGIN, 0), tf.minimum(left + width + MARGIN, stored_width)
    wide = tf.stack([top, start, height, stop - start])
    wide_HW3 = tf.io.decode_and_crop_jpeg(data, wide, channels=3, dct_method="INTEGER_ACCURATE")
    return wide_HW3[:, left - start : left - start + width]


def _aligned(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Room whose content is left as it is, at an address that TensorFlow takes over."""
    size = math.prod(shape)
    room = np.empty(size + ALIGNMENT, dtype=np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    return room[start : start + size].reshape(shape)


def _options(threads: int) -> tf.data.Options:
    """A pool of its own for the loader, so that it takes no more cores than it was given."""
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    options.threading.private_threadpool_size = threads
    options.threading.max_intra_op_parallelism = 1
    return options


def _sizes(part: Part, places: int) -> tf.Tensor:
    """Heights and widths, int32 [places, 2]; a black image counts as all of its canvas."""
    sizes = [frame.size for frame in part.frames] + [part.canvas] * (places - len(part.frames))
    return tf.constant(sizes, tf.int32)


def _stacked(part: Part, targets: Targets) -> dict[str, tf.Tensor]:
    each = [targets(*image, part.canvas) for image in zip(part.indices, part.frames, part.mirrored, strict=True)]
    return {name: tf.convert_to_tensor(np.stack([image[name] for image in each])) for name in each[0]}
