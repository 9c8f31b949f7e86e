"""Why a trial cannot run here: what its backend or this machine does not have."""

from functools import cache
from importlib.util import find_spec

from harness.matrix.model import DeviceChoice, Requires
from harness.schema.backend import BackendInfo
from harness.schema.system import GpuDevice, Machine
from harness.schema.trial import Device, Trial
from harness.units import format_bytes

GIB = 1024**3
NEEDED_CAPABILITY = {"tf32": (8, 0), "amp": (7, 0)}
"""tf32 came with Ampere, half-precision tensor cores with Volta: CUDA C++ Programming Guide, compute capabilities."""


def device_for(choice: DeviceChoice, gpus: int, info: BackendInfo, machine: Machine) -> Device:
    """The device of one trial; auto means CUDA where the machine has as many GPUs as it asks for, else the CPU."""
    if choice != "auto":
        return choice
    if "cpu" not in info.devices:
        return "cuda"
    return "cuda" if "cuda" in info.devices and gpus <= len(machine.gpus) else "cpu"


def why_not(trial: Trial, info: BackendInfo, machine: Machine, requires: Requires) -> str | None:
    """The first reason why this trial cannot run here, or None."""
    return (
        _backend_lacks(trial, info)
        or _launcher_lacks(trial, info)
        or _machine_lacks(trial, machine)
        or _precision_needs(trial, machine)
        or _requires_more(trial, machine, requires)
    )


def _backend_lacks(trial: Trial, info: BackendInfo) -> str | None:
    if trial.device not in info.devices:
        return f"{info.name} does not run on {trial.device}; it runs on {' and '.join(info.devices)}"
    if trial.precision not in info.precisions:
        return f"{info.name} has no precision {trial.precision}; it has {', '.join(info.precisions)}"
    if trial.xla and not info.xla:
        return f"{info.name} does not compile with XLA"
    if trial.launcher is not None and trial.launcher not in info.launchers:
        return f"{info.name} has no launcher {trial.launcher}; it has {', '.join(info.launchers)}"
    if info.max_ranks is not None and trial.world_size > info.max_ranks:
        return f"needs {_count(trial.world_size, 'rank')}; {info.name} runs at most {info.max_ranks}"
    return None


def _launcher_lacks(trial: Trial, info: BackendInfo) -> str | None:
    needs_horovod = trial.world_size > 1 and (trial.launcher or info.launchers[0]) == "horovod"
    if needs_horovod and not _installed("horovod"):
        return "the launcher horovod needs Horovod, which is not installed; `make horovod` builds it"
    return None


@cache
def _installed(package: str) -> bool:
    """Whether a package could be imported; nothing is."""
    return find_spec(package) is not None


def _machine_lacks(trial: Trial, machine: Machine) -> str | None:
    if trial.nodes > 1:
        return f"needs {trial.nodes} nodes; the local launcher starts ranks on this machine alone"
    if trial.device == "cuda" and trial.gpus > len(machine.gpus):
        return f"needs {_count(trial.gpus, 'GPU')}; this machine has {_gpus(machine)}"
    if trial.device == "cpu" and trial.gpus > (machine.cpu_cores or 0):
        return f"needs {trial.gpus} CPU ranks; this machine has {_count(machine.cpu_cores or 0, 'core')}, one rank each"
    return None


def _precision_needs(trial: Trial, machine: Machine) -> str | None:
    needed = NEEDED_CAPABILITY.get(trial.precision)
    if needed is None:
        return None
    if trial.device == "cpu":
        if trial.precision == "amp":
            return None
        has = f"this machine has {_gpus(machine)}" if not machine.gpus else "this trial runs on the CPU"
        return f"{trial.precision} needs a GPU of compute capability {_dotted(needed)} or newer; {has}"
    return _older_gpu(machine.gpus[: trial.gpus], needed, trial.precision)


def _older_gpu(devices: tuple[GpuDevice, ...], needed: tuple[int, int], who: str) -> str | None:
    """The reason for the first device that is older than needed; a device that does not tell is not refused."""
    for device in devices:
        if device.compute_capability and _version(device.compute_capability) < needed:
            has = f"{device.name} has {device.compute_capability}"
            return f"{who} needs a GPU of compute capability {_dotted(needed)} or newer; {has}"
    return None


def _requires_more(trial: Trial, machine: Machine, requires: Requires) -> str | None:
    if requires.gpus is not None and len(machine.gpus) < requires.gpus:
        return f"the matrix requires {_count(requires.gpus, 'GPU')}; this machine has {_gpus(machine)}"
    if requires.cpu_cores is not None and (machine.cpu_cores or 0) < requires.cpu_cores:
        has = _count(machine.cpu_cores or 0, "core")
        return f"the matrix requires {_count(requires.cpu_cores, 'CPU core')}; this machine has {has}"
    if requires.memory_gib is not None and (machine.memory_bytes or 0) < requires.memory_gib * GIB:
        has = format_bytes(machine.memory_bytes or 0)
        return f"the matrix requires {requires.memory_gib:g} GiB; this machine has {has}"
    return _requires_of_gpus(trial, machine, requires)


def _requires_of_gpus(trial: Trial, machine: Machine, requires: Requires) -> str | None:
    devices = machine.gpus[: trial.gpus] if trial.device == "cuda" else machine.gpus
    wants = requires.compute_capability is not None or requires.gpu_memory_gib is not None
    if wants and not devices:
        return f"the matrix requires a GPU; this machine has {_gpus(machine)}"
    if requires.compute_capability is not None and (
        reason := _older_gpu(devices, _version(requires.compute_capability), "the matrix")
    ):
        return reason
    for device in devices:
        if requires.gpu_memory_gib is not None and (device.memory_bytes or 0) < requires.gpu_memory_gib * GIB:
            has = format_bytes(device.memory_bytes) if device.memory_bytes else "unknown memory"
            return f"the matrix requires GPUs of {requires.gpu_memory_gib:g} GiB; {device.name} has {has}"
    return None


def _gpus(machine: Machine) -> str:
    if not machine.gpus:
        return f"none ({machine.gpu_note})" if machine.gpu_note else "none"
    return f"{len(machine.gpus)} ({', '.join(sorted({device.name for device in machine.gpus}))})"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
