"""Evaluation: each image of this rank's shard exactly once, and inference steps that the other phases share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from backends.tf_impl.device import memory_errors, synchronize
from backends.tf_impl.graph import Compiled, compiled
from backends.tf_impl.maskrcnn.inputs import feed_of, tensors
from backends.tf_impl.maskrcnn.probe import intermediates
from backends.tf_impl.maskrcnn.session import Session, open_session
from backends.tf_impl.ops import paste_masks
from harness.api import Batch, Context, Detections, Trial
from harness.data import Frame, inverse_label_map, open_dataset, probe_boxes

OUTPUTS = ("boxes", "scores", "labels", "masks")


@dataclass(frozen=True, slots=True)
class InferenceOutput:
    """What a step leaves on the device, and the frames that lead back to the stored images."""

    found: Mapping[str, tf.Tensor]
    """Of `OUTPUTS` and `count`, as `MaskRCNN.predict` has them."""
    frames: tuple[Frame, ...]
    """Of the real images; black ones that fill a batch up have none."""

    def real(self, name: str) -> tf.Tensor:
        """One output of the real images."""
        return self.found[name][: len(self.frames)]


class Detector:
    """A model's inference, compiled once for all who use it."""

    def __init__(self, session: Session) -> None:
        self.predict: Compiled = compiled(session.model.predict, session.trial.xla)
        self._session = session

    @cached_property
    def intermediates(self) -> Compiled:
        """The model's intermediate tensors by name."""
        return compiled(partial(intermediates, self._session.model), self._session.trial.xla)


class Inference:
    """Inference steps of one rank; `batches` decides which images they see."""

    def __init__(self, session: Session, detector: Detector, batches: Callable[[], Iterator[Batch]]) -> None:
        self.batches = batches
        self._session = session
        self._detector = detector
        self._category_ids = inverse_label_map(session.classes, session.config.num_classes)

    def compiles(self, batch: Batch) -> bool:
        """Whether no batch of this shape has been through yet."""
        return self._detector.predict.compiles(*tensors(batch.payload))

    def step(self, batch: Batch) -> InferenceOutput:
        """Detect in one batch; detections stay on the device."""
        with memory_errors():
            return InferenceOutput(self._detector.predict(*tensors(batch.payload)), batch.payload.frames)

    def synchronize(self) -> None:
        """Wait for the device; see `device.synchronize`."""
        synchronize(self._session.device)

    def barrier(self) -> None:
        """Return when all ranks have called it."""
        self._session.ranks.barrier()

    def read(self, output: InferenceOutput) -> Mapping[str, float]:
        """The number of detections and the sums of boxes, scores, labels and masks: every output is consumed."""
        names = ("count", *OUTPUTS)
        with memory_errors():
            sums = [tf.reduce_sum(tf.cast(output.real(name), tf.float64)) for name in names]
            values = tf.stack(sums).numpy().tolist()
        return dict(zip(("detections", *OUTPUTS), values, strict=True))

    def detections(self, output: InferenceOutput) -> Sequence[Detections]:
        """Detections in the stored images: boxes stretched back, masks pasted, category ids of the data set."""
        with memory_errors():
            boxes, scores, labels, masks, counts = (output.real(name).numpy() for name in (*OUTPUTS, "count"))
            rows = zip(output.frames, counts.tolist(), boxes, scores, labels, masks, strict=True)
            return [self._in_stored_image(frame, *(part[:count] for part in parts)) for frame, count, *parts in rows]

    def _in_stored_image(
        self,
        frame: Frame,
        boxes_N4: NDArray[np.float32],
        scores_N: NDArray[np.float32],
        labels_N: NDArray[np.int32],
        masks_NSS: NDArray[np.float32],
    ) -> Detections:
        stored_N4 = boxes_N4 * _stretch(frame)
        threshold = self._session.config.mask_threshold
        return Detections(
            image_id=frame.image_id,
            boxes_N4=stored_N4,
            scores_N=scores_N,
            labels_N=self._category_ids[labels_N],
            masks_NHW=paste_masks(masks_NSS, tf.constant(stored_N4), *frame.stored, threshold=threshold).numpy(),
        )

    def probe(self, batch: Batch) -> Mapping[str, NDArray[np.float32]]:
        """Intermediate tensors of one batch; the second stage's on `probe_boxes` of each image's valid area."""
        images_BHW3, sizes_B2 = (tensor[: batch.images] for tensor in tensors(batch.payload))
        boxes_BR4 = tf.constant(np.stack([probe_boxes(*size) for size in sizes_B2.numpy().tolist()]))
        with memory_errors():
            found = self._detector.intermediates(images_BHW3, sizes_B2, boxes_BR4)
            return {name: channels_first(tensor) for name, tensor in found.items()}

    def settings(self) -> Mapping[str, str]:
        """What really runs."""
        return self._session.settings()

    def close(self) -> None:
        """Leave the other ranks; loader threads end with the batches that they serve."""
        self._session.ranks.close()


def channels_first(tensor: tf.Tensor) -> NDArray[np.float32]:
    """A tensor on the host as float32, its channels before its rows and columns if it has any."""
    values = tf.cast(tensor, tf.float32).numpy()
    return np.ascontiguousarray(np.moveaxis(values, -1, 1))


def _stretch(frame: Frame) -> NDArray[np.float32]:
    """Factors from the resized to the stored image for x1, y1, x2, y2; each side has its own."""
    factor_y, factor_x = (stored / size for stored, size in zip(frame.stored, frame.size, strict=True))
    return np.array((factor_x, factor_y, factor_x, factor_y), dtype=np.float32)


def open_inference(trial: Trial, context: Context, *, endless: bool) -> Inference:
    """Inference steps over this rank's shard of the val set, once or without end.

    Raises:
        UnsupportedTrialError: the device, the precision or an option cannot be had, or there is no image to cycle over.
        DeviceOutOfMemoryError: the model does not fit.
    """
    dataset = open_dataset(context.val)
    session = open_session(trial, context, dataset.category_ids)
    feed = feed_of(session, dataset)
    return Inference(session, Detector(session), lambda: feed.inference_batches(endless=endless))


def open_eval(trial: Trial, context: Context) -> Inference:
    """Evaluation steps: each image of this rank's shard exactly once."""
    return open_inference(trial, context, endless=False)
