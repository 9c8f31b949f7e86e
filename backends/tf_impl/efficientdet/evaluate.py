"""Evaluation: each image of this rank's shard exactly once, and inference steps that the other phases share."""

from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from backends.tf_impl.device import memory_errors
from backends.tf_impl.efficientdet.inputs import Feed, feed_of
from backends.tf_impl.efficientdet.model import EfficientDet
from backends.tf_impl.efficientdet.probe import intermediates
from backends.tf_impl.efficientdet.session import Session, open_session
from backends.tf_impl.work import Detecting, Detector, channels_first
from harness.api import Batch, Context, Trial
from harness.data import open_dataset


class Inference(Detecting):
    """Inference steps of one rank."""

    def __init__(self, session: Session, detector: Detector, feed: Feed, *, endless: bool) -> None:
        classes = session.config.num_classes + 1
        super().__init__(session, detector, partial(feed.inference_batches, endless=endless), classes)

    def probe(self, batch: Batch) -> Mapping[str, NDArray[np.float32]]:
        """Taps `C3`..`C5`, `P3`..`P7`, `class_logits_3`..`7` and `box_deltas_3`..`7` of one batch, [B, C, H, W]."""
        with memory_errors():
            found = self._detector.intermediates(*batch.payload.seen())
            return {name: channels_first(tensor) for name, tensor in found.items()}


def detector_of(model: EfficientDet, *, xla: bool) -> Detector:
    """A model, compiled."""
    return Detector(model.predict, partial(intermediates, model), xla=xla)


def open_inference(trial: Trial, context: Context, *, endless: bool) -> Inference:
    """Inference steps over this rank's shard of the val set, once or without end.

    Raises:
        UnsupportedTrialError: the device, the precision or an option cannot be had, or there is no image to cycle over.
        DeviceOutOfMemoryError: the model does not fit.
    """
    dataset = open_dataset(context.val)
    session = open_session(trial, context, dataset.category_ids)
    detector = detector_of(session.model, xla=trial.xla)
    return Inference(session, detector, feed_of(session, dataset), endless=endless)


def open_eval(trial: Trial, context: Context) -> Inference:
    """Evaluation steps: each image of this rank's shard exactly once."""
    return open_inference(trial, context, endless=False)
