"""How GPUs are set up, as NVML says: the real binding on a library of fake devices."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.measure.gpu_state import UNKNOWN, read_gpu_states
from harness.schema.system import GpuState

COMPILER = next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)
FIRST, SECOND = "GPU-first", "GPU-second"
PROGRAM = """
import json, sys
from pathlib import Path
from harness.measure.gpu_state import read_gpu_states
found = read_gpu_states(sys.argv[2:], Path(sys.argv[1]))
states = found.states and [state.model_dump() for state in found.states]
print(json.dumps([states, found.cuda_driver, found.nvml]))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A folder with libnvidia-ml.so.1, compiled from fake_nvml_state.c."""
    if COMPILER is None:
        pytest.skip("no C compiler to build the fake NVML with")
    folder = tmp_path_factory.mktemp("nvml_state")
    source = Path(__file__).with_name("fake_nvml_state.c")
    command = [COMPILER, "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-Wl,-soname,libnvidia-ml.so.1"]
    subprocess.run([*command, "-o", str(folder / "libnvidia-ml.so.1"), str(source)], check=True)
    return folder


@pytest.fixture
def read(library, tmp_path):
    """Ask about UUIDs in a process of its own; returns states, CUDA version, NVML version, and the lines printed."""

    def run(*uuids, **environment):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", PROGRAM, str(tmp_path), *uuids],
            env={**os.environ, "LD_LIBRARY_PATH": str(library), **environment},
            capture_output=True,
            text=True,
            check=True,
        )
        lines = done.stdout.splitlines()
        states, cuda, nvml = next(json.loads(line) for line in lines if line.startswith("["))
        return states and [GpuState(**state) for state in states], cuda, nvml, lines.count("shutdown")

    return run


def test_every_field_has_its_reading(read, tmp_path):
    """Caps in milliwatts, clocks in megahertz, modes as they are now; a function that is missing leaves None."""
    node = tmp_path / "bus/pci/devices/0000:c1:00.0/numa_node"
    node.parent.mkdir(parents=True)
    node.write_text("1\n")
    states, cuda, nvml, shutdowns = read(FIRST)
    assert (cuda, nvml, shutdowns) == ("12.8", "12.000.11.FAKE", 1)
    assert states == [
        GpuState(
            uuid=FIRST,
            pci_bus_id="0000:c1:00.0",
            pcie_generation=1,
            pcie_width=8,
            pcie_generation_max=5,
            pcie_width_max=16,
            numa_node=1,
            nvlinks=17,
            vbios=None,
            architecture="HOPPER",
            sm_clock_max_mhz=1980,
            memory_clock_max_mhz=2619,
            application_sm_clock_mhz=1500,
            application_memory_clock_mhz=None,
            power_limit_mw=400000,
            power_limit_default_mw=700000,
            power_limit_min_mw=200000,
            power_limit_max_mw=700000,
            persistence=False,
            compute_mode="exclusive-process",
            mig=False,
            ecc=True,
        )
    ]


def test_a_device_that_supports_nothing_is_unknown(read):
    """Nothing is guessed, nothing is zero, and the order is that of the question."""
    states, *_ = read(SECOND, FIRST)
    assert states[0] == GpuState(uuid=SECOND)
    assert states[1].power_limit_mw == 400000


def test_a_lost_device_leaves_the_others(read):
    """A UUID that no device has any more is all that is known of it."""
    states, cuda, *_ = read(FIRST, SECOND, FAKE_NVML_LOST="first")
    assert states == [GpuState(uuid=FIRST), GpuState(uuid=SECOND)]
    assert cuda == "12.8"


def test_no_numa_node_is_none(read, tmp_path):
    """The kernel's -1 is no node."""
    node = tmp_path / "bus/pci/devices/0000:c1:00.0/numa_node"
    node.parent.mkdir(parents=True)
    node.write_text("-1\n")
    assert read(FIRST)[0][0].numa_node is None


def test_nvml_that_fails_is_unknown(read):
    """Where NVML does not start nothing is known, and no error is raised."""
    assert read(FIRST, FAKE_NVML_FAILS="1") == (None, None, None, 0)


def test_without_gpus_or_driver_nvml_is_not_asked(monkeypatch):
    """No GPU to ask about, or no library: unknown."""
    assert read_gpu_states([]) == UNKNOWN
    monkeypatch.setattr("harness.measure.gpus.LIBRARY", "libnvidia-ml-absent.so.1")
    assert read_gpu_states([FIRST]) == UNKNOWN
