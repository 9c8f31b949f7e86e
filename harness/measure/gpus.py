"""The GPUs that CUDA will use, as NVML names them."""

import ctypes
import os
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

from harness.measure.visible import select
from harness.schema.system import GpuDevice

LIBRARY = "libnvidia-ml.so.1"


class Gpus(NamedTuple):
    """The visible GPUs in CUDA's order, the driver's version, and what could not be read and why."""

    devices: tuple[GpuDevice, ...]
    driver: str | None
    note: str | None


class Slot(NamedTuple):
    """One NVML device: its record, or the words with which NVML refused."""

    device: GpuDevice | None
    fault: str | None


def read_gpus() -> Gpus:
    """Return the GPUs that CUDA_VISIBLE_DEVICES leaves visible; a missing library or device is a note, no error."""
    try:
        ctypes.CDLL(LIBRARY)  # the binding takes several times as long to import as this takes to fail
    except OSError as error:
        return Gpus((), None, f"no NVML: {error}")
    import pynvml  # noqa: PLC0415 - only where there is something to bind to

    try:
        pynvml.nvmlInit()
        try:
            slots = [_slot(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
            driver = pynvml.nvmlSystemGetDriverVersion()
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        return Gpus((), None, f"NVML: {error}")
    return _chosen(slots, str(driver))


def _chosen(slots: Sequence[Slot], driver: str) -> Gpus:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    chosen, notes = select(visible, [slot.device.uuid if slot.device else None for slot in slots])
    picked = range(len(slots)) if notes else chosen  # an entry may fit nothing because a device does not answer
    notes += [f"GPU {index}: {slots[index].fault}" for index in picked if slots[index].fault]
    if _order_unknown(visible, slots):
        notes.append(
            "GPUs differ and CUDA_DEVICE_ORDER is not PCI_BUS_ID; indexes of CUDA_VISIBLE_DEVICES may mean others"
        )
    devices = tuple(device for index in chosen if (device := slots[index].device))
    if not devices and not notes:
        notes = ["CUDA_VISIBLE_DEVICES hides all GPUs" if slots else "NVML knows no GPU"]
    return Gpus(devices, driver, "; ".join(notes) or None)


def _order_unknown(visible: str | None, slots: Sequence[Slot]) -> bool:
    names = {slot.device.name for slot in slots if slot.device}
    by_index = visible is not None and any(part.strip().isdecimal() for part in visible.split(","))
    return by_index and len(names) > 1 and os.environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID"


def _slot(pynvml: ModuleType, index: int) -> Slot:
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        uuid, name = pynvml.nvmlDeviceGetUUID(handle), pynvml.nvmlDeviceGetName(handle)
    except pynvml.NVMLError as error:
        return Slot(None, str(error))
    memory = _known(pynvml, pynvml.nvmlDeviceGetMemoryInfo, handle)
    capability = _known(pynvml, pynvml.nvmlDeviceGetCudaComputeCapability, handle)
    device = GpuDevice(
        uuid=uuid,
        name=name,
        memory_bytes=memory and int(memory.total),
        compute_capability=capability and f"{capability[0]}.{capability[1]}",
    )
    return Slot(device, None)


def _known(pynvml: ModuleType, query: Any, handle: Any) -> Any | None:
    """Return what a device says, or None where it has no such reading: unknown is null, not zero."""
    try:
        return query(handle)
    except pynvml.NVMLError:
        return None
