"""The torch backend's kernels on a GPU, held to torch's operations on the CPU by the tests that run without one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.measure.machine import machine

pytestmark = pytest.mark.skipif(
    not machine().gpus and "HARNESS_REQUIRE_GPU" not in os.environ, reason="needs a GPU; `make gpu-check` runs this"
)

FOLDER = Path(__file__).parents[1] / "torch_impl"


@pytest.mark.parametrize("part", ["boxes", "masks", "pooling"])
def test_cuda_bodies_pass_the_tests_of_the_cpus(part: str) -> None:
    """Every operation, through its binding, gives on the device what torch gives on the CPU."""
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(FOLDER / f"test_native_{part}.py")],
        env={**os.environ, "HARNESS_TEST_DEVICE": "cuda"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr
