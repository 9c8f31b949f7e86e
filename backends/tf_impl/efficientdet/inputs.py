"""What goes into a step of EfficientDet: images on a square canvas, with padded targets for training.

Shapes: B images of a batch, H and W of the canvas, M places for objects.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from numpy.typing import NDArray

from backends.tf_impl.data import Inputs, Pipeline
from backends.tf_impl.efficientdet.session import Session
from backends.tf_impl.efficientdet.target_rules import TargetRules, most_objects
from harness.api import Batch
from harness.data import Dataset, FixedCanvas, Frame, Share, Size

MicroBatch = tuple[tf.Tensor, tf.Tensor, dict[str, tf.Tensor]]


def micro_batch(inputs: Inputs) -> MicroBatch:
    """Images, sizes and targets: what the losses are made of."""
    return inputs.images_BHW3, inputs.sizes_B2, dict(inputs.targets)


def tensors(inputs: Inputs) -> tuple[tf.Tensor, tf.Tensor]:
    """Images and sizes: what detections are made of."""
    return inputs.images_BHW3, inputs.sizes_B2


@dataclass(frozen=True, slots=True)
class Feed:
    """One set as one rank reads it."""

    dataset: Dataset
    pipeline: Pipeline
    classes: Mapping[int, int]

    def train_batches(self, seed: int) -> Iterator[Batch]:
        """Batches of one update each, without end; images without objects are part of them, as published.

        Raises:
            UnsupportedTrialError: no image has an object to learn.
        """
        places = most_objects(self.dataset, range(len(self.dataset)))
        rules = TargetRules(self.classes, places)

        def targets(index: int, frame: Frame, mirrored: bool, _canvas: Size) -> dict[str, NDArray[Any]]:
            return rules.target(self.dataset.annotations(index), frame, mirrored=mirrored)

        usable = range(len(self.dataset)) if places else ()
        return self.pipeline.train_batches(usable, targets, seed)

    def inference_batches(self, *, endless: bool) -> Iterator[Batch]:
        """Full batches of this rank's shard, each image once or without end, see `Pipeline.inference_batches`."""
        return self.pipeline.inference_batches(endless=endless)


def feed_of(session: Session, dataset: Dataset, micro_batches: int = 1) -> Feed:
    """A set as this rank of a trial reads it: scaled and cropped by chance in training, fitted otherwise."""
    trial, context, options = session.trial, session.context, session.options
    side = session.config.image_size
    pipeline = Pipeline(
        dataset=dataset,
        framing=FixedCanvas(side, side, jitter=(options.scale_min, options.scale_max)),
        share=Share(context.rank, context.world_size, trial.batch_size_per_gpu, micro_batches),
        threads=options.loader_threads,
        depth=options.prefetch_batches,
        device="GPU:0" if session.device.type == "cuda" else None,
        flip=options.flip,
    )
    return Feed(dataset, pipeline, session.classes)
