"""The switches of fp32, tf32 and amp."""

import pytest
import torch

from backends.torch_impl.precision import set_precision
from harness.api import Trial, UnsupportedTrialError

pytestmark = pytest.mark.torch
CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


def trial(precision, device="cpu"):
    """A trial of a precision on a device."""
    return Trial(backend="torch_maskrcnn", phase="infer", precision=precision, device=device)


@pytest.fixture(autouse=True)
def switches():
    """Put torch's process-wide switches back after each test."""
    backends = (
        torch.backends.cuda.matmul,
        torch.backends.cudnn.conv,
        torch.backends.mkldnn.matmul,
        torch.backends.mkldnn.conv,
    )
    before = [backend.fp32_precision for backend in backends]
    yield
    for backend, value in zip(backends, before, strict=True):
        backend.fp32_precision = value


@pytest.fixture
def capability(monkeypatch):
    """Let torch report a compute capability, as if device 0 were there."""
    return lambda *version: monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: version)


def test_fp32_switches_tf32_off_where_torch_has_it_on():
    """fp32 turns TF32 off for products and for convolutions, whose default is on."""
    torch.backends.cudnn.conv.fp32_precision = torch.backends.cuda.matmul.fp32_precision = "tf32"
    precision = set_precision(trial("fp32"), CPU)
    assert torch.backends.cudnn.conv.fp32_precision == torch.backends.cuda.matmul.fp32_precision == "ieee"
    assert precision.half is None
    assert not precision.tf32


def test_tf32_is_switched_on_from_ampere_on(capability):
    """tf32 on compute capability 8.0 turns both switches on and uses no half type."""
    capability(8, 0)
    precision = set_precision(trial("tf32", "cuda"), GPU)
    assert torch.backends.cudnn.conv.fp32_precision == torch.backends.cuda.matmul.fp32_precision == "tf32"
    assert precision.tf32
    assert precision.settings()["fp32_matmul"] == "tf32"


def test_tf32_is_unsupported_on_the_cpu():
    """tf32 on the CPU is declined with the reason."""
    with pytest.raises(UnsupportedTrialError, match=r"needs a CUDA device of compute capability 8\.0"):
        set_precision(trial("tf32"), CPU)


def test_tf32_is_unsupported_before_ampere(capability):
    """tf32 on compute capability 7.5 is declined, and the message says what was found."""
    capability(7, 5)
    with pytest.raises(UnsupportedTrialError, match=r"cuda:0 has 7\.5"):
        set_precision(trial("tf32", "cuda"), GPU)


@pytest.mark.parametrize(
    ("device", "half", "version", "expected"),
    [
        ("cpu", "auto", (0, 0), "bfloat16"),
        ("cpu", "bf16", (0, 0), "bfloat16"),
        ("cuda", "auto", (7, 5), "float16"),
        ("cuda", "auto", (9, 0), "float16"),
        ("cuda", "fp16", (9, 0), "float16"),
        ("cuda", "bf16", (8, 0), "bfloat16"),
    ],
)
def test_half_type(device, half, version, expected, capability):
    """Precision amp runs in bf16 on the CPU and fp16 on GPUs unless the option says otherwise; fp16 alone is scaled."""
    capability(*version)
    precision = set_precision(trial("amp", device), torch.device(device), half)
    assert precision.half == getattr(torch, expected)
    assert precision.settings()["half"] == expected
    assert precision.scaled == (expected == "float16")


@pytest.mark.parametrize(("device", "half", "version"), [("cpu", "fp16", (0, 0)), ("cuda", "bf16", (7, 5))])
def test_half_type_that_the_device_lacks(device, half, version, capability):
    """fp16 on the CPU, and bf16 before Ampere, are declined."""
    capability(*version)
    with pytest.raises(UnsupportedTrialError, match=f"half {half} needs"):
        set_precision(trial("amp", device), torch.device(device), half)


@pytest.mark.parametrize(("asked", "expected"), [("fp32", torch.float32), ("amp", torch.bfloat16)])
def test_autocast_decides_what_a_product_returns(asked, expected):
    """Inside autocast a product has the half type under amp and stays in fp32 otherwise."""
    with set_precision(trial(asked), CPU).autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == expected


@pytest.mark.parametrize(("instructions", "expected"), [({"avx512_bf16": True}, "true"), ({"avx512_f": True}, "false")])
def test_settings_say_whether_the_cpu_has_the_half_type(instructions, expected, monkeypatch):
    """A CPU without bf16 instructions is named as one, for amp is slower on it than fp32."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    assert set_precision(trial("amp"), CPU).settings()["half_native"] == expected
    assert set_precision(trial("fp32"), CPU).settings()["half_native"] == "none"
