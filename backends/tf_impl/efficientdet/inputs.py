"""What goes into a step of EfficientDet: images on a square canvas, with padded targets for training."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from backends.tf_impl.data import Pipeline
from backends.tf_impl.efficientdet.session import Session
from backends.tf_impl.efficientdet.target_rules import TargetRules, most_objects
from harness.api import Batch
from harness.data import Dataset, FixedCanvas, Frame, Size


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
    side, options = session.config.image_size, session.options
    framing = FixedCanvas(side, side, jitter=(options.scale_min, options.scale_max))
    return Feed(dataset, session.pipeline(dataset, framing, micro_batches, flip=options.flip), session.classes)
