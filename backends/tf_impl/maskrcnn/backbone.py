"""Trunk and pyramid: the ResNet that torchvision has, with the normalisation folded in where it is constant.

Shapes: B images, H and W rows and columns, C channels.
"""

from collections.abc import Iterator

import tensorflow as tf

from backends.tf_impl.layers import BatchNorm, Conv
from backends.tf_impl.maskrcnn.config import MaskRCNNConfig
from backends.tf_impl.maskrcnn.fpn import FPN

_BLOCKS = {
    "resnet10": (1, 1, 1, 1),
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
}
_BASIC = ("resnet10", "resnet18", "resnet34")
_STAGES = ("layer4", "layer3", "layer2", "layer1", "conv1")


def convolve(conv: Conv, norm: BatchNorm, x_BHWC: tf.Tensor, *, training: bool) -> tf.Tensor:
    """Convolution and normalisation; one convolution with scaled weights where the statistics are constant.

    y = w·x·s + (b - mean·s) with s = gamma / sqrt(var + eps): the scale goes into the weights, which are small, instead
    of another pass over the activations. Gradients reach the convolution's weights through the product.
    """
    if training and norm.live:
        return norm(conv(x_BHWC), training=True)
    scale_C, shift_C = norm.constants()
    return conv.convolve(x_BHWC, conv.weight * scale_C, shift_C)


class Block(tf.Module):
    """Residual block: the first convolution narrows (or stays), the last widens by `expansion`."""

    expansion = 1

    def __init__(self, channels: tuple[int, int], stride: int, config: MaskRCNNConfig, dtype: tf.DType) -> None:
        super().__init__()
        entering, width = channels
        leaving = width * self.expansion
        self._make(channels, stride, config, dtype)
        changes = stride > 1 or entering != leaving
        shortcut = Conv((entering, leaving), 1, stride=stride, bias=False, dtype=dtype)
        self.downsample = (shortcut, _norm(leaving, config)) if changes else None

    def _make(self, channels: tuple[int, int], stride: int, config: MaskRCNNConfig, dtype: tf.DType) -> None:
        entering, width = channels
        self.conv1 = Conv((entering, width), 3, stride=stride, padding=1, bias=False, dtype=dtype)
        self.bn1 = _norm(width, config)
        self.conv2 = Conv((width, width), 3, padding=1, bias=False, dtype=dtype)
        self.bn2 = _norm(width, config)

    def __call__(self, x_BHWC: tf.Tensor, *, training: bool) -> tf.Tensor:
        """Feature map in, feature map out."""
        *first, (conv, norm) = self._pairs()
        y_BHWC = x_BHWC
        for part in first:
            y_BHWC = tf.nn.relu(convolve(*part, y_BHWC, training=training))
        y_BHWC = convolve(conv, norm, y_BHWC, training=training)
        if self.downsample is not None:
            conv, norm = self.downsample
            x_BHWC = convolve(conv, norm, x_BHWC, training=training)
        return tf.nn.relu(y_BHWC + x_BHWC)

    def _pairs(self) -> list[tuple[Conv, BatchNorm]]:
        return [(self.conv1, self.bn1), (self.conv2, self.bn2)]


class Bottleneck(Block):
    """1×1, 3×3, 1×1; strides in the 3×3, or in the first 1×1 as Detectron's weights want."""

    expansion = 4

    def _make(self, channels: tuple[int, int], stride: int, config: MaskRCNNConfig, dtype: tf.DType) -> None:
        entering, width = channels
        first, second = (stride, 1) if config.stride_in_1x1 else (1, stride)
        self.conv1 = Conv((entering, width), 1, stride=first, bias=False, dtype=dtype)
        self.bn1 = _norm(width, config)
        self.conv2 = Conv((width, width), 3, stride=second, padding=1, bias=False, dtype=dtype)
        self.bn2 = _norm(width, config)
        self.conv3 = Conv((width, 4 * width), 1, bias=False, dtype=dtype)
        self.bn3 = _norm(4 * width, config)

    def _pairs(self) -> list[tuple[Conv, BatchNorm]]:
        return [*super()._pairs(), (self.conv3, self.bn3)]


