"""Every hook a backend implements, and the objects that cross the seam.

The host drives: it asks for batches, hands each to `step`, decides when to synchronise, reads the clock, cuts the
warm-up, scores detections. A backend supplies steps, `synchronize()` and detections, and decides nothing about numbers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pluggy

from harness.schema.backend import BackendInfo
from harness.schema.trial import Trial

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PROJECT_NAME = "harness"
hookspec = pluggy.HookspecMarker(PROJECT_NAME)
hookimpl = pluggy.HookimplMarker(PROJECT_NAME)


@dataclass(frozen=True, slots=True)
class Context:
    """What a worker knows besides its trial; `train` and `val` are accepted by `harness.data.open_dataset`."""

    rank: int
    local_rank: int
    world_size: int
    train: str
    val: str


@dataclass(frozen=True, slots=True)
class Batch:
    """One rank's input of one step: how many images, and whatever the backend's own `step` wants."""

    images: int
    payload: Any


@dataclass(frozen=True, slots=True)
class Detections:
    """The detections of one image, in stored pixel order of the original image.

    boxes_N4: float32 [N, 4] as x1, y1, x2, y2 with x2 - x1 the width (no +1). scores_N: float32 [N].
    labels_N: int64 [N], category ids of the data set. masks_NHW: bool or uint8 [N, H, W], or None without masks.
    """

    image_id: int
    boxes_N4: "NDArray[np.float32]"
    scores_N: "NDArray[np.float32]"
    labels_N: "NDArray[np.int64]"
    masks_NHW: "NDArray[np.bool_] | None" = None


class DeviceClock(Protocol):
    """The clock of a device that works through a queue, as CUDA's events read it; it times beside the host's clock."""

    def mark(self) -> Any:
        """Put a mark into the device's queue, behind all that was handed to it, and return it without waiting."""

    def elapsed_ms(self, start: Any, end: Any) -> float:
        """Milliseconds of the device between two marks that it has passed; asked only after `synchronize`."""


class Work(Protocol):
    """What a hook returns: steps for the host to drive on this rank."""

    def batches(self) -> Iterator[Batch]:
        """Yield this rank's shard: endless for train and infer, exactly once over the shard for eval."""

    def compiles(self, batch: Batch) -> bool:
        """Say whether the step of this batch would compile first; the host then times that step on its own."""

    def step(self, batch: Batch) -> Any:
        """Hand one step to the device and return its output without waiting for it."""

    def synchronize(self) -> None:
        """Return when all work handed to this rank's device is done."""

    def device_clock(self) -> DeviceClock | None:
        """The clock of this rank's device; None where it has none, or the framework does not let one read it."""

    def barrier(self) -> None:
        """Return when all ranks have called it; nothing to do for one rank."""

    def read(self, output: Any) -> Mapping[str, float]:
        """Fetch a few scalars that depend on all of a step's output: losses by name, `loss` the total; or counts."""

    def settings(self) -> Mapping[str, str]:
        """Say what really runs: device name, half type, memory format, kernels."""

    def close(self) -> None:
        """Let go of threads, process groups and device memory."""


class InferenceWork(Work, Protocol):
    """Steps of the eval and infer phases."""

    def detections(self, output: Any) -> Sequence[Detections]:
        """Bring one step's output to the host as detections in the original images."""

    def probe(self, batch: Batch) -> "Mapping[str, NDArray[np.float32]]":
        """Compute one batch's intermediate tensors by name: float32, NCHW whatever the framework's own order.

        Called outside every window, where a trial of the eval phase asks for it, to compare frameworks on the same
        weights. Heads of the second stage work on `harness.data.probe_boxes` of each image's valid area.
        """


class TrainWork(Work, Protocol):
    """Steps of the train phase: one step is one optimizer update, accumulation included."""

    def evaluation(self) -> InferenceWork:
        """Return eval steps over this rank's shard of the val set, on the weights as they now are."""

    def save(self, path: Path) -> None:
        """Write the weights as they now are."""


@hookspec(firstresult=True)
def harness_describe() -> BackendInfo:  # type: ignore[empty-body]
    """Return the backend's static facts; must not import a framework."""


@hookspec(firstresult=True)
def harness_train(trial: Trial, context: Context) -> TrainWork:  # type: ignore[empty-body]
    """Return training steps for this rank; None or UnsupportedTrialError declines."""


@hookspec(firstresult=True)
def harness_eval(trial: Trial, context: Context) -> InferenceWork:  # type: ignore[empty-body]
    """Return evaluation steps over this rank's shard of the val set; None or UnsupportedTrialError declines."""


@hookspec(firstresult=True)
def harness_infer(trial: Trial, context: Context) -> InferenceWork:  # type: ignore[empty-body]
    """Return inference steps over the val set, again and again; None or UnsupportedTrialError declines."""
