"""The library of FAKE devices, compiled once for each process that tests."""

import atexit
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "measure" / "fake_nvml.c"
COMPILER = next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)


@cache
def build() -> Path:
    """A folder with libnvidia-ml.so.1, compiled from fake_nvml.c."""
    if COMPILER is None:
        pytest.skip("no C compiler to build the fake NVML with")
    folder = Path(tempfile.mkdtemp(prefix="fake-nvml-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    command = [COMPILER, "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-Wl,-soname,libnvidia-ml.so.1"]
    subprocess.run([*command, "-o", str(folder / "libnvidia-ml.so.1"), str(SOURCE), "-lm"], check=True)
    return folder


def environment(scenario: Path, lines: str, devices: int = 2) -> dict[str, str]:
    """What shows a process FAKE devices that do as these lines say; CUDA_VISIBLE_DEVICES is not in it."""
    scenario.write_text(lines)
    path = os.pathsep.join(filter(None, [str(build()), os.environ.get("LD_LIBRARY_PATH")]))
    return {"LD_LIBRARY_PATH": path, "FAKE_NVML_SCENARIO": str(scenario), "FAKE_NVML_COUNT": str(devices)}
