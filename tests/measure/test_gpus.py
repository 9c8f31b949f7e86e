"""GPUs as NVML names them: the real binding on a library of fake devices."""

import json
import os
import subprocess
import sys

import pytest
from nvml_library import build

from harness.measure.gpus import Gpus, read_gpus, select
from harness.schema.system import GpuDevice, Machine

PROGRAM = """
import json, os, sys
from harness.measure.machine import machine
for line in sys.stdin:
    added = json.loads(line)
    os.environ.update(added)
    print(machine().model_dump_json(), flush=True)
    for name in added:
        del os.environ[name]
"""
FIRST, SECOND = "GPU-00000000-fake", "GPU-11000000-fake"


@pytest.fixture(scope="module")
def child():
    """A process that has the fake library on its path and answers a line of environment with its machine."""
    bare = {k: v for k, v in os.environ.items() if not k.startswith(("CUDA_", "FAKE_NVML"))}
    command = [sys.executable, "-W", "error", "-c", PROGRAM]
    environment = {**bare, "LD_LIBRARY_PATH": str(build())}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def read(child, tmp_path):
    """Describe a machine in the child; returns its GPUs and how often NVML was shut down."""

    def run(**environment):
        log = tmp_path / "nvml.log"
        child.stdin.write(json.dumps({**environment, "FAKE_NVML_LOG": str(log)}) + "\n")
        child.stdin.flush()
        machine = Machine.model_validate_json(child.stdout.readline())
        found = Gpus(machine.gpus, machine.gpu_driver, machine.gpu_note)
        return found, log.read_text().count("shutdown") if log.exists() else 0

    return run


def uuids(found):
    """The UUIDs of the devices found."""
    return [device.uuid for device in found.devices]


def test_all_devices_are_read(read):
    """Both devices appear with driver, memory and capability; what a device cannot say is None, and NVML is let go."""
    found, shutdowns = read()
    assert found == Gpus(
        (
            GpuDevice(uuid=FIRST, name="FAKE Large", memory_bytes=42949672960, compute_capability="9.0"),
            GpuDevice(uuid=SECOND, name="FAKE Large", memory_bytes=None, compute_capability="9.0"),
        ),
        "000.11.FAKE",
        None,
    )
    assert shutdowns == 1


@pytest.mark.parametrize("visible", ["1", SECOND, "GPU-11"])
def test_cuda_visible_devices_picks_a_device(read, visible):
    """One device is picked by its index, its UUID or the beginning of its UUID."""
    found, _ = read(CUDA_VISIBLE_DEVICES=visible)
    assert (uuids(found), found.note) == ([SECOND], None)


def test_failing_init_is_a_note_in_nvmls_words(read):
    """Where NVML cannot start there is no GPU and no error, and the note says what NVML said."""
    found, shutdowns = read(FAKE_NVML_INIT="9")
    assert found == Gpus((), None, "NVML: Driver Not Loaded")
    assert shutdowns == 0


def test_lost_device_leaves_the_others(read):
    """A device that does not answer is named; the other is listed."""
    found, shutdowns = read(FAKE_NVML_LOST="0")
    assert (uuids(found), found.note, shutdowns) == ([SECOND], "GPU 0: GPU is lost", 1)


def test_lost_device_that_is_not_visible_is_not_mentioned(read):
    """A failing device that the process may not use anyway is no news."""
    found, _ = read(FAKE_NVML_LOST="0", CUDA_VISIBLE_DEVICES="1")
    assert (uuids(found), found.note) == ([SECOND], None)


def test_uuid_of_a_lost_device_explains_itself(read):
    """Where the visible UUID belongs to a lost device the note names the entry and the loss."""
    found, _ = read(FAKE_NVML_LOST="0", CUDA_VISIBLE_DEVICES=FIRST)
    assert uuids(found) == []
    assert "names no one GPU of 2" in found.note
    assert "GPU 0: GPU is lost" in found.note


def test_indexes_of_different_models_are_doubted(read):
    """CUDA's order of unlike GPUs is not NVML's unless asked for, so a choice by index is marked."""
    assert "CUDA_DEVICE_ORDER" in read(FAKE_NVML_MIXED="1", CUDA_VISIBLE_DEVICES="0")[0].note
    assert read(FAKE_NVML_MIXED="1", CUDA_VISIBLE_DEVICES="0", CUDA_DEVICE_ORDER="PCI_BUS_ID")[0].note is None


@pytest.mark.parametrize(
    ("environment", "note"),
    [
        ({"CUDA_VISIBLE_DEVICES": ""}, "CUDA_VISIBLE_DEVICES hides all GPUs"),
        ({"FAKE_NVML_COUNT": "0"}, "NVML knows no GPU"),
    ],
)
def test_no_device_has_a_reason(read, environment, note):
    """An empty list of GPUs says whether they are hidden or absent."""
    assert read(**environment)[0] == Gpus((), "000.11.FAKE", note)


def test_missing_library_is_a_note(monkeypatch):
    """Without a driver there is no GPU, and the loader's words say which file is missing."""
    monkeypatch.setattr("harness.measure.gpus.LIBRARY", "libnvidia-ml-absent.so.1")
    found = read_gpus()
    assert (found.devices, found.driver) == ((), None)
    assert found.note.startswith("no NVML: libnvidia-ml-absent.so.1")


@pytest.mark.parametrize(
    ("visible", "chosen", "notes"),
    [
        (None, [0, 1, 2], 0),
        ("2,0", [2, 0], 0),
        (" 1 , 2 ", [1, 2], 0),
        ("GPU-b,GPU-a", [2, 1], 0),
        ("0,-1,1", [0], 1),
        ("0,9,1", [0], 1),
        ("GPU-", [], 1),
        ("0,0", [0], 1),
        ("MIG-1234,1", [1], 1),
        ("NoDevFiles", [], 1),
        ("", [], 0),
        ("-1", [], 0),
    ],
)
def test_selection_follows_cuda(visible, chosen, notes):
    """Order counts, an entry that fits no one device hides the rest, and slices are left out with a note."""
    found, why = select(visible, [None, "GPU-a1", "GPU-b2"])
    assert (found, len(why)) == (chosen, notes)
