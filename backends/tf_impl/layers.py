"""Layers as `tf.Module`s whose variables carry the names that PyTorch's reference models have.

Why not Keras: Keras 3 keeps its own variables, which Horovod's wrappers do not recognise (they then silently skip the
all-reduce), its precision policy is one global of the process, and its layers name and order weights as they were
created. Plain modules have none of that, and `tf.function` compiles them all the same.

Activations are NHWC. A variable's name is its attribute path, `backbone.body.layer1.0.conv1.weight`; kernels are in
TensorFlow's layout (HWIO, depthwise HWC1, dense [in, out]), see `harness.weights` for the other one. Variables are
float32; `dtype` is what a layer computes in.

Shapes: B images, H and W rows and columns, C channels.
"""

import math
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

Initializer = Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.float32]]
Padding = int | str
"""Pixels on each side, as PyTorch pads, or "SAME", as TensorFlow pads (more at the bottom and right)."""

_CUT_DEVIATION = 0.87962566103423978
"""Standard deviation of a unit normal distribution cut at two deviations."""


class Conv(tf.Module):
    """Convolution; `weight` is [kernel, kernel, in, out]."""

    def __init__(  # noqa: PLR0913  what a convolution is made of
        self,
        channels: tuple[int, int],
        kernel: int,
        *,
        stride: int = 1,
        padding: Padding = 0,
        bias: bool = True,
        dtype: tf.DType = tf.float32,
    ) -> None:
        super().__init__()
        self.weight = tf.Variable(tf.zeros((kernel, kernel, *channels)))
        self.bias = tf.Variable(tf.zeros(channels[1])) if bias else None
        self.stride, self.padding, self.dtype = stride, padding, dtype

    def __call__(self, x_BHWC: tf.Tensor) -> tf.Tensor:
        """Feature map in, feature map out."""
        return self.convolve(x_BHWC, self.weight, self.bias)

    def convolve(self, x_BHWC: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor | None) -> tf.Tensor:
        """The convolution with another weight and bias, such as those that a constant norm was folded into."""
        x_BHWC, padding = padded(tf.cast(x_BHWC, self.dtype), weight.shape[0], self.stride, self.padding)
        y_BHWC = tf.nn.conv2d(x_BHWC, tf.cast(weight, self.dtype), self.stride, padding)
        return y_BHWC if bias is None else tf.nn.bias_add(y_BHWC, tf.cast(bias, self.dtype))


class DepthwiseConv(tf.Module):
    """A convolution of each channel by itself; `weight` is [kernel, kernel, channels, 1]."""

    def __init__(
        self, channels: int, kernel: int, *, stride: int = 1, padding: Padding = "SAME", dtype: tf.DType = tf.float32
    ) -> None:
        super().__init__()
        self.weight = tf.Variable(tf.zeros((kernel, kernel, channels, 1)))
        self.stride, self.padding, self.dtype = stride, padding, dtype

    def __call__(self, x_BHWC: tf.Tensor) -> tf.Tensor:
        """Feature map in, feature map out."""
        return self.convolve(x_BHWC, self.weight, None)

    def convolve(self, x_BHWC: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor | None) -> tf.Tensor:
        """The convolution with another weight and a bias, such as those that a constant norm was folded into."""
        x_BHWC, padding = padded(tf.cast(x_BHWC, self.dtype), weight.shape[0], self.stride, self.padding)
        strides = (1, self.stride, self.stride, 1)
        y_BHWC = tf.nn.depthwise_conv2d(x_BHWC, tf.cast(weight, self.dtype), strides, padding)
        return y_BHWC if bias is None else tf.nn.bias_add(y_BHWC, tf.cast(bias, self.dtype))


class Dense(tf.Module):
    """Matrix product; `weight` is [in, out]."""

    def __init__(self, channels: tuple[int, int], *, dtype: tf.DType = tf.float32) -> None:
        super().__init__()
        self.weight = tf.Variable(tf.zeros(channels))
        self.bias = tf.Variable(tf.zeros(channels[1]))
        self.dtype = dtype

    def __call__(self, x_NC: tf.Tensor) -> tf.Tensor:
        """[N, in] to [N, out]."""
        product_NC = tf.cast(x_NC, self.dtype) @ tf.cast(self.weight, self.dtype)
        return tf.nn.bias_add(product_NC, tf.cast(self.bias, self.dtype))


