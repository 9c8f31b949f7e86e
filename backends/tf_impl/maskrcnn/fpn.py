"""Feature pyramid (Lin et al. 2017); the arithmetic is that of both flavours."""

from collections.abc import Sequence

import tensorflow as tf

from backends.tf_impl.layers import Conv
from backends.tf_impl.ops import upsample


class FPN(tf.Module):
    """P2..P5 from C2..C5 (1×1 lateral, nearest ×2 and sum, 3×3 output, with biases), P6 = every second pixel of P5."""

    def __init__(self, in_channels: Sequence[int], out_channels: int, dtype: tf.DType) -> None:
        super().__init__()
        self.inner_blocks = [[Conv((channels, out_channels), 1, dtype=dtype)] for channels in in_channels]
        self.layer_blocks = [
            [Conv((out_channels, out_channels), 3, padding=1, dtype=dtype)] for _ in range(len(in_channels))
        ]

    def __call__(self, trunk: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """P2..P6; each level of the trunk is twice as large as the next."""
        laterals = [block(feature) for (block,), feature in zip(self.inner_blocks, trunk, strict=True)]
        merged = laterals[-1:]
        for lateral in laterals[-2::-1]:
            merged.insert(0, lateral + upsample(merged[0]))
        levels = [block(feature) for (block,), feature in zip(self.layer_blocks, merged, strict=True)]
        return [*levels, levels[-1][:, ::2, ::2]]
