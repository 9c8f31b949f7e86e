"""Tensors of an EfficientNet B0 to B7 or Lite without its classifier, by timm's names (Tan and Le 2019)."""

import math

from harness.weights.shapes import Shapes, layer, norm

WIDTHS = (1.0, 1.0, 1.1, 1.2, 1.4, 1.6, 1.8, 2.0)
"""Multiplies the channels of B0, by level."""
DEPTHS = (1.0, 1.1, 1.2, 1.4, 1.8, 2.2, 2.6, 3.1)
"""Multiplies the blocks of a stage, by level."""
_STAGES = ((1, 3, 1, 16), (2, 3, 6, 24), (2, 5, 6, 40), (3, 3, 6, 80), (3, 5, 6, 112), (4, 5, 6, 192), (1, 3, 6, 320))
"""Blocks, side of the depthwise kernel, expansion and channels of each stage of B0."""
_STEM = 32
_SQUEEZE = 4


def channels(base: int, level: int) -> int:
    """A multiple of eight near the scaled channels, never below nine tenths of them."""
    scaled = base * WIDTHS[level]
    near = max(8, int(scaled + 4) // 8 * 8)
    return near + 8 if near < 0.9 * scaled else near


def repeats(level: int, *, lite: bool) -> list[int]:
    """Blocks of each stage; in Lite the first and last stage do not grow."""
    last = len(_STAGES) - 1
    return [
        blocks if lite and stage in (0, last) else math.ceil(blocks * DEPTHS[level])
        for stage, (blocks, *_) in enumerate(_STAGES)
    ]


def stage_channels(level: int) -> list[int]:
    """Channels that each stage hands on."""
    return [channels(width, level) for *_, width in _STAGES]


def trunk(level: int, *, lite: bool) -> Shapes:
    """PyTorch's shapes of the stem and all blocks, without `backbone.` before the names."""
    width = _STEM if lite else channels(_STEM, level)
    shapes: Shapes = {"conv_stem.weight": (width, 3, 3, 3), **norm("bn1", width)}
    rows = zip(_STAGES, repeats(level, lite=lite), stage_channels(level), strict=True)
    for stage, ((_, kernel, expansion, _), blocks, out) in enumerate(rows):
        for block in range(blocks):
            shapes |= _block(f"blocks.{stage}.{block}", (width, out), kernel, expansion, lite=lite)
            width = out
    return shapes


def _block(name: str, width: tuple[int, int], kernel: int, expansion: int, *, lite: bool) -> Shapes:
    """An inverted residual block; without expansion it has no first convolution."""
    inner = width[0] * expansion
    shapes: Shapes = {}
    norms = iter(("bn1", "bn2", "bn3"))
    if expansion > 1:
        shapes |= {f"{name}.conv_pw.weight": (inner, width[0], 1, 1), **norm(f"{name}.{next(norms)}", inner)}
    shapes |= {f"{name}.conv_dw.weight": (inner, 1, kernel, kernel), **norm(f"{name}.{next(norms)}", inner)}
    if not lite:
        squeezed = int(width[0] / _SQUEEZE)
        shapes |= layer(f"{name}.se.conv_reduce", (squeezed, inner, 1, 1))
        shapes |= layer(f"{name}.se.conv_expand", (inner, squeezed, 1, 1))
    project = "conv_pwl" if expansion > 1 else "conv_pw"
    return shapes | {f"{name}.{project}.weight": (width[1], inner, 1, 1), **norm(f"{name}.{next(norms)}", width[1])}
