"""All that the author of a backend imports from the host, besides `harness.data`; nothing else is stable."""

from harness.errors import DeviceOutOfMemoryError, UnsupportedTrialError
from harness.hookspecs import Batch, Context, Detections, DeviceClock, InferenceWork, TrainWork, hookimpl
from harness.schema.backend import BackendInfo, Option
from harness.schema.trial import Trial

__all__ = [
    "BackendInfo",
    "Batch",
    "Context",
    "Detections",
    "DeviceClock",
    "DeviceOutOfMemoryError",
    "InferenceWork",
    "Option",
    "TrainWork",
    "Trial",
    "UnsupportedTrialError",
    "hookimpl",
]
