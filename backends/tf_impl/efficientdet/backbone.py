"""EfficientNet and EfficientNet-Lite without their classifier, named as timm's `tf_efficientnet_b0` names them.

The normalisation is folded into the convolutions wherever its statistics are constant.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from backends.tf_impl.efficientdet.config import EfficientDetConfig
from backends.tf_impl.layers import BatchNorm, Conv, DepthwiseConv

Activation = Callable[[tf.Tensor], tf.Tensor]


class Stage(NamedTuple):
    """Blocks of one resolution."""

    kernel: int
    stride: int
    """Of the first block; the others have 1."""
    expansion: int
    channels: int
    blocks: int


_STAGES = (
    Stage(3, 1, 1, 16, 1),
    Stage(3, 2, 6, 24, 2),
    Stage(5, 2, 6, 40, 2),
    Stage(3, 2, 6, 80, 3),
    Stage(5, 1, 6, 112, 3),
    Stage(5, 2, 6, 192, 4),
    Stage(3, 1, 6, 320, 1),
)
"""EfficientNet-B0 (Tan and Le 2019, table 1)."""
_STEM = 32
_TAPS = (2, 4, 6)
"""Last stages at strides 8, 16 and 32."""


def scaled_channels(channels: int, width: float) -> int:
    """The nearest multiple of 8, or the next one if that would take away more than a tenth."""
    wanted = channels * width
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded


def tap_channels(config: EfficientDetConfig) -> tuple[int, ...]:
    """Channels of the backbone's outputs at strides 8, 16 and 32."""
    return tuple(scaled_channels(_STAGES[stage].channels, config.width) for stage in _TAPS)


def norm_of(channels: int, config: EfficientDetConfig) -> BatchNorm:
    """The norm that stands after every convolution of the model."""
    live = config.norm == "batch"
    return BatchNorm(channels, eps=config.norm_eps, momentum=config.norm_momentum, live=live)


def convolve(conv: Conv | DepthwiseConv, norm: BatchNorm, x_BHWC: tf.Tensor, *, training: bool) -> tf.Tensor:
    """Convolution and normalisation; one convolution with scaled weights where the statistics are constant."""
    if training and norm.live:
        return norm(conv(x_BHWC), training=True)
    scale_C, shift_C = norm.constants()
    depthwise = isinstance(conv, DepthwiseConv)
    if not depthwise and conv.bias is not None:
        shift_C += conv.bias * scale_C
    return conv.convolve(x_BHWC, conv.weight * (scale_C[:, None] if depthwise else scale_C), shift_C)


class SqueezeExcite(tf.Module):
    """Each channel is weighted by a sigmoid of all channels' means (Hu et al. 2018)."""

    def __init__(self, channels: int, squeezed: int, dtype: tf.DType) -> None:
        super().__init__()
        self.conv_reduce = Conv((channels, squeezed), 1, dtype=dtype)
        self.conv_expand = Conv((squeezed, channels), 1, dtype=dtype)

    def __call__(self, x_BHWC: tf.Tensor) -> tf.Tensor:
        """Feature map in, feature map out."""
        mean_B11C = tf.reduce_mean(tf.cast(x_BHWC, tf.float32), axis=(1, 2), keepdims=True)
        return x_BHWC * tf.sigmoid(self.conv_expand(tf.nn.silu(self.conv_reduce(mean_B11C))))


