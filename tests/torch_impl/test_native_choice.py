"""Which kernels a trial runs on: what it asks for, what it gets, and what its record says."""

import pytest
import torch
from torch_runs import opened, trial

from backends.torch_impl.kernels import FRAMEWORK, NATIVE, kernels_of
from harness.api import UnsupportedTrialError
from harness.kernels import choose, forget, load

pytestmark = pytest.mark.torch

IMAGES = "synthetic:64x48:2"


@pytest.fixture
def without_compiler(monkeypatch, tmp_path):
    """A machine whose compiler is not there, and that has never built a kernel."""
    monkeypatch.setenv("CXX", "/nowhere/c++")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    forget()
    yield
    monkeypatch.undo()
    forget()


def test_native_kernels_are_the_default_and_recorded():
    """A trial that says nothing runs natively on the CPU; its model's operations are the native ones."""
    with opened(trial("infer"), val=IMAGES) as work:
        assert work.settings()["kernels"] == "native (cpu)"
        assert work._session.model.kernels.name == work._session.model.rpn.kernels.name == "native"


def test_the_frameworks_operations_can_be_asked_for():
    """`kernels: framework` runs torch's and torchvision's, strict or not, and says so."""
    for strict in (False, True):
        with opened(trial("infer", {"kernels": "framework", "strict_kernels": strict}), val=IMAGES) as work:
            assert work.settings()["kernels"] == "framework"
            assert work._session.model.roi_heads.kernels.name == "framework"


@pytest.mark.usefixtures("without_compiler")
def test_without_a_compiler_the_framework_takes_over_and_one_line_says_why():
    """The trial runs, and its record names the missing compiler."""
    with opened(trial("infer"), val=IMAGES) as work:
        words = work.settings()["kernels"]
        assert work._session.model.kernels.name == "framework"
    assert words == (
        "framework instead of native: no C++ compiler: CXX=/nowhere/c++ was not found; "
        "Debian and Ubuntu have it in the package g++"
    )


@pytest.mark.usefixtures("without_compiler")
def test_a_strict_trial_without_a_compiler_is_unsupported():
    """`strict_kernels` turns the fallback into a reason to decline, in one line."""
    wanted = "strict_kernels is true and native kernels cannot be had: no C\\+\\+ compiler"
    with (
        pytest.raises(UnsupportedTrialError, match=wanted) as caught,
        opened(trial("infer", {"strict_kernels": True}), val=IMAGES),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_a_choice_becomes_operations():
    """A loaded library means native operations, none the framework's."""
    assert kernels_of(choose("native", "cpu", strict=True)) is NATIVE
    assert kernels_of(choose("framework", "cpu", strict=True)) is FRAMEWORK


def test_the_library_computes_with_torchs_threads(monkeypatch):
    """A change of torch's number of threads reaches the library at the next call."""
    asked = []
    monkeypatch.setattr(load("cpu"), "set_threads", asked.append)
    boxes_N4, before = torch.rand(3, 4), torch.get_num_threads()
    try:
        for threads in (2, 1):
            torch.set_num_threads(threads)
            NATIVE.box_iou(boxes_N4, boxes_N4, 0.0)
    finally:
        torch.set_num_threads(before)
    assert asked == [2, 1]
