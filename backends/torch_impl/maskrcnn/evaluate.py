"""Evaluation: each image of this rank's shard exactly once, and inference steps that the other phases share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backends.torch_impl.data import inverse
from backends.torch_impl.device import clock_of, memory_errors, synchronize
from backends.torch_impl.maskrcnn.inputs import feed_of
from backends.torch_impl.maskrcnn.session import Session, open_session
from backends.torch_impl.maskrcnn.targets import Prediction
from harness.api import Batch, Context, Detections, DeviceClock, Trial
from harness.data import Frame, open_dataset, probe_boxes


@dataclass(frozen=True, slots=True)
class InferenceOutput:
    """What a step leaves on the device, and the frames that lead back to the stored images."""

    predictions: Sequence[Prediction]
    frames: tuple[Frame, ...]


class Inference:
    """Inference steps of one rank; `batches` decides which images they see."""

    def __init__(self, session: Session, batches: Callable[[], Iterator[Batch]]) -> None:
        self.batches = batches
        self._session = session
        self._category_ids = inverse(session.classes, session.config.num_classes)

    def compiles(self, batch: Batch) -> bool:  # noqa: ARG002  the seam's signature
        """Never: torch runs eagerly."""
        return False

    def step(self, batch: Batch) -> InferenceOutput:
        """Detect in one batch; detections stay on the device."""
        session, inputs = self._session, batch.payload
        if session.model.training:
            session.model.eval()
        with memory_errors(), torch.inference_mode(), session.precision.autocast():
            images_BHW3 = inputs.images_BHW3.to(session.device, non_blocking=True)
            return InferenceOutput(session.model.predict(images_BHW3, inputs.sizes_B2), inputs.frames)

    def synchronize(self) -> None:
        """Wait for the device; see `device.synchronize`."""
        synchronize(self._session.device)

    def device_clock(self) -> DeviceClock | None:
        """CUDA events; none on the CPU."""
        return clock_of(self._session.device)

    def barrier(self) -> None:
        """Return when all ranks have called it."""
        self._session.ranks.barrier()

    def read(self, output: InferenceOutput) -> Mapping[str, float]:
        """The number of detections and the sums of boxes, scores, labels and masks: every output is consumed."""
        found = output.predictions
        parts = (
            [prediction.boxes_N4 for prediction in found],
            [prediction.scores_N for prediction in found],
            [prediction.labels_N for prediction in found],
            [prediction.masks_NSS for prediction in found],
        )
        with memory_errors(), torch.inference_mode():
            sums = torch.stack([torch.cat(part).sum(dtype=torch.float64) for part in parts]).tolist()
        names = ("boxes", "scores", "labels", "masks")
        count = sum(len(prediction.scores_N) for prediction in found)
        return {"detections": float(count), **dict(zip(names, sums, strict=True))}

    def detections(self, output: InferenceOutput) -> Sequence[Detections]:
        """Detections in the stored images: boxes stretched back, masks pasted, category ids of the data set."""
        with memory_errors(), torch.inference_mode():
            pairs = zip(output.predictions, output.frames, strict=True)
            return [self._in_stored_image(prediction, frame) for prediction, frame in pairs]

    def _in_stored_image(self, prediction: Prediction, frame: Frame) -> Detections:
        model = self._session.model
        boxes_N4 = prediction.boxes_N4 * _stretch(frame).to(prediction.boxes_N4)
        masks_NHW = model.paste(prediction.masks_NSS, boxes_N4, *frame.stored)
        return Detections(
            image_id=frame.image_id,
            boxes_N4=model.boxes.to_edges(boxes_N4).cpu().numpy(),
            scores_N=prediction.scores_N.cpu().numpy(),
            labels_N=self._category_ids[prediction.labels_N.cpu()].numpy(),
            masks_NHW=masks_NHW.cpu().numpy(),
        )

    def probe(self, batch: Batch) -> Mapping[str, NDArray[np.float32]]:
        """Intermediate tensors of one batch; the second stage's on `probe_boxes` of each image's valid area."""
        session, inputs = self._session, batch.payload
        boxes = [torch.from_numpy(probe_boxes(*size)).to(session.device) for size in inputs.sizes_B2.tolist()]
        session.model.eval()
        with memory_errors(), torch.inference_mode(), session.precision.autocast():
            tensors = session.model.intermediates(inputs.images_BHW3.to(session.device), inputs.sizes_B2, boxes)
            return {name: tensor.float().cpu().contiguous().numpy() for name, tensor in tensors.items()}

    def settings(self) -> Mapping[str, str]:
        """What really runs."""
        return self._session.settings()

    def close(self) -> None:
        """Leave the process group; loader threads end with the batches that they serve."""
        self._session.ranks.close()


def _stretch(frame: Frame) -> Tensor:
    """Factors from the resized to the stored image for x1, y1, x2, y2; each side has its own."""
    factor_y, factor_x = (stored / size for stored, size in zip(frame.stored, frame.size, strict=True))
    return torch.tensor((factor_x, factor_y, factor_x, factor_y))


def open_inference(trial: Trial, context: Context, *, endless: bool) -> Inference:
    """Inference steps over this rank's shard of the val set, once or without end.

    Raises:
        UnsupportedTrialError: the device, the precision or an option cannot be had, or there is no image to cycle over.
        DeviceOutOfMemoryError: the model does not fit.
    """
    dataset = open_dataset(context.val)
    session = open_session(trial, context, dataset.category_ids)
    feed = feed_of(session, dataset)
    return Inference(session, lambda: feed.inference_batches(endless=endless))


def open_eval(trial: Trial, context: Context) -> Inference:
    """Evaluation steps: each image of this rank's shard exactly once."""
    return open_inference(trial, context, endless=False)
