"""What goes into a step of Mask R-CNN: images with padded targets for training, images with their frames otherwise."""

from collections.abc import Iterator
from dataclasses import dataclass

from backends.tf_impl.data import Pipeline
from backends.tf_impl.maskrcnn.config import MaskRCNNConfig
from backends.tf_impl.maskrcnn.crops import drawing
from backends.tf_impl.maskrcnn.session import Session
from backends.tf_impl.maskrcnn.target_rules import TargetRules, learnable
from backends.tf_impl.maskrcnn.targets import Padded
from harness.api import Batch
from harness.data import Dataset, FixedCanvas, Frame, Framing, OwnCanvas, Resizing, Size


def framing_of(config: MaskRCNNConfig) -> Framing:
    """How the model's images are framed, in the words of `harness.data`."""
    if config.canvas == "batch":
        rule = Resizing(config.shorter_side, config.longer_side, "floor", "opencv", config.size_divisible)
        return OwnCanvas(rule)
    return FixedCanvas(*config.canvas_size, oriented=config.canvas == "oriented")


@dataclass(frozen=True, slots=True)
class Feed:
    """One set as one rank reads it."""

    dataset: Dataset
    pipeline: Pipeline
    session: Session

    def train_batches(self, seed: int) -> Iterator[Batch]:
        """Batches of one update each, without end.

        Raises:
            UnsupportedTrialError: no image has an object to learn.
        """
        counts = [self._learnable(index) for index in range(len(self.dataset))]
        usable = [index for index, objects in enumerate(counts) if objects]
        session = self.session
        crops = session.config.mask_target == "crop"
        rules = TargetRules(crops, session.classes, max(counts, default=0), drawing(session.machine.host.library))

        def targets(index: int, frame: Frame, mirrored: bool, canvas: Size) -> Padded:
            return rules.target(self.dataset.annotations(index), frame, canvas, mirrored=mirrored)

        return self.pipeline.train_batches(usable, targets, seed)

    def _learnable(self, index: int) -> int:
        record = self.dataset.image(index)
        return int(learnable(self.dataset.annotations(index), record.height, record.width)[1].sum())

    def inference_batches(self, *, endless: bool) -> Iterator[Batch]:
        """Full batches of this rank's shard, each image once or without end, see `Pipeline.inference_batches`."""
        return self.pipeline.inference_batches(endless=endless)


def feed_of(session: Session, dataset: Dataset, micro_batches: int = 1) -> Feed:
    """A set as this rank of a trial reads it."""
    return Feed(dataset, session.pipeline(dataset, framing_of(session.config), micro_batches), session)
