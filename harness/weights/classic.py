"""EfficientNets under the names of the `efficientnet-pytorch` family of packages, in timm's names.

Those packages number all blocks in one row and the norms of a block from its expansion, which the first block lacks:
`_blocks.1._bn0` is timm's `blocks.1.0.bn1`, `_blocks.0._bn1` is `blocks.0.0.bn1`.
"""

import re
from collections.abc import Mapping, Sequence

from harness.errors import WeightsError
from harness.weights.efficientnet import DEPTHS, repeats

CLASSIC_STEM = "_conv_stem.weight"
_BLOCK = re.compile(r"^_blocks\.(\d+)\.(\w+?)\.(.+)$")
_OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_EXCITATION = {"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
_EXPANDED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}


def modern_names(names: Sequence[str]) -> list[str]:
    """Return timm's names; one that is not of such a network stays as it is.

    Raises:
        WeightsError: no EfficientNet has so many blocks.
    """
    blocks = {int(match[1]) for name in names if (match := _BLOCK.match(name))}
    expanded = {int(match[1]) for name in names if (match := _BLOCK.match(name)) and match[2] == "_expand_conv"}
    lite = not any("._se_" in name for name in names)
    places = _places(1 + max(blocks, default=-1), lite=lite)
    return [_modern(name, places, expanded) for name in names]


def _places(count: int, *, lite: bool) -> list[str]:
    for level in range(len(DEPTHS)):
        rows = repeats(level, lite=lite)
        if sum(rows) == count:
            return [f"{stage}.{block}" for stage, row in enumerate(rows) for block in range(row)]
    raise WeightsError(f"has {count} blocks, which no EfficientNet has")


def _modern(name: str, places: Sequence[str], expanded: set[int]) -> str:
    match = _BLOCK.match(name)
    if match is None:
        layer, _, rest = name.partition(".")
        return f"{_OUTSIDE.get(layer, layer)}.{rest}"
    number, layer, rest = int(match[1]), match[2], match[3]
    layers: Mapping[str, str] = (_EXPANDED if number in expanded else _PLAIN) | _EXCITATION
    return f"blocks.{places[number]}.{layers.get(layer, layer)}.{rest}"
