"""The bidirectional pyramid (BiFPN, Tan et al. 2020, section 3), named as effdet names it.

Shapes: C channels of a level; levels are P3..P7, strides 8 to 128.
"""

from collections.abc import Sequence

import tensorflow as tf

from backends.tf_impl.efficientdet.backbone import convolve, norm_of
from backends.tf_impl.efficientdet.config import EfficientDetConfig
from backends.tf_impl.layers import Conv, DepthwiseConv
from backends.tf_impl.ops import upsample

# A cell's nodes: level (0 is P3) and inputs; 0 to 4 are the cell's own inputs, 5 and up its nodes in this order. Four
# go down from P6 to P3, four up from P4 to P7; those that go up see their level's input again.
_NODES = (
    (3, (3, 4)),
    (2, (2, 5)),
    (1, (1, 6)),
    (0, (0, 7)),
    (1, (1, 7, 8)),
    (2, (2, 6, 9)),
    (3, (3, 5, 10)),
    (4, (4, 11)),
)
_LEVELS = 5


class ConvNorm(tf.Module):
    """1×1 convolution and norm."""

    def __init__(self, channels: tuple[int, int], config: EfficientDetConfig, dtype: tf.DType) -> None:
        super().__init__()
        self.conv = Conv(channels, 1, dtype=dtype)
        self.bn = norm_of(channels[1], config)

    def __call__(self, x_BHWC: tf.Tensor, *, training: bool) -> tf.Tensor:
        """Feature map in, feature map out."""
        return convolve(self.conv, self.bn, x_BHWC, training=training)


class SeparableConv(tf.Module):
    """Depthwise 3×3 without a bias and 1×1 with one."""

    def __init__(self, channels: tuple[int, int], dtype: tf.DType) -> None:
        super().__init__()
        self.conv_dw = DepthwiseConv(channels[0], 3, dtype=dtype)
        self.conv_pw = Conv(channels, 1, dtype=dtype)

    def __call__(self, x_BHWC: tf.Tensor) -> tf.Tensor:
        """Feature map in, feature map out."""
        return self.conv_pw(self.conv_dw(x_BHWC))


class SeparableConvNorm(tf.Module):
    """The same with a norm after it."""

    def __init__(self, channels: tuple[int, int], config: EfficientDetConfig, dtype: tf.DType) -> None:
        super().__init__()
        self.conv_dw = DepthwiseConv(channels[0], 3, dtype=dtype)
        self.conv_pw = Conv(channels, 1, dtype=dtype)
        self.bn = norm_of(channels[1], config)

    def __call__(self, x_BHWC: tf.Tensor, *, training: bool) -> tf.Tensor:
        """Feature map in, feature map out."""
        return convolve(self.conv_pw, self.bn, self.conv_dw(x_BHWC), training=training)


class Resample(tf.Module):
    """Brings a feature map to another level and to the pyramid's channels.

    Args:
        channels: of the feature map, and of the pyramid; a convolution stands where they differ.
        step: levels to go: 1 halves the map, -1 doubles it.
    """

    def __init__(self, channels: tuple[int, int], step: int, config: EfficientDetConfig, dtype: tf.DType) -> None:
        super().__init__()
        self.conv = ConvNorm(channels, config, dtype) if channels[0] != channels[1] else None
        self._step = step

    def __call__(self, x_BHWC: tf.Tensor, *, training: bool) -> tf.Tensor:
        """Feature map in, feature map out."""
        if self.conv is not None:
            x_BHWC = self.conv(x_BHWC, training=training)
        if self._step == 1:
            return tf.nn.max_pool2d(x_BHWC, 3, 2, "SAME")
        return upsample(x_BHWC) if self._step == -1 else x_BHWC


class Combine(tf.Module):
    """Fuses a node's inputs: Σ w·x / (Σ w + ε) with w = ReLU(edge weights), or their plain sum."""

    def __init__(self, resample: dict[str, Resample], config: EfficientDetConfig) -> None:
        super().__init__()
        self.edge_weights = tf.Variable(tf.ones(len(resample))) if config.fusion == "weighted" else None
        self.resample = resample
        self._eps, self._rectified = config.fusion_eps, not config.unrectified_fusion

    def __call__(self, maps: Sequence[tf.Tensor], *, training: bool) -> tf.Tensor:
        """Feature maps of one level and of its neighbours in, one of the level out."""
        nodes = [resample(maps[int(source)], training=training) for source, resample in self.resample.items()]
        if self.edge_weights is None:
            return tf.add_n(nodes)
        weights_E = tf.nn.relu(self.edge_weights) if self._rectified else tf.convert_to_tensor(self.edge_weights)
        weights_E = tf.cast(weights_E / (tf.reduce_sum(weights_E) + self._eps), nodes[0].dtype)
        return tf.add_n([node * weight for node, weight in zip(nodes, tf.unstack(weights_E), strict=True)])


class Node(tf.Module):
    """Fusion, swish, separable convolution, norm."""

    def __init__(self, combine: Combine, config: EfficientDetConfig, dtype: tf.DType) -> None:
        super().__init__()
        self.combine = combine
        self.after_combine = {"conv": SeparableConvNorm((config.fpn_channels,) * 2, config, dtype)}

    def __call__(self, maps: Sequence[tf.Tensor], *, training: bool) -> tf.Tensor:
        """All maps of the cell so far in, the node's out."""
        return self.after_combine["conv"](tf.nn.silu(self.combine(maps, training=training)), training=training)


class Cell(tf.Module):
    """One pass down and one up.

    Args:
        channels: of the five maps that come in.
        config: of the model.
        dtype: what it computes in.
    """

    def __init__(self, channels: Sequence[int], config: EfficientDetConfig, dtype: tf.DType) -> None:
        super().__init__()
        levels = [*range(_LEVELS), *(level for level, _ in _NODES)]
        widths = [*channels, *(config.fpn_channels for _ in _NODES)]
        self.fnode = [
            Node(
                Combine(
                    {
                        str(source): Resample(
                            (widths[source], config.fpn_channels), level - levels[source], config, dtype
                        )
                        for source in sources
                    },
                    config,
                ),
                config,
                dtype,
            )
            for level, sources in _NODES
        ]

    def __call__(self, maps: Sequence[tf.Tensor], *, training: bool) -> list[tf.Tensor]:
        """P3..P7 in, P3..P7 out."""
        grown = list(maps)
        for node in self.fnode:
            grown.append(node(grown, training=training))
        return grown[-_LEVELS:]


class BiFPN(tf.Module):
    """Two coarser levels from the last tap, then the cells."""

    def __init__(self, channels: Sequence[int], config: EfficientDetConfig, dtype: tf.DType) -> None:
        super().__init__()
        wide = config.fpn_channels
        self.resample = {
            "3": Resample((channels[-1], wide), 1, config, dtype),
            "4": Resample((wide, wide), 1, config, dtype),
        }
        widths = [[*channels, wide, wide]] + [[wide] * _LEVELS] * (config.fpn_cells - 1)
        self.cell = [Cell(cell_widths, config, dtype) for cell_widths in widths]

    def __call__(self, taps: Sequence[tf.Tensor], *, training: bool) -> list[tf.Tensor]:
        """Taps at strides 8, 16 and 32 to P3..P7."""
        maps = list(taps)
        for resample in self.resample.values():
            maps.append(resample(maps[-1], training=training))
        for cell in self.cell:
            maps = cell(maps, training=training)
        return maps
