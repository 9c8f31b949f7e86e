"""What this machine has, lacks, and cannot be asked to do."""

import shutil
import subprocess
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version

from harness.errors import BackendError
from harness.kernels.status import DEVICES, State, bound, built, state_of
from harness.matrix.feasible import why_not
from harness.matrix.model import Requires
from harness.measure.machine import machine
from harness.plugins import describe_all
from harness.runner.containment import best_containment
from harness.schema.backend import BackendInfo
from harness.schema.system import Machine
from harness.schema.trial import Trial
from harness.units import format_bytes

DISTRIBUTIONS = (
    *("torch", "torchvision", "tensorflow", "horovod", "safetensors"),
    *("pycocotools", "hotcoco", "numpy", "opencv-python-headless", "simplejpeg", "nvidia-ml-py"),
)
TOOLS = (("C++ compiler", "g++", "--version"), ("CUDA compiler", "nvcc", "--version"), ("git", "git", "--version"))


def examine(*, build: bool = False) -> tuple[list[tuple[str, str]], list[str]]:
    """Findings as (what, state) for a person to read, and the problems among them, each one line.

    Args:
        build: build the native kernels first where they are not built.
    """
    here = machine()
    findings = list(describe_machine(here))
    findings += [(name, installed_version(name)) for name in DISTRIBUTIONS]
    findings += [(title, tool_version(command, flag)) for title, command, flag in TOOLS]
    findings.append(("containment of workers", best_containment().name))
    problems: list[str] = []
    try:
        backends, broken = describe_all()
    except BackendError as error:
        return findings, [str(error)]
    states = built_kernels(backends.values()) if build else [state_of(device) for device in DEVICES]
    findings += [(state.name, state.words) for state in states]
    if build:
        problems += [f"{state.name}: {state.words}" for state in states if not state.ready and needed(state, here)]
    problems += [backend.reason for backend in broken]
    if not backends and not broken:
        problems.append("no backend is installed; the extras torch and tf bring those of this distribution")
    for info in backends.values():
        findings += describe_backend(info, here)
    return findings, problems


def built_kernels(backends: Iterable[BackendInfo]) -> list[State]:
    """The kernels' libraries and whatever binds the installed frameworks to them, built where they were not."""
    states = {device: built(device) for device in DEVICES}
    ready = [device for device in DEVICES if states[device].ready]
    usable = [info for info in backends if "not installed" not in map(installed_version, info.distributions)]
    builders = dict.fromkeys(info.kernels_builder for info in usable if info.kernels_builder)
    return [*states.values(), *(state for builder in builders for state in bound(builder, ready))]


def needed(state: State, here: Machine) -> bool:
    """Whether this machine misses a library that is not there: without a GPU, none for CUDA."""
    return bool(here.gpus) or not state.name.endswith("cuda")


def describe_machine(here: Machine) -> Iterator[tuple[str, str]]:
    """The machine in lines."""
    yield (
        "machine",
        f"{here.cpu_model or 'unknown CPU'}, {here.cpu_cores} cores, {format_bytes(here.memory_bytes or 0)}",
    )
    yield "system", f"{here.os}, kernel {here.kernel}, Python {here.python}"
    yield "free disk here", format_bytes(shutil.disk_usage(".").free)
    if not here.gpus:
        yield "GPUs", f"none: {here.gpu_note}"
    for gpu in here.gpus:
        memory = format_bytes(gpu.memory_bytes) if gpu.memory_bytes else "memory unknown"
        yield "GPU", f"{gpu.name}, {memory}, compute capability {gpu.compute_capability or 'unknown'}, {gpu.uuid}"
    if here.gpu_driver:
        yield "GPU driver", here.gpu_driver


def describe_backend(info: BackendInfo, here: Machine) -> Iterator[tuple[str, str]]:
    """What one backend can do here, precision by precision."""
    missing = [name for name in info.distributions if installed_version(name) == "not installed"]
    if missing:
        yield f"backend {info.name}", f"{info.framework} backend whose {', '.join(missing)} is not installed"
        return
    yield f"backend {info.name}", f"{info.model} in {info.framework}: {', '.join(info.phases)}"
    for device in info.devices:
        for precision in info.precisions:
            trial = Trial(backend=info.name, phase=info.phases[0], device=device, precision=precision)
            reason = why_not(trial, info, here, Requires())
            yield f"  {device} {precision}", f"unsupported: {reason}" if reason else "supported"


def installed_version(distribution: str) -> str:
    """The version of an installed distribution, or that it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"


def tool_version(command: str, flag: str) -> str:
    """Where a tool is and what it calls itself, or that it is not found."""
    path = shutil.which(command)
    if path is None:
        return "not found"
    answer = subprocess.run([path, flag], capture_output=True, text=True, check=False, timeout=20)
    lines = [line for line in answer.stdout.splitlines() if line.strip()]
    return f"{path}: {lines[-1] if command == 'nvcc' else lines[0]}" if lines else path
