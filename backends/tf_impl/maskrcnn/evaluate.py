"""Evaluation: each image of this rank's shard exactly once, and inference steps that the other phases share."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from backends.tf_impl.device import memory_errors
from backends.tf_impl.maskrcnn.inputs import Feed, feed_of
from backends.tf_impl.maskrcnn.probe import intermediates
from backends.tf_impl.maskrcnn.session import Session, open_session
from backends.tf_impl.work import Detecting, Detector, channels_first
from harness.api import Batch, Context, Detections, Trial
from harness.data import Frame, open_dataset, probe_boxes


class Inference(Detecting):
    """Inference steps of one rank."""

    outputs = ("boxes", "scores", "labels", "masks")
    _session: Session

    def __init__(self, session: Session, detector: Detector, feed: Feed, *, endless: bool) -> None:
        super().__init__(
            session, detector, partial(feed.inference_batches, endless=endless), session.config.num_classes
        )

    def _in_stored_image(self, frame: Frame, *parts: NDArray[Any]) -> Detections:
        """Boxes stretched back, masks pasted into the image."""
        *plain, masks_NSS = parts
        found = super()._in_stored_image(frame, *plain)
        masks_NHW = self._session.model.paste(masks_NSS, tf.constant(found.boxes_N4), *frame.stored).numpy()
        return replace(found, masks_NHW=masks_NHW)

    def probe(self, batch: Batch) -> Mapping[str, NDArray[np.float32]]:
        """Intermediate tensors of one batch; the second stage's on `probe_boxes` of each image's valid area."""
        images_BHW3, sizes_B2 = (tensor[: batch.images] for tensor in batch.payload.seen())
        boxes_BR4 = tf.constant(np.stack([probe_boxes(*size) for size in sizes_B2.numpy().tolist()]))
        with memory_errors():
            found = self._detector.intermediates(images_BHW3, sizes_B2, boxes_BR4)
            return {name: channels_first(tensor) for name, tensor in found.items()}


def detector_of(session: Session) -> Detector:
    """The session's model, compiled."""
    return Detector(session.model.predict, partial(intermediates, session.model), xla=session.trial.xla)


def open_inference(trial: Trial, context: Context, *, endless: bool) -> Inference:
    """Inference steps over this rank's shard of the val set, once or without end.

    Raises:
        UnsupportedTrialError: the device, the precision or an option cannot be had, or there is no image to cycle over.
        DeviceOutOfMemoryError: the model does not fit.
    """
    dataset = open_dataset(context.val)
    session = open_session(trial, context, dataset.category_ids)
    return Inference(session, detector_of(session), feed_of(session, dataset), endless=endless)


def open_eval(trial: Trial, context: Context) -> Inference:
    """Evaluation steps: each image of this rank's shard exactly once."""
    return open_inference(trial, context, endless=False)
