"""Feature pyramid: torchvision's, whose arithmetic is that of both flavours."""

from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool


def build_fpn(in_channels: list[int], out_channels: int) -> FeaturePyramidNetwork:
    """P2..P5 from C2..C5 (1×1 lateral, nearest ×2 and sum, 3×3 output, all with bias), P6 = every second pixel of P5.

    Initialised as published: Kaiming uniform with a = 1, biases 0.
    """
    return FeaturePyramidNetwork(in_channels, out_channels, extra_blocks=LastLevelMaxPool())
