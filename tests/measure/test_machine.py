"""What is recorded about the machine and the process."""

import platform
import subprocess
import sys

import psutil

from harness.measure.machine import machine


def test_machine_agrees_with_psutil_and_platform():
    """Memory, usable cores, kernel and Python version are those that psutil and platform report."""
    found = machine()
    assert found.memory_bytes == psutil.virtual_memory().total
    assert found.cpu_cores == len(psutil.Process().cpu_affinity())
    assert (found.hostname, found.kernel) == (platform.node(), platform.release())
    assert found.python.endswith(platform.python_version())


def test_narrowed_affinity_is_seen():
    """A process that may use one CPU reports one core."""
    program = (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
        "from harness.measure.machine import machine; print(machine().cpu_cores)"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "1"


FREES = """
from harness.measure.machine import peak_memory_bytes
before = peak_memory_bytes()
block = bytearray(64 * 2**20)
block[::4096] = b"1" * len(block[::4096])
del block
print(peak_memory_bytes() - before)
"""


def test_peak_memory_counts_what_was_freed():
    """Memory that was used and given back stays in the peak; in a process whose peak is its own."""
    assert int(subprocess.check_output([sys.executable, "-c", FREES], text=True)) > 48 * 2**20


def test_peak_memory_is_not_the_parents():
    """A small child of a large parent reports its own peak: fork and exec hand ru_maxrss on, VmHWM not."""
    program = "from harness.measure.machine import peak_memory_bytes; print(peak_memory_bytes())"
    block = bytearray(300 * 2**20)
    block[::4096] = b"1" * len(block[::4096])
    child = int(subprocess.check_output([sys.executable, "-c", program], text=True))
    assert len(block) > 2 * child
