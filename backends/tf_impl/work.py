"""What the work of every model is made of: steps of training, steps of inference, and what comes between them.

Shapes: B images, N objects of an image.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from backends.tf_impl.data import MicroBatch
from backends.tf_impl.device import memory_errors, synchronize
from backends.tf_impl.graph import Compiled, compiled
from backends.tf_impl.session import RankSession
from backends.tf_impl.training import Losses, Trainer
from harness.api import Batch, Detections, DeviceClock
from harness.data import Dataset, Frame, inverse_label_map, open_dataset


class Feed(Protocol):
    """One set as one rank reads it."""

    def train_batches(self, seed: int) -> Iterator[Batch]:
        """Batches of one update each, without end."""

    def inference_batches(self, *, endless: bool) -> Iterator[Batch]:
        """Full batches of this rank's shard, each image once or without end."""


class _Work:
    """What all phases can do."""

    def __init__(self, session: RankSession[Any, Any, Any]) -> None:
        self._session = session

    def synchronize(self) -> None:
        """Wait for the device; see `device.synchronize`."""
        synchronize(self._session.machine.device)

    def device_clock(self) -> DeviceClock | None:
        """None: TensorFlow has no public way to a device's events."""
        return None

    def barrier(self) -> None:
        """Return when all ranks have called it."""
        self._session.machine.ranks.barrier()

    def settings(self) -> Mapping[str, str]:
        """What really runs."""
        return self._session.settings()

    def close(self) -> None:
        """Leave the other ranks; loader threads end with the batches that they serve."""
        self._session.machine.ranks.close()


class Training(_Work):
    """Steps of one update each."""

    def __init__(self, session: RankSession[Any, Any, Any], feed: Feed, trainer: Trainer) -> None:
        super().__init__(session)
        session.machine.ranks.connect()
        self._feed = feed
        self._trainer = trainer
        self._updates = 0

    def batches(self) -> Iterator[Batch]:
        """Batches of one update each, without end."""
        return self._feed.train_batches(self._session.trial.seed)

    def compiles(self, batch: Batch) -> bool:
        """Whether the shapes of a micro-batch are new."""
        return self._trainer.compiles(_micro_batches(batch))

    def step(self, batch: Batch) -> Losses:
        """One update; returns the losses, still on the device, and waits for nothing.

        Under fp16 an update whose gradients overflowed is skipped on the device; the schedule counts it all the same.
        """
        with memory_errors():
            losses = self._trainer.step(_micro_batches(batch), self._updates)
        self._updates += 1
        return losses

    def read(self, output: Losses) -> Mapping[str, float]:
        """The losses by name, `loss` their sum, fetched at once."""
        with memory_errors():
            values = tf.stack(list(output.values())).numpy().tolist()
        return dict(zip(output, values, strict=True))

    def settings(self) -> Mapping[str, str]:
        """What really runs, the solver included, and whether the ranks hold the same weights; every rank calls it."""
        solver = self._trainer.solver.config
        return {
            **super().settings(),
            "optimizer": solver.optimizer,
            "learning_rate": f"{solver.learning_rate:g}",
            "weight_decay": f"{solver.weight_decay:g}",
            **solver.schedule.in_words(),
            "ranks_equal": self._ranks_equal(),
        }

    def _ranks_equal(self) -> str:
        """Whether all trained weights are the same bits everywhere; batch statistics are each rank's own."""
        ranks = self._session.machine.ranks
        return "one rank" if ranks.alone else str(ranks.equal(self._trainer.solver.variables_by_name.values())).lower()

    @cached_property
    def _val(self) -> Dataset:
        return open_dataset(self._session.context.val)


def _micro_batches(batch: Batch) -> list[MicroBatch]:
    return [inputs.learnt() for inputs in batch.payload]


@dataclass(frozen=True, slots=True)
class InferenceOutput:
    """What a step leaves on the device, and the frames that lead back to the stored images."""

    found: Mapping[str, tf.Tensor]
    """Of `Detecting.outputs` and `count`, as the model's `predict` has them."""
    frames: tuple[Frame, ...]
    """Of the real images; black ones that fill a batch up have none."""

    def real(self, name: str) -> tf.Tensor:
        """One output of the real images."""
        return self.found[name][: len(self.frames)]


class Detector:
    """A model's inference, compiled once for all who use it."""

    def __init__(self, predict: Callable[..., Any], intermediates: Callable[..., Any], *, xla: bool) -> None:
        """Take both functions.

        Args:
            predict: maps images and sizes to detections by name.
            intermediates: maps what a probe is made of to tensors by name.
            xla: compile them by XLA.
        """
        self.predict: Compiled = compiled(predict, xla)
        self.intermediates: Compiled = compiled(intermediates, xla)


class Detecting(_Work):
    """Inference steps of one rank; `batches` decides which images they see."""

    outputs: tuple[str, ...] = ("boxes", "scores", "labels")
    """What is said of each detection."""

    def __init__(
        self,
        session: RankSession[Any, Any, Any],
        detector: Detector,
        batches: Callable[[], Iterator[Batch]],
        num_classes: int,
    ) -> None:
        """Make the steps.

        Args:
            session: of the rank.
            detector: of the model that detects.
            batches: what the steps are given.
            num_classes: that labels may name, with 0.
        """
        super().__init__(session)
        self.batches = batches
        self._detector = detector
        self._category_ids = inverse_label_map(session.classes, num_classes)

    def compiles(self, batch: Batch) -> bool:
        """Whether no batch of this shape has been through yet."""
        return self._detector.predict.compiles(*batch.payload.seen())

    def step(self, batch: Batch) -> InferenceOutput:
        """Detect in one batch; detections stay on the device."""
        with memory_errors():
            return InferenceOutput(self._detector.predict(*batch.payload.seen()), batch.payload.frames)

    def read(self, output: InferenceOutput) -> Mapping[str, float]:
        """The number of detections and the sum of each output: every one of them is consumed."""
        with memory_errors():
            sums = [tf.reduce_sum(tf.cast(output.real(name), tf.float64)) for name in ("count", *self.outputs)]
            values = tf.stack(sums).numpy().tolist()
        return dict(zip(("detections", *self.outputs), values, strict=True))

    def detections(self, output: InferenceOutput) -> Sequence[Detections]:
        """Detections in the stored images, by the data set's category ids."""
        with memory_errors():
            columns = [output.real(name).numpy() for name in (*self.outputs, "count")]
            rows = zip(output.frames, *columns, strict=True)
            return [self._in_stored_image(frame, *(part[:count] for part in parts)) for frame, *parts, count in rows]

    def _in_stored_image(
        self,
        frame: Frame,
        boxes_N4: NDArray[np.float32],
        scores_N: NDArray[np.float32],
        labels_N: NDArray[np.int32],
    ) -> Detections:
        return Detections(
            image_id=frame.image_id,
            boxes_N4=boxes_N4 * _stretch(frame),
            scores_N=scores_N,
            labels_N=self._category_ids[labels_N],
        )


def _stretch(frame: Frame) -> NDArray[np.float32]:
    """Factors from the resized to the stored image for x1, y1, x2, y2; each side has its own."""
    factor_y, factor_x = (stored / size for stored, size in zip(frame.stored, frame.size, strict=True))
    return np.array((factor_x, factor_y, factor_x, factor_y), dtype=np.float32)


def channels_first(tensor: tf.Tensor) -> NDArray[np.float32]:
    """A tensor on the host as float32, its channels before its rows and columns if it has any."""
    values = tf.cast(tensor, tf.float32).numpy()
    return np.ascontiguousarray(np.moveaxis(values, -1, 1))
