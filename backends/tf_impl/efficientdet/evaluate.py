"""Evaluation: each image of this rank's shard exactly once, and inference steps that the other phases share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from backends.tf_impl.device import memory_errors, synchronize
from backends.tf_impl.efficientdet.inputs import feed_of, tensors
from backends.tf_impl.efficientdet.model import EfficientDet
from backends.tf_impl.efficientdet.session import Session, open_session
from backends.tf_impl.graph import Compiled, compiled
from harness.api import Batch, Context, Detections, Trial
from harness.data import Frame, inverse_label_map, open_dataset

OUTPUTS = ("boxes", "scores", "labels", "count")


@dataclass(frozen=True, slots=True)
class InferenceOutput:
    """What a step leaves on the device, and the frames that lead back to the stored images."""

    found: Mapping[str, tf.Tensor]
    """Of `OUTPUTS`, as `EfficientDet.predict` has them."""
    frames: tuple[Frame, ...]
    """Of the real images; black ones that fill a batch up have none."""

    def real(self) -> list[tf.Tensor]:
        """`OUTPUTS` of the real images."""
        return [self.found[name][: len(self.frames)] for name in OUTPUTS]


class Detector:
    """A model's inference, compiled once for all who use it."""

    def __init__(self, model: EfficientDet, *, xla: bool) -> None:
        self.model = model
        self.predict: Compiled = compiled(model.predict, xla)
        self._xla = xla

    @cached_property
    def taps(self) -> Compiled:
        """The model's intermediate tensors by name, in NHWC order."""
        return compiled(self._taps, self._xla)

    def _taps(self, images_BHW3: tf.Tensor, sizes_B2: tf.Tensor) -> dict[str, tf.Tensor]:
        model = self.model
        pixels_BHW3 = model.normalize(images_BHW3, sizes_B2)
        features, pyramid = model.features(pixels_BHW3), model.pyramid(pixels_BHW3)
        logits, codes = model.outputs(pixels_BHW3)
        taps = {f"C{level}": tap for level, tap in enumerate(features, start=3)}
        taps |= {f"P{level}": tap for level, tap in enumerate(pyramid, start=3)}
        for name, flat in (("class_logits", logits), ("box_deltas", codes)):
            maps = (_as_map(values, tap) for values, tap in zip(flat, pyramid, strict=True))
            taps |= {f"{name}_{level}": values_BHWC for level, values_BHWC in enumerate(maps, start=3)}
        return taps


def _as_map(values_BNK: tf.Tensor, level_BHWC: tf.Tensor) -> tf.Tensor:
    """Values of anchors as channels of their positions, [B, H, W, A·K]."""
    batch, height, width, _ = level_BHWC.shape
    return tf.reshape(values_BNK, (batch, height, width, -1))


class Inference:
    """Inference steps of one rank; `batches` decides which images they see."""

    def __init__(self, session: Session, detector: Detector, batches: Callable[[], Iterator[Batch]]) -> None:
        self.batches = batches
        self._session = session
        self._detector = detector
        self._category_ids = inverse_label_map(session.classes, session.config.num_classes + 1)

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
        """The number of detections and the sums of boxes, scores and labels: every output is consumed."""
        with memory_errors():
            sums = tf.stack([tf.reduce_sum(tf.cast(values, tf.float64)) for values in output.real()])
            *parts, detections = sums.numpy().tolist()
        return {"detections": detections, **dict(zip(OUTPUTS, parts, strict=False))}

    def detections(self, output: InferenceOutput) -> Sequence[Detections]:
        """Detections in the stored images: boxes stretched back, category ids of the data set."""
        with memory_errors():
            found = [values.numpy() for values in output.real()]
        return [self._in_stored_image(frame, *parts) for frame, *parts in zip(output.frames, *found, strict=True)]

    def _in_stored_image(
        self,
        frame: Frame,
        boxes_D4: NDArray[np.float32],
        scores_D: NDArray[np.float32],
        labels_D: NDArray[np.int32],
        count: int,
    ) -> Detections:
        return Detections(
            image_id=frame.image_id,
            boxes_N4=boxes_D4[:count] * _stretch(frame),
            scores_N=scores_D[:count],
            labels_N=self._category_ids[labels_D[:count]],
        )

    def probe(self, batch: Batch) -> Mapping[str, NDArray[np.float32]]:
        """Taps `C3`..`C5`, `P3`..`P7`, `class_logits_3`..`7` and `box_deltas_3`..`7` of one batch, [B, C, H, W]."""
        with memory_errors():
            taps = self._detector.taps(*tensors(batch.payload))
            return {name: tf.cast(tap, tf.float32).numpy().transpose(0, 3, 1, 2) for name, tap in taps.items()}

    def settings(self) -> Mapping[str, str]:
        """What really runs."""
        return self._session.settings()

    def close(self) -> None:
        """Leave the ring; loader threads end with the batches that they serve."""
        self._session.ranks.close()


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
    detector = Detector(session.model, xla=trial.xla)
    return Inference(session, detector, lambda: feed.inference_batches(endless=endless))


def open_eval(trial: Trial, context: Context) -> Inference:
    """Evaluation steps: each image of this rank's shard exactly once."""
    return open_inference(trial, context, endless=False)
