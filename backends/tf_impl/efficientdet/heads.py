"""Class and box heads: one body whose convolutions all levels share and whose norms each level has for itself.

Shapes: A anchors a position, O outputs an anchor.
"""

import math
from collections.abc import Sequence

import tensorflow as tf

from backends.tf_impl.efficientdet.backbone import convolve, norm_of
from backends.tf_impl.efficientdet.config import EfficientDetConfig
from backends.tf_impl.efficientdet.fpn import SeparableConv

_LEVELS = 5
PRIOR = 0.01
"""Probability that an untrained class head gives to every class of every anchor (Lin et al. 2017, section 4.1)."""
CLASS_BIAS = -math.log((1 - PRIOR) / PRIOR)


class Head(tf.Module):
    """Separable convolutions with norm and swish, then one that predicts `outputs` numbers of each anchor."""

    def __init__(self, outputs: int, config: EfficientDetConfig, dtype: tf.DType) -> None:
        super().__init__()
        channels, depth = config.fpn_channels, config.head_depth
        self.conv_rep = [SeparableConv((channels, channels), dtype) for _ in range(depth)]
        self.bn_rep = [[{"bn": norm_of(channels, config)} for _ in range(_LEVELS)] for _ in range(depth)]
        self.predict = SeparableConv((channels, outputs * config.anchors_per_cell), dtype)
        self._outputs = outputs

    def __call__(self, maps: Sequence[tf.Tensor], *, training: bool) -> list[tf.Tensor]:
        """P3..P7 to [B, H·W·A, O] of each level, ordered row, column, anchor."""
        return [self._of_level(level, x_BHWC, training=training) for level, x_BHWC in enumerate(maps)]

    def _of_level(self, level: int, x_BHWC: tf.Tensor, *, training: bool) -> tf.Tensor:
        for conv, norms in zip(self.conv_rep, self.bn_rep, strict=True):
            y_BHWC = convolve(conv.conv_pw, norms[level]["bn"], conv.conv_dw(x_BHWC), training=training)
            x_BHWC = tf.nn.silu(y_BHWC)
        return tf.reshape(self.predict(x_BHWC), (x_BHWC.shape[0], -1, self._outputs))
