"""The GPUs that a trial may use, opened once for the life of the sampler."""

import ctypes
import os
from types import ModuleType

from harness.measure.telemetry.device import Gpu
from harness.measure.visible import select

LIBRARY = "libnvidia-ml.so.1"


class Gpus:
    """The visible GPUs in CUDA's order, the driver, and what is odd."""

    def __init__(self) -> None:
        self.devices: list[Gpu] = []
        self.driver: str | None = None
        self.notes: list[str] = []
        try:
            self.library = ctypes.CDLL(LIBRARY)
        except OSError as error:
            self.notes.append(f"no NVML: {error}")
            return
        import pynvml  # noqa: PLC0415 - only where there is something to bind to

        try:
            pynvml.nvmlInit()
            self.driver = pynvml.nvmlSystemGetDriverVersion()
            slots = [self.slot(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
        except pynvml.NVMLError as error:
            self.notes.append(f"NVML: {error}")
            return
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        chosen, notes = select(visible, [slot.uuid if slot else None for slot in slots])
        self.notes += notes
        self.devices = [device for index in chosen if (device := slots[index]) is not None]

    def slot(self, nvml: ModuleType, index: int) -> Gpu | None:
        """One device by NVML's index; None, and a note, where it does not answer."""
        try:
            return Gpu(nvml, self.library, nvml.nvmlDeviceGetHandleByIndex(index))
        except nvml.NVMLError as error:
            self.notes.append(f"GPU {index}: {error}")
            return None
