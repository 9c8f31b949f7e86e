"""What fp32, tf32 and amp mean to torch: the switches that are set, the half type, and whether losses are scaled."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from harness.api import Trial, UnsupportedTrialError

TF32_CAPABILITY = (8, 0)
"""The first compute capability whose tensor cores take TF32 operands (Ampere)."""

_HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Precision:
    """The arithmetic of one rank; `half` is None unless amp was asked for."""

    device_type: Literal["cpu", "cuda"]
    tf32: bool
    half: torch.dtype | None

    @property
    def scaled(self) -> bool:
        """Whether losses are scaled: fp16 gradients underflow without it, bf16 has the range of fp32."""
        return self.half is torch.float16

    @property
    def native(self) -> bool:
        """Whether the device multiplies in the half type; CPUs without bf16 instructions emulate it, slowly."""
        if self.device_type == "cuda":
            return True
        capabilities = torch.cpu.get_capabilities()
        return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))

    def autocast(self) -> torch.autocast:
        """A context in which matrix products and convolutions run in the half type, if there is one."""
        return torch.autocast(self.device_type, dtype=self.half or torch.bfloat16, enabled=self.half is not None)

    def scaler(self) -> torch.amp.GradScaler:
        """The loss scaler; without fp16 it passes everything through."""
        return torch.amp.GradScaler(self.device_type, enabled=self.scaled)

    def settings(self) -> Mapping[str, str]:
        """The half type in use and the switches as torch now reports them."""
        return {
            "half": str(self.half).removeprefix("torch.") if self.half else "none",
            "half_native": str(self.native).lower() if self.half else "none",
            "loss_scaling": str(self.scaled).lower(),
            "fp32_matmul": torch.backends.cuda.matmul.fp32_precision,
            "fp32_conv": torch.backends.cudnn.conv.fp32_precision,  # type: ignore[attr-defined]
        }


def set_precision(trial: Trial, device: torch.device, half: str = "auto") -> Precision:
    """Set torch's process-wide switches for a trial's precision, explicitly on and off.

    TF32 is switched on for tf32 alone: under amp the products run in the half type, and what autocast keeps in fp32
    is kept there for its accuracy.

    Raises:
        UnsupportedTrialError: tf32 on a device without it, or fp16 on the CPU.
    """
    device_type: Literal["cpu", "cuda"] = "cuda" if device.type == "cuda" else "cpu"
    if trial.precision == "tf32":
        _require_tf32(device)
    fp32: Literal["tf32", "ieee"] = "tf32" if trial.precision == "tf32" else "ieee"
    torch.backends.cuda.matmul.fp32_precision = fp32
    torch.backends.cudnn.conv.fp32_precision = fp32  # type: ignore[attr-defined]
    torch.backends.mkldnn.matmul.fp32_precision = "ieee"  # type: ignore[attr-defined]
    torch.backends.mkldnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]
    half_type = _half_type(device, half) if trial.precision == "amp" else None
    return Precision(device_type, tf32=trial.precision == "tf32", half=half_type)


def _require_tf32(device: torch.device) -> None:
    if device.type != "cuda":
        raise UnsupportedTrialError(
            "tf32 needs a CUDA device of compute capability 8.0 or more; this trial is on the cpu"
        )
    capability = torch.cuda.get_device_capability(device)
    if capability < TF32_CAPABILITY:
        found = ".".join(map(str, capability))
        raise UnsupportedTrialError(f"tf32 needs compute capability 8.0 or more; {device} has {found}")


def _half_type(device: torch.device, half: str) -> torch.dtype:
    if half == "auto":
        return torch.float16 if device.type == "cuda" else torch.bfloat16
    if half == "fp16" and device.type == "cpu":
        raise UnsupportedTrialError("half fp16 needs a CUDA device; on the cpu amp runs in bf16")
    if half == "bf16" and device.type == "cuda" and torch.cuda.get_device_capability(device) < TF32_CAPABILITY:
        raise UnsupportedTrialError(f"half bf16 needs compute capability 8.0 or more; {device} has less")
    return _HALF[half]