class Body(tf.Module):
    """ResNet without its classifier; variables are named as torchvision's detectors name them."""

    def __init__(self, config: MaskRCNNConfig, dtype: tf.DType) -> None:
        super().__init__()
        self.stem_pool = config.stem_pool
        self.conv1 = Conv((3, 64), 7, stride=2, padding=3, bias=False, dtype=dtype)
        self.bn1 = _norm(64, config)
        block = Block if config.backbone in _BASIC else Bottleneck
        entering = 64
        for stage, count in enumerate(_BLOCKS[config.backbone]):
            width = 64 << stage
            leaving = width * block.expansion
            strides = [1 if stage == 0 else 2] + [1] * (count - 1)
            inputs = [entering] + [leaving] * (count - 1)
            blocks = [block((given, width), step, config, dtype) for given, step in zip(inputs, strides, strict=True)]
            setattr(self, f"layer{stage + 1}", blocks)
            entering = leaving
        self.channels = tuple(entering >> shift for shift in (3, 2, 1, 0))
        freeze(self, config.trainable_layers)

    def __call__(self, images_BHW3: tf.Tensor, *, training: bool = False) -> list[tf.Tensor]:
        """C2..C5, strides 4 to 32."""
        x_BHWC = tf.nn.relu(convolve(self.conv1, self.bn1, images_BHW3, training=training))
        x_BHWC = self._pool(x_BHWC)
        features = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            for block in stage:
                x_BHWC = block(x_BHWC, training=training)
            features.append(x_BHWC)
        return features

    def _pool(self, x_BHWC: tf.Tensor) -> tf.Tensor:
        if self.stem_pool == "same":
            return tf.nn.max_pool2d(x_BHWC, 3, 2, "SAME")
        # zeros do for the border: what comes in is not negative
        return tf.nn.max_pool2d(tf.pad(x_BHWC, ((0, 0), (1, 1), (1, 1), (0, 0))), 3, 2, "VALID")


class BackboneWithFPN(tf.Module):
    """Trunk and pyramid."""

    def __init__(self, config: MaskRCNNConfig, dtype: tf.DType) -> None:
        super().__init__()
        self.body = Body(config, dtype)
        self.fpn = FPN(self.body.channels, config.fpn_channels, dtype)

    def __call__(self, images_BHW3: tf.Tensor, *, training: bool = False) -> list[tf.Tensor]:
        """P2..P6, [B, H/4, W/4, C] to [B, H/64, W/64, C]."""
        return self.fpn(self.body(images_BHW3, training=training))


def freeze(body: Body, trainable_layers: int) -> None:
    """Make all but the last stages untrainable; 5 trains the stem too, its live norm included."""
    train = _STAGES[:trainable_layers] + (("bn1",) if trainable_layers == 5 else ())
    for name, value in list(vars(body).items()):
        if not name.startswith(("_", *train)):
            for module, variable in _trained(value):
                setattr(module, variable, tf.Variable(getattr(module, variable), trainable=False))


def _trained(value: object) -> Iterator[tuple[tf.Module, str]]:
    """Every trainable variable below a module or list of modules, as its owner and its name there."""
    parts = [value, *value.submodules] if isinstance(value, tf.Module) else []
    if isinstance(value, list | tuple):
        for part in value:
            yield from _trained(part)
    for module in parts:
        for name, variable in vars(module).items():
            if isinstance(variable, tf.Variable) and variable.trainable:
                yield module, name


def _norm(channels: int, config: MaskRCNNConfig) -> BatchNorm:
    return BatchNorm(channels, eps=config.norm_eps, momentum=config.norm_momentum, live=config.norm == "batch")
