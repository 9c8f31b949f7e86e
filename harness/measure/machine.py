import os
import platform
import resource
import sys
from pathlib import Path

from harness.measure.gpus import read_gpus
from harness.schema.system import Machine

CPUINFO = Path("/proc/cpuinfo")
STATUS = Path("/proc/self/status")


def machine() -> Machine:
    """Describe this host, its visible GPUs and its Python; never fails for want of a GPU."""
    host = os.uname()
    gpus = read_gpus()
    return Machine(
        hostname=host.nodename,
        os=_os_name(),
        kernel=host.release,
        architecture=host.machine,
        cpu_model=_field(CPUINFO, "model name"),
        cpu_cores=_usable_cores(),
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        gpus=gpus.devices,
        gpu_driver=gpus.driver,
        gpu_note=gpus.note,
    )


def peak_memory_bytes() -> int:
    """Return the peak resident memory of this process since it began to run its program.

    From the kernel's VmHWM: getrusage's ru_maxrss starts, across fork and exec, at the peak of the parent, so a small
    worker of a large runner would report the runner's. Where there is no /proc, ru_maxrss is all there is.
    """
    peak = _field(STATUS, "VmHWM")
    if peak is not None:
        return int(peak.removesuffix(" kB")) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _usable_cores() -> int:
    """Logical CPUs this process may run on, which a scheduler may have narrowed."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _field(path: Path, name: str) -> str | None:
    """Return the first field of that name in a file of `name : value` lines; None where file or field is missing."""
    if not path.exists():
        return None
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    return None
