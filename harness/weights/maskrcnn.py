"""Tensors of Mask R-CNN by torchvision's names (He et al. 2017), as far as a file's own sizes say.

Which residual network it is follows from the blocks that are there; widths and classes are read from the file.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from harness.weights.layouts import BINS
from harness.weights.shapes import Shape, Shapes, layer, norm, outputs

RESNETS = {
    "resnet10": (1, (1, 1, 1, 1)),
    "resnet18": (1, (2, 2, 2, 2)),
    "resnet34": (1, (3, 4, 6, 3)),
    "resnet50": (4, (3, 4, 6, 3)),
    "resnet101": (4, (3, 4, 23, 3)),
    "resnet152": (4, (3, 8, 36, 3)),
}
"""Expansion of a block and the blocks of each stage."""
_WIDTHS = (64, 128, 256, 512)
_THIRD_STAGE = re.compile(r"^backbone\.body\.layer3\.(\d+)\.")
_LEVELS = 4


@dataclass(frozen=True, slots=True)
class Kind:
    """What one Mask R-CNN is made of."""

    resnet: str
    fpn: int
    """Channels of the pyramid."""
    anchors: int
    """Of each position."""
    dense: int
    """Width of the box head."""
    mask: int
    """Channels of the mask head."""
    classes: int
    """With the background."""

    @property
    def name(self) -> str:
        """In words."""
        return f"Mask R-CNN on {self.resnet}"


def kind_of(given: Mapping[str, Shape]) -> Kind:
    """The detector that a file was saved from, from PyTorch's shapes of what it holds.

    Sizes whose tensors are missing are those of the published model; the fit then names the tensors.
    """
    return Kind(
        resnet=resnet_of(given),
        fpn=outputs(given, ("rpn.head.conv.0.0.weight", "rpn.head.conv.0.0.bias"), 256),
        anchors=outputs(given, ("rpn.head.cls_logits.weight", "rpn.head.cls_logits.bias"), 3),
        dense=outputs(given, ("roi_heads.box_head.fc7.weight", "roi_heads.box_head.fc7.bias"), 1024),
        mask=outputs(given, ("roi_heads.mask_head.0.0.weight", "roi_heads.mask_head.0.0.bias"), 256),
        classes=outputs(
            given, ("roi_heads.box_predictor.cls_score.weight", "roi_heads.mask_predictor.mask_fcn_logits.weight"), 91
        ),
    )


def resnet_of(given: Mapping[str, Shape]) -> str:
    """The residual network with as many blocks in its third stage, where all of one expansion differ."""
    expansion = 4 if any(re.search(r"^backbone\.body\.layer\d\.\d+\.conv3\.", name) for name in given) else 1
    blocks = 1 + max((int(match[1]) for name in given if (match := _THIRD_STAGE.match(name))), default=0)
    choices = [name for name, (wide, _) in RESNETS.items() if wide == expansion]
    return min(choices, key=lambda name: abs(RESNETS[name][1][2] - blocks))


def tensors(kind: Kind) -> Shapes:
    """PyTorch's shape of every tensor."""
    shapes = {f"backbone.body.{name}": shape for name, shape in trunk(kind.resnet).items()}
    expansion = RESNETS[kind.resnet][0]
    for level in range(_LEVELS):
        shapes |= layer(f"backbone.fpn.inner_blocks.{level}.0", (kind.fpn, _WIDTHS[level] * expansion, 1, 1))
        shapes |= layer(f"backbone.fpn.layer_blocks.{level}.0", (kind.fpn, kind.fpn, 3, 3))
    return shapes | proposals(kind) | heads(kind)


def trunk(resnet: str) -> Shapes:
    """The residual network without its classifier and without `backbone.body.` before the names."""
    expansion, stages = RESNETS[resnet]
    shapes: Shapes = {"conv1.weight": (64, 3, 7, 7), **norm("bn1", 64)}
    width = 64
    for stage, (blocks, inner) in enumerate(zip(stages, _WIDTHS, strict=True), start=1):
        for block in range(blocks):
            name, out = f"layer{stage}.{block}", inner * expansion
            shapes |= _bottleneck(name, width, inner) if expansion > 1 else _basic(name, width, inner)
            if block == 0 and (width != out or stage > 1):
                shapes |= {f"{name}.downsample.0.weight": (out, width, 1, 1), **norm(f"{name}.downsample.1", out)}
            width = out
    return shapes


def _bottleneck(name: str, width: int, inner: int) -> Shapes:
    shapes: Shapes = {f"{name}.conv1.weight": (inner, width, 1, 1), **norm(f"{name}.bn1", inner)}
    shapes |= {f"{name}.conv2.weight": (inner, inner, 3, 3), **norm(f"{name}.bn2", inner)}
    return shapes | {f"{name}.conv3.weight": (4 * inner, inner, 1, 1), **norm(f"{name}.bn3", 4 * inner)}


def _basic(name: str, width: int, inner: int) -> Shapes:
    shapes: Shapes = {f"{name}.conv1.weight": (inner, width, 3, 3), **norm(f"{name}.bn1", inner)}
    return shapes | {f"{name}.conv2.weight": (inner, inner, 3, 3), **norm(f"{name}.bn2", inner)}


def proposals(kind: Kind) -> Shapes:
    """The region proposal network's head."""
    shapes = layer("rpn.head.conv.0.0", (kind.fpn, kind.fpn, 3, 3))
    shapes |= layer("rpn.head.cls_logits", (kind.anchors, kind.fpn, 1, 1))
    return shapes | layer("rpn.head.bbox_pred", (4 * kind.anchors, kind.fpn, 1, 1))


def heads(kind: Kind) -> Shapes:
    """Box head and mask head."""
    shapes = layer("roi_heads.box_head.fc6", (kind.dense, kind.fpn * BINS * BINS))
    shapes |= layer("roi_heads.box_head.fc7", (kind.dense, kind.dense))
    shapes |= layer("roi_heads.box_predictor.cls_score", (kind.classes, kind.dense))
    shapes |= layer("roi_heads.box_predictor.bbox_pred", (4 * kind.classes, kind.dense))
    for depth in range(4):
        shapes |= layer(f"roi_heads.mask_head.{depth}.0", (kind.mask, kind.mask if depth else kind.fpn, 3, 3))
    shapes |= layer("roi_heads.mask_predictor.conv5_mask", (kind.mask, kind.mask, 2, 2))
    return shapes | layer("roi_heads.mask_predictor.mask_fcn_logits", (kind.classes, kind.mask, 1, 1))