class BatchNorm(tf.Module):
    """Batch normalisation; `momentum` is TensorFlow's, 0.99 is PyTorch's 0.01.

    With `live` false its affine and statistics are constants, and neither trains.
    """

    def __init__(self, channels: int, *, eps: float, momentum: float = 0.9, live: bool = True) -> None:
        super().__init__()
        self.weight = tf.Variable(tf.ones(channels), trainable=live)
        self.bias = tf.Variable(tf.zeros(channels), trainable=live)
        self.running_mean = tf.Variable(tf.zeros(channels), trainable=False)
        self.running_var = tf.Variable(tf.ones(channels), trainable=False)
        self.eps, self.momentum, self.live = eps, momentum, live

    def __call__(self, x_BHWC: tf.Tensor, *, training: bool) -> tf.Tensor:
        """Normalise by the batch's statistics in training, which then move the running ones, by those otherwise.

        The running variance takes the unbiased one of the batch, in either framework.
        """
        if not (training and self.live):
            scale_C, shift_C = self.constants()
            return x_BHWC * tf.cast(scale_C, x_BHWC.dtype) + tf.cast(shift_C, x_BHWC.dtype)
        y_BHWC, mean_C, var_C, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x_BHWC, scale=self.weight, offset=self.bias, mean=[], variance=[], epsilon=self.eps, is_training=True
        )
        for running, batch in ((self.running_mean, mean_C), (self.running_var, var_C)):
            running.assign_sub((1 - self.momentum) * (running - batch))
        return y_BHWC

    def constants(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Scale and shift of each channel under the running statistics: y = x · scale + shift."""
        scale_C = self.weight * tf.math.rsqrt(self.running_var + self.eps)
        return scale_C, self.bias - self.running_mean * scale_C


def padded(x_BHWC: tf.Tensor, kernel: int, stride: int, padding: Padding) -> tuple[tf.Tensor, str]:
    """The input padded where TensorFlow's own padding would differ, and the padding left to the operation."""
    if padding == "SAME" or (stride == 1 and padding == kernel // 2):
        return x_BHWC, "SAME"
    if padding:
        x_BHWC = tf.pad(x_BHWC, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    return x_BHWC, "VALID"


def named_variables(module: tf.Module) -> dict[str, tf.Variable]:
    """Every variable of a module by its attribute path, in the order of the attributes."""
    return dict(_walk(module, ""))


def _walk(value: Any, path: str) -> Iterator[tuple[str, tf.Variable]]:
    if isinstance(value, tf.Variable):
        yield path, value
        return
    if isinstance(value, tf.Module):
        parts: Any = ((name, part) for name, part in vars(value).items() if not name.startswith("_"))
    elif isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list | tuple):
        parts = enumerate(value)
    else:
        return
    for name, part in parts:
        yield from _walk(part, f"{path}.{name}" if path else str(name))


def initialise(module: tf.Module, seed: int, rule: Callable[[str], Initializer | None]) -> None:
    """Fill variables from a seed; each draws from its own stream, so that no order of creation matters.

    Args:
        module: whose variables.
        seed: of the trial.
        rule: what fills the variable of a name; None leaves it as it is.
    """
    for name, variable in named_variables(module).items():
        if (initializer := rule(name)) is not None:
            stream = np.random.default_rng((seed, zlib.crc32(name.encode())))
            variable.assign(initializer(stream, tuple(variable.shape)))


def normal(deviation: float) -> Initializer:
    """N(0, deviation²)."""
    return lambda stream, shape: stream.normal(0, deviation, shape).astype(np.float32)


def kaiming_uniform(fan: Callable[[tuple[int, ...]], int], a: float = 0.0) -> Initializer:
    """U(±√(6 / ((1 + a²) · fan))) (He et al. 2015)."""

    def draw(stream: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
        bound = math.sqrt(6 / ((1 + a * a) * fan(shape)))
        return stream.uniform(-bound, bound, shape).astype(np.float32)

    return draw


def kaiming_normal(fan: Callable[[tuple[int, ...]], int], gain: float = 2.0) -> Initializer:
    """N(0, gain / fan) (He et al. 2015)."""
    return lambda stream, shape: stream.normal(0, math.sqrt(gain / fan(shape)), shape).astype(np.float32)


def truncated_normal(fan: Callable[[tuple[int, ...]], int]) -> Initializer:
    """N(0, 1 / fan) without what lies beyond two deviations: TensorFlow's `VarianceScaling` as it stands.

    The deviation drawn from is larger by what the cut takes away, so that 1 / fan is the variance that remains.
    """

    def draw(stream: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
        values = stream.normal(0, 1, shape)
        while (beyond := np.abs(values) > 2).any():
            values[beyond] = stream.normal(0, 1, int(beyond.sum()))
        return (values / (_CUT_DEVIATION * math.sqrt(fan(shape)))).astype(np.float32)

    return draw


def constant(value: float) -> Initializer:
    """The same value everywhere."""
    return lambda _, shape: np.full(shape, value, dtype=np.float32)


def fan_in(shape: tuple[int, ...]) -> int:
    """Inputs of one output of a kernel [..., in, out]."""
    return math.prod(shape[:-1])


def fan_out(shape: tuple[int, ...]) -> int:
    """Outputs that one input of a kernel [..., in, out] reaches."""
    return math.prod(shape[:-2]) * shape[-1]
