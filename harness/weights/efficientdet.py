"""Tensors of EfficientDet D0 to D7 by effdet's names (Tan, Pang and Le 2020), as far as a file's own sizes say.

The number of classes and the widths are read from the file; how often cells and layers repeat follows from the width
of the pyramid, which each level has to itself (D6 and D7 are one network).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from harness.weights.efficientnet import stage_channels, trunk
from harness.weights.shapes import Shape, Shapes, layer, norm, outputs

PYRAMID = (64, 88, 112, 160, 224, 288, 384)
"""Channels of the pyramid, by level."""
CELLS = (3, 4, 5, 6, 7, 7, 8)
"""Cells of the pyramid, by level."""
HEAD_LAYERS = (3, 3, 3, 4, 4, 4, 5)
"""Separable convolutions of each head before its last, by level."""
LEVELS = 5
"""P3 to P7."""
_INPUTS = (2, 2, 2, 2, 3, 3, 3, 2)
"""Feature maps that the nodes of a cell weigh: P6, P5, P4, P3 downward, then P4, P5, P6, P7 upward."""
_TAPS = (2, 4, 6)
"""Stages of the trunk that give C3, C4 and C5."""
_FROM_TRUNK = ((1, 2, 2), (2, 1, 1), (3, 0, 0), (4, 1, 1), (5, 2, 2))
"""Node of the first cell, its input, and which of C3, C4, C5 that input is: they get the pyramid's width."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What one EfficientDet is made of."""

    level: int
    lite: bool
    """The trunk has no squeeze and excitation."""
    weighted: bool
    """Nodes weigh their inputs; D6, D7 and the Lite detectors add them."""
    classes: int
    anchors: int
    """Of each position."""

    @property
    def name(self) -> str:
        """In words."""
        return f"EfficientDet-D{self.level}" + (" on a Lite trunk" if self.lite else "")


def kind_of(given: Mapping[str, Shape]) -> Kind:
    """The detector that a file was saved from, from PyTorch's shapes of what it holds.

    Sizes whose tensors are missing are those of D0 with 90 classes; the fit then names the tensors.
    """
    boxes = outputs(given, ("box_net.predict.conv_pw.weight", "box_net.predict.conv_pw.bias"), 36)
    anchors = max(1, boxes // 4)
    scores = outputs(given, ("class_net.predict.conv_pw.weight", "class_net.predict.conv_pw.bias"), 90 * anchors)
    shared = ("class_net.predict.conv_dw.weight", "box_net.predict.conv_dw.weight", "fpn.resample.3.conv.conv.weight")
    width = outputs(given, shared, 0)
    level = PYRAMID.index(width) if width in PYRAMID else trunk_level(given)
    return Kind(
        level=level,
        lite=not any(".se." in name for name in given),
        weighted=any(name.endswith("edge_weights") for name in given),
        classes=max(1, scores // anchors),
        anchors=anchors,
    )


def trunk_level(given: Mapping[str, Shape]) -> int:
    """The level whose trunk has most of the given tensors; the lower one of two that have equally many."""
    lite = not any(".se." in name for name in given)

    def common(level: int) -> int:
        wanted = {f"backbone.{name}": shape for name, shape in trunk(level, lite=lite).items()}
        return sum(given.get(name) == shape for name, shape in wanted.items()) - len(wanted.keys() - given.keys())

    return max(range(len(PYRAMID)), key=lambda level: (common(level), -level))


def tensors(kind: Kind) -> Shapes:
    """PyTorch's shape of every tensor."""
    shapes = {f"backbone.{name}": shape for name, shape in trunk(kind.level, lite=kind.lite).items()}
    shapes |= pyramid(kind)
    shapes |= head("class_net", kind, kind.classes * kind.anchors)
    return shapes | head("box_net", kind, 4 * kind.anchors)


def pyramid(kind: Kind) -> Shapes:
    """P6 from C5, and the cells."""
    width = PYRAMID[kind.level]
    taps = [stage_channels(kind.level)[stage] for stage in _TAPS]
    shapes = _resample("fpn.resample.3", taps[-1], width)
    for cell in range(CELLS[kind.level]):
        for node, inputs in enumerate(_INPUTS):
            name = f"fpn.cell.{cell}.fnode.{node}"
            if kind.weighted:
                shapes[f"{name}.combine.edge_weights"] = (inputs,)
            shapes |= _separable(f"{name}.after_combine.conv", width, width)
            shapes |= norm(f"{name}.after_combine.conv.bn", width)
    for node, place, tap in _FROM_TRUNK:
        shapes |= _resample(f"fpn.cell.0.fnode.{node}.combine.resample.{place}", taps[tap], width)
    return shapes


def head(name: str, kind: Kind, width_out: int) -> Shapes:
    """A head: its convolutions serve all levels of the pyramid, its norms one each."""
    width = PYRAMID[kind.level]
    shapes: Shapes = {}
    for depth in range(HEAD_LAYERS[kind.level]):
        shapes |= _separable(f"{name}.conv_rep.{depth}", width, width)
        for level in range(LEVELS):
            shapes |= norm(f"{name}.bn_rep.{depth}.{level}.bn", width)
    return shapes | _separable(f"{name}.predict", width, width_out)


def _separable(name: str, width: int, out: int) -> Shapes:
    return {f"{name}.conv_dw.weight": (width, 1, 3, 3), **layer(f"{name}.conv_pw", (out, width, 1, 1))}


def _resample(name: str, width: int, out: int) -> Shapes:
    return layer(f"{name}.conv.conv", (out, width, 1, 1)) | norm(f"{name}.conv.bn", out)