class DepthwiseSeparable(tf.Module):
    """The first stage's block: depthwise 3×3, squeeze and excitation, 1×1 without activation."""

    def __init__(self, channels: tuple[int, int], config: EfficientDetConfig, dtype: tf.DType) -> None:
        super().__init__()
        inner, outer = channels
        self.conv_dw = DepthwiseConv(inner, 3, dtype=dtype)
        self.bn1 = norm_of(inner, config)
        self.se = None if config.lite else SqueezeExcite(inner, inner // 4, dtype)
        self.conv_pw = Conv((inner, outer), 1, bias=False, dtype=dtype)
        self.bn2 = norm_of(outer, config)
        self._activate, self._skip = activation(config), inner == outer

    def __call__(self, x_BHWC: tf.Tensor, *, training: bool) -> tf.Tensor:
        """Feature map in, feature map out."""
        y_BHWC = self._activate(convolve(self.conv_dw, self.bn1, x_BHWC, training=training))
        y_BHWC = y_BHWC if self.se is None else self.se(y_BHWC)
        y_BHWC = convolve(self.conv_pw, self.bn2, y_BHWC, training=training)
        return x_BHWC + y_BHWC if self._skip else y_BHWC


class InvertedResidual(tf.Module):
    """The block of all other stages (Sandler et al. 2018): expand, depthwise, squeeze and excitation, project."""

    def __init__(self, channels: tuple[int, int], stage: Stage, config: EfficientDetConfig, dtype: tf.DType) -> None:
        super().__init__()
        inner, outer = channels
        wide = inner * stage.expansion
        self.conv_pw = Conv((inner, wide), 1, bias=False, dtype=dtype)
        self.bn1 = norm_of(wide, config)
        self.conv_dw = DepthwiseConv(wide, stage.kernel, stride=stage.stride, dtype=dtype)
        self.bn2 = norm_of(wide, config)
        self.se = None if config.lite else SqueezeExcite(wide, inner // 4, dtype)
        self.conv_pwl = Conv((wide, outer), 1, bias=False, dtype=dtype)
        self.bn3 = norm_of(outer, config)
        self._activate, self._skip = activation(config), stage.stride == 1 and inner == outer

    def __call__(self, x_BHWC: tf.Tensor, *, training: bool) -> tf.Tensor:
        """Feature map in, feature map out."""
        y_BHWC = self._activate(convolve(self.conv_pw, self.bn1, x_BHWC, training=training))
        y_BHWC = self._activate(convolve(self.conv_dw, self.bn2, y_BHWC, training=training))
        y_BHWC = y_BHWC if self.se is None else self.se(y_BHWC)
        y_BHWC = convolve(self.conv_pwl, self.bn3, y_BHWC, training=training)
        return x_BHWC + y_BHWC if self._skip else y_BHWC


class Backbone(tf.Module):
    """Stem and seven stages."""

    def __init__(self, config: EfficientDetConfig, dtype: tf.DType) -> None:
        super().__init__()
        stem = scaled_channels(_STEM, config.width)
        self.conv_stem = Conv((3, stem), 3, stride=2, padding="SAME", bias=False, dtype=dtype)
        self.bn1 = norm_of(stem, config)
        self.blocks = _stages(stem, config, dtype)
        self._activate = activation(config)

    def __call__(self, images_BHW3: tf.Tensor, *, training: bool) -> list[tf.Tensor]:
        """Normalised images to the taps at strides 8, 16 and 32."""
        x_BHWC = self._activate(convolve(self.conv_stem, self.bn1, images_BHW3, training=training))
        taps = []
        for stage, blocks in enumerate(self.blocks):
            for block in blocks:
                x_BHWC = block(x_BHWC, training=training)
            if stage in _TAPS:
                taps.append(x_BHWC)
        return taps


def _stages(inner: int, config: EfficientDetConfig, dtype: tf.DType) -> list[list[tf.Module]]:
    stages = []
    for stage in _STAGES:
        outer = scaled_channels(stage.channels, config.width)
        blocks: list[tf.Module] = []
        for index in range(math.ceil(stage.blocks * config.depth)):
            if stage.expansion == 1:
                blocks.append(DepthwiseSeparable((inner, outer), config, dtype))
            else:
                this = stage if index == 0 else stage._replace(stride=1)
                blocks.append(InvertedResidual((inner, outer), this, config, dtype))
            inner = outer
        stages.append(blocks)
    return stages


def activation(config: EfficientDetConfig) -> Activation:
    """Of the backbone; pyramid and heads have swish throughout."""
    return tf.nn.relu6 if config.lite else tf.nn.silu
