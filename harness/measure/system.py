"""Memory and what the operating system gives to processes."""

import os
import resource
import time
from pathlib import Path

from harness.measure.reading import PROC, SYS, as_number, chosen_of, first_block, switch_of, text_of
from harness.schema.system import Limit, Memory, SystemState


def read_memory(sys: Path = SYS, proc: Path = PROC) -> Memory:
    """Describe what memory has beyond its amount.

    Args:
        sys: where sysfs is.
        proc: where procfs is.
    """
    swap_kb = as_number(first_block(proc / "meminfo").get("SwapTotal", "").removesuffix(" kB"))
    return Memory(
        swap_bytes=None if swap_kb is None else swap_kb * 1024,
        page_bytes=os.sysconf("SC_PAGE_SIZE"),
        transparent_huge_pages=chosen_of(sys / "kernel/mm/transparent_hugepage/enabled"),
        numa_balancing=switch_of(proc / "sys/kernel/numa_balancing"),
    )


def read_system(sys: Path = SYS, proc: Path = PROC) -> SystemState:
    """Describe the running system, and what it allows this process.

    Args:
        sys: where sysfs is.
        proc: where procfs is.
    """
    uptime = (text_of(proc / "uptime") or "").split()
    return SystemState(
        libc=_libc(),
        clock_source=text_of(sys / "devices/system/clocksource/clocksource0/current_clocksource"),
        time_zone=time_zone(),
        boot_id=text_of(proc / "sys/kernel/random/boot_id"),
        uptime_s=float(uptime[0]) if uptime else None,
        load_1min=_load(),
        open_files_limit=_limit("RLIMIT_NOFILE"),
        locked_memory_limit_bytes=_limit("RLIMIT_MEMLOCK"),
        stack_limit_bytes=_limit("RLIMIT_STACK"),
        processes_limit=_limit("RLIMIT_NPROC"),
    )


def time_zone() -> str:
    """Name the time zone: of TZ, of /etc/localtime, or its abbreviation."""
    _, found, place = os.path.realpath("/etc/localtime").partition("zoneinfo/")
    return os.environ.get("TZ") or (place if found else time.tzname[0])


def _libc() -> str | None:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError):  # another C library has no such name
        return None


def _load() -> float | None:
    try:
        return os.getloadavg()[0]
    except OSError:
        return None


def _limit(name: str) -> Limit:
    """The soft limit of a resource, in the unit of `setrlimit`."""
    number = getattr(resource, name, None)
    if number is None:
        return None
    soft = resource.getrlimit(number)[0]
    return "unlimited" if soft == resource.RLIM_INFINITY else soft
