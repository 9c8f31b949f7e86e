"""What fp32, tf32 and amp mean to TensorFlow: the switch that is set, the half type, and how losses are scaled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import tensorflow as tf

from backends.tf_impl.device import Device, compute_capability
from harness.api import Trial, UnsupportedTrialError

TF32_CAPABILITY = (8, 0)
"""The first compute capability whose tensor cores take TF32 operands (Ampere)."""

FIRST_LOSS_SCALE = 2.0**15
GROWTH_STEPS = 2000
"""Updates without overflow after which the scale doubles, as published."""

_HALF = {"fp16": tf.float16, "bf16": tf.bfloat16}


@dataclass(frozen=True, slots=True)
class Precision:
    """The arithmetic of one rank; `half` is None unless amp was asked for."""

    device_type: Literal["cpu", "cuda"]
    tf32: bool
    half: tf.DType | None

    @property
    def compute(self) -> tf.DType:
        """What layers compute in; variables, statistics, boxes and losses are float32 whatever it is."""
        return self.half or tf.float32

    @property
    def scaled(self) -> bool:
        """Whether losses are scaled: fp16 gradients underflow without it, bf16 has the range of fp32."""
        return self.half is tf.float16

    def settings(self) -> Mapping[str, str]:
        """The half type in use and the switch as TensorFlow now reports it."""
        return {
            "half": self.half.name if self.half else "none",
            "loss_scaling": str(self.scaled).lower(),
            "tf32": str(tf.config.experimental.tensor_float_32_execution_enabled()).lower(),
        }


def set_precision(trial: Trial, device: Device, half: str = "auto") -> Precision:
    """Set TensorFlow's process-wide switch for a trial's precision, explicitly on and off.

    TensorFlow's default is on. TF32 is switched on for tf32 alone: under amp the products run in the half type, and
    what is kept in fp32 is kept there for its accuracy. XLA reads the same switch.

    Raises:
        UnsupportedTrialError: tf32 on a device without it, or a half type that the device lacks.
    """
    tf32 = trial.precision == "tf32"
    if tf32:
        _require_tf32(device)
    tf.config.experimental.enable_tensor_float_32_execution(tf32)
    return Precision(device.type, tf32, _half_type(device, half) if trial.precision == "amp" else None)


def _require_tf32(device: Device) -> None:
    if device.type != "cuda":
        raise UnsupportedTrialError(
            "tf32 needs a CUDA device of compute capability 8.0 or more; this trial is on the cpu"
        )
    capability = compute_capability(device)
    if capability < TF32_CAPABILITY:
        found = ".".join(map(str, capability))
        raise UnsupportedTrialError(f"tf32 needs compute capability 8.0 or more; {device.name} has {found}")


def _half_type(device: Device, half: str) -> tf.DType:
    if half == "auto":
        return tf.float16 if device.type == "cuda" else tf.bfloat16
    if half == "fp16" and device.type == "cpu":
        raise UnsupportedTrialError("half fp16 needs a CUDA device; on the cpu amp runs in bf16")
    if half == "bf16" and device.type == "cuda" and compute_capability(device) < TF32_CAPABILITY:
        raise UnsupportedTrialError(f"half bf16 needs compute capability 8.0 or more; {device.name} has less")
    return _HALF[half]


class LossScaler(tf.Module):
    """Dynamic loss scaling, decided on the device: 2^15 at first, doubled every 2000 clean updates, halved on overflow.

    A caller multiplies what it differentiates by `scale`, hands the gradients to `unscale`, and skips the update where
    that says so. Not enabled, the scale is a constant one, nothing is checked, and no operation is added.
    """

    def __init__(self, *, enabled: bool) -> None:
        super().__init__()
        self.enabled = enabled
        self._scale = tf.Variable(FIRST_LOSS_SCALE if enabled else 1.0, trainable=False)
        self._clean = tf.Variable(0, dtype=tf.int32, trainable=False)

    @property
    def scale(self) -> tf.Tensor:
        """The factor on the losses, float32 scalar."""
        return tf.convert_to_tensor(self._scale) if self.enabled else tf.constant(1.0)

    def unscale(self, gradients: Sequence[tf.Tensor]) -> tuple[list[tf.Tensor], tf.Tensor | None]:
        """Divide gradients by the scale, and then move the scale; gradients are those of all ranks, float32.

        Returns:
            The gradients, zeros where one of them overflowed, and whether none did, bool scalar; None if not enabled.
        """
        if not self.enabled:
            return list(gradients), None
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(gradient)) for gradient in gradients])
        inverse = 1.0 / self._scale
        unscaled = [tf.where(finite, gradient * inverse, 0.0) for gradient in gradients]
        self._move(finite)
        return unscaled, finite

    def _move(self, finite: tf.Tensor) -> None:
        clean = tf.where(finite, self._clean + 1, 0)
        grown = tf.equal(clean, GROWTH_STEPS)
        factor = tf.where(finite, tf.where(grown, 2.0, 1.0), 0.5)
        self._scale.assign(tf.maximum(self._scale * factor, 1.0))
        self._clean.assign(tf.where(grown, 0, clean))
