"""How the GPUs are set up: links, caps, clocks, modes. Read once a run; what moves during a trial is telemetry's."""

import ctypes
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from harness.measure import gpus
from harness.measure.reading import SYS, number_of
from harness.schema.system import GpuState

COMPUTE_MODES = ("default", "exclusive-thread", "prohibited", "exclusive-process")
ARCHITECTURE = "NVML_DEVICE_ARCH_"


class GpuStates(NamedTuple):
    """The states of GPUs in the order asked for, and the versions that belong to the driver; None where unknown."""

    states: tuple[GpuState, ...] | None
    cuda_driver: str | None
    nvml: str | None


UNKNOWN = GpuStates(None, None, None)


def read_gpu_states(uuids: Sequence[str], sys: Path = SYS) -> GpuStates:
    """Ask NVML how each GPU is set up; what the driver or a device cannot say is None, and never an error.

    Args:
        uuids: of the GPUs, as `read_gpus` found them; without any NVML is not asked.
        sys: where sysfs is, which knows the NUMA node of a PCI slot.
    """
    if not uuids:
        return UNKNOWN
    try:
        ctypes.CDLL(gpus.LIBRARY)
    except OSError:
        return UNKNOWN
    import pynvml  # noqa: PLC0415 - only where there is something to bind to

    try:
        pynvml.nvmlInit()
        try:
            states = tuple(_state(_Asker(pynvml, uuid), uuid, sys) for uuid in uuids)
            host = _Asker(pynvml, None)
            cuda = host.ask("nvmlSystemGetCudaDriverVersion_v2")
            nvml = host.ask("nvmlSystemGetNVMLVersion")
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return UNKNOWN
    return GpuStates(states, None if cuda is None else f"{cuda // 1000}.{cuda % 1000 // 10}", nvml)


class _Asker:
    """One device, or the host, that is asked by the names of NVML's functions."""

    def __init__(self, pynvml: ModuleType, uuid: str | None) -> None:
        self.pynvml = pynvml
        self.first: tuple[Any, ...] = ()
        self.lost = False
        if uuid is not None:
            try:
                self.first = (pynvml.nvmlDeviceGetHandleByUUID(uuid),)
            except pynvml.NVMLError:
                self.lost = True

    def ask(self, name: str, *arguments: object) -> Any | None:
        """The answer, or None where the device, the driver or the binding has none."""
        query = getattr(self.pynvml, name, None)
        if query is None or self.lost:
            return None
        try:
            return query(*self.first, *arguments)
        except self.pynvml.NVMLError:
            return None

    def switch(self, name: str) -> bool | None:
        """A mode that is on or off; of a pair now and after the next reset, the one now."""
        answer = self.ask(name)
        answer = answer[0] if isinstance(answer, list) else answer
        return None if answer is None else bool(answer)


def _state(device: _Asker, uuid: str, sys: Path) -> GpuState:
    ask, nvml = device.ask, device.pynvml
    bus = _bus(ask("nvmlDeviceGetPciInfo"))
    least, most = ask("nvmlDeviceGetPowerManagementLimitConstraints") or (None, None)
    return GpuState(
        uuid=uuid,
        pci_bus_id=bus,
        pcie_generation=ask("nvmlDeviceGetCurrPcieLinkGeneration"),
        pcie_width=ask("nvmlDeviceGetCurrPcieLinkWidth"),
        pcie_generation_max=ask("nvmlDeviceGetMaxPcieLinkGeneration"),
        pcie_width_max=ask("nvmlDeviceGetMaxPcieLinkWidth"),
        numa_node=_numa_node(bus, sys),
        nvlinks=_nvlinks(device),
        vbios=ask("nvmlDeviceGetVbiosVersion"),
        architecture=_named(nvml, ARCHITECTURE, ask("nvmlDeviceGetArchitecture")),
        sm_clock_max_mhz=ask("nvmlDeviceGetMaxClockInfo", nvml.NVML_CLOCK_SM),
        memory_clock_max_mhz=ask("nvmlDeviceGetMaxClockInfo", nvml.NVML_CLOCK_MEM),
        application_sm_clock_mhz=ask("nvmlDeviceGetApplicationsClock", nvml.NVML_CLOCK_GRAPHICS),
        application_memory_clock_mhz=ask("nvmlDeviceGetApplicationsClock", nvml.NVML_CLOCK_MEM),
        power_limit_mw=ask("nvmlDeviceGetEnforcedPowerLimit"),
        power_limit_default_mw=ask("nvmlDeviceGetPowerManagementDefaultLimit"),
        power_limit_min_mw=least,
        power_limit_max_mw=most,
        persistence=device.switch("nvmlDeviceGetPersistenceMode"),
        compute_mode=_compute_mode(ask("nvmlDeviceGetComputeMode")),
        mig=device.switch("nvmlDeviceGetMigMode"),
        ecc=device.switch("nvmlDeviceGetEccMode"),
    )


def _bus(info: Any) -> str | None:
    """A PCI address as the kernel writes it: NVML's domain has eight digits, the kernel's four."""
    if info is None:
        return None
    told = info.busId.decode() if isinstance(info.busId, bytes) else str(info.busId)
    domain, _, place = told.lower().partition(":")
    return f"{domain[-4:]}:{place}" if place and set(domain[:-4]) <= {"0"} else told.lower()


def _numa_node(bus: str | None, sys: Path) -> int | None:
    """The NUMA node of a PCI address; the kernel says -1 where there is but one."""
    node = None if bus is None else number_of(sys / "bus/pci/devices" / bus / "numa_node")
    return None if node is None or node < 0 else node


def _nvlinks(device: _Asker) -> int | None:
    """How many NVLinks are up; None for a GPU without any."""
    said = [device.ask("nvmlDeviceGetNvLinkState", link) for link in range(device.pynvml.NVML_NVLINK_MAX_LINKS)]
    known = [state for state in said if state is not None]
    return sum(map(bool, known)) if known else None


def _compute_mode(mode: int | None) -> str | None:
    return None if mode is None else COMPUTE_MODES[mode] if mode < len(COMPUTE_MODES) else str(mode)


def _named(nvml: ModuleType, prefix: str, number: int | None) -> str | None:
    """The binding's name for a number, or the number itself where it knows none."""
    if number is None:
        return None
    names = (name for name, value in vars(nvml).items() if name.startswith(prefix) and value == number)
    return next((name.removeprefix(prefix) for name in names), str(number))
