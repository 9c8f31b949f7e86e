"""The operations that have native kernels, in two forms with one surface: native, and the framework's own.

`kernels_of` turns what `harness.kernels.choose` found into one of the two.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from backends.torch_impl.kernels import framework, native
from backends.torch_impl.kernels.rules import (
    AnchorGrid,
    Candidates,
    Chosen,
    FocalRule,
    MatchRule,
    NmsRule,
    PoolRule,
    RoIs,
    SelectRule,
    SoftNmsRule,
)
from backends.torch_impl.kernels.shapes import Polygons, Runs, pack_polygons, pack_runs
from harness.kernels import Choice

__all__ = [
    "FRAMEWORK",
    "NATIVE",
    "AnchorGrid",
    "Candidates",
    "Chosen",
    "FocalRule",
    "Kernels",
    "MatchRule",
    "NmsRule",
    "Polygons",
    "PoolRule",
    "RoIs",
    "Runs",
    "SelectRule",
    "SoftNmsRule",
    "kernels_of",
    "pack_polygons",
    "pack_runs",
]


@dataclass(frozen=True, slots=True)
class Kernels:
    """All operations in one of their forms; `framework` documents each, `native` has the same functions."""

    name: Literal["native", "framework"]
    anchors: Callable[[AnchorGrid, torch.device], Tensor]
    box_iou: Callable[[Tensor, Tensor, float], Tensor]
    match: Callable[[Tensor, Tensor, MatchRule, Tensor | None], tuple[Tensor, Tensor]]
    select_boxes: Callable[[Chosen, Tensor, SelectRule], tuple[Tensor, Tensor, Tensor]]
    nms: Callable[[Candidates, NmsRule], tuple[Tensor, Tensor]]
    soft_nms: Callable[[Tensor, Tensor, Tensor, SoftNmsRule], tuple[Tensor, Tensor]]
    roi_align: Callable[[Sequence[Tensor], RoIs, PoolRule], Tensor]
    polygon_targets: Callable[[Polygons, Tensor, Tensor, int], Tensor]
    rle_targets: Callable[[Runs, Tensor, Tensor, int], Tensor]
    paste_masks: Callable[[Tensor, Tensor, tuple[int, int], float], Tensor]
    focal_loss: Callable[[Tensor, Tensor, FocalRule], Tensor]


NATIVE = Kernels(
    name="native",
    anchors=native.anchors,
    box_iou=native.box_iou,
    match=native.match,
    select_boxes=native.select_boxes,
    nms=native.nms,
    soft_nms=native.soft_nms,
    roi_align=native.roi_align,
    polygon_targets=native.polygon_targets,
    rle_targets=native.rle_targets,
    paste_masks=native.paste_masks,
    focal_loss=native.focal_loss,
)
FRAMEWORK = Kernels(
    name="framework",
    anchors=framework.anchors,
    box_iou=framework.box_iou,
    match=framework.match,
    select_boxes=framework.select_boxes,
    nms=framework.nms,
    soft_nms=framework.soft_nms,
    roi_align=framework.roi_align,
    polygon_targets=framework.polygon_targets,
    rle_targets=framework.rle_targets,
    paste_masks=framework.paste_masks,
    focal_loss=framework.focal_loss,
)


def kernels_of(choice: Choice) -> Kernels:
    """The operations that a trial runs on."""
    return FRAMEWORK if choice.library is None else NATIVE
