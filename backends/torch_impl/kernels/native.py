"""The operations on native kernels: same functions and same results as in `framework`, which documents them.

Half types are raised to float32 here, and indices come out as int64, which torch indexes with; the kernels themselves
(`torch.ops.detection`) know the C functions' types alone.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from backends.torch_impl.kernels import boxes, losses, masks, pooling
from backends.torch_impl.kernels.binding import library
from backends.torch_impl.kernels.cells import native_cells
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
from backends.torch_impl.kernels.shapes import Polygons, Runs

MIN_SIDE = 1.0
_KEEP = {"none": 0, "ties": 1, "first": 2}


def anchors(grid: AnchorGrid, device: torch.device) -> Tensor:
    """Anchors of all levels."""
    cells = native_cells(library(device), grid)
    grids = [side for pair in grid.grids for side in pair]
    steps = [float(step) for pair in grid.steps for step in pair]
    like = torch.empty(0, device=device)
    found: Tensor = boxes.anchors(like, cells, len(cells) // (4 * len(grid.strides)), grids, steps)
    return found


def box_iou(left_M4: Tensor, right_N4: Tensor, one: float = 0.0) -> Tensor:
    """IoU of every pair."""
    found: Tensor = boxes.box_iou(left_M4.float(), right_N4.float(), one)
    return found


def match(
    objects_BM4: Tensor, candidates: Tensor, rule: MatchRule, present_BM: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Object and state of each candidate."""
    numbers = (rule.one, rule.foreground, rule.background, rule.strict, _KEEP[rule.keep])
    object_BN, state_BN = boxes.match(objects_BM4.float(), present_BM, candidates.float(), *numbers)
    return object_BN.long(), state_BN


def select_boxes(chosen: Chosen, sizes_B2: Tensor, rule: SelectRule) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes, scores and validity of the chosen anchors."""
    floats = ([part.float() for part in parts] for parts in (chosen.logits, chosen.deltas, chosen.anchors))
    numbers = (rule.one, *rule.weights, rule.log_limit, rule.min_size)
    found: tuple[Tensor, Tensor, Tensor] = boxes.select_boxes(list(chosen.indices), *floats, sizes_B2.float(), *numbers)
    return found


def nms(candidates: Candidates, rule: NmsRule) -> tuple[Tensor, Tensor]:
    """Indices kept and their number; only the sort is torch's."""
    scores_BK, valid_BK = candidates.scores_BK, candidates.valid_BK
    ranked_BK = scores_BK if valid_BK is None else scores_BK.masked_fill(~valid_BK, -torch.inf)
    order_BK = ranked_BK.argsort(dim=1, descending=True, stable=True)
    boxes_BK4 = candidates.boxes_BK4.float().gather(1, order_BK[..., None].expand(-1, -1, 4))
    groups_BK = candidates.groups_BK.gather(1, order_BK).int()
    valid_BK = None if valid_BK is None else valid_BK.gather(1, order_BK)
    limit = min(rule.max_keep, scores_BK.shape[1])
    kept_BD, count_B = boxes.nms(boxes_BK4, groups_BK, valid_BK, rule.one, rule.iou, limit)
    if limit == 0:
        return kept_BD.long(), count_B.long()
    index_BD = order_BK.gather(1, kept_BD.long().clamp(min=0))
    return index_BD.masked_fill(kept_BD < 0, -1), count_B.long()


def soft_nms(boxes_BC4: Tensor, scores_BC: Tensor, classes_BC: Tensor, rule: SoftNmsRule) -> tuple[Tensor, Tensor]:
    """Indices kept and their lowered scores."""
    numbers = (rule.sigma, rule.score_threshold, rule.max_keep)
    kept_BD, scores_BD = boxes.soft_nms(boxes_BC4.float(), scores_BC.float(), classes_BC.int(), *numbers)
    return kept_BD.long(), scores_BD


def roi_align(features: Sequence[Tensor], rois: RoIs, rule: PoolRule) -> Tensor:
    """Pooled RoIs."""
    wide = [feature if feature.dtype == torch.float64 else feature.float() for feature in features]
    places = (rois.boxes_R4.to(wide[0].dtype), rois.images_R.int(), rois.levels_R.int())
    numbers = (list(rule.scales), rule.bins, rule.ratio, rule.aligned, rule.min_side, rule.channels_last)
    pooled: Tensor = pooling.roi_align(wide, *places, *numbers)
    return pooled.permute(0, 3, 1, 2) if rule.channels_last else pooled


def polygon_targets(polygons: Polygons, objects_R: Tensor, boxes_R4: Tensor, side: int) -> Tensor:
    """Targets from polygons."""
    outlines = (polygons.points_V2, polygons.polygon_starts, polygons.object_starts)
    found: Tensor = masks.polygon_targets(*outlines, objects_R.int(), boxes_R4.double(), side, MIN_SIDE)
    return found


def rle_targets(runs: Runs, objects_R: Tensor, boxes_R4: Tensor, side: int) -> Tensor:
    """Targets from run lengths."""
    counts = (runs.counts, runs.object_starts, runs.sizes_O2)
    found: Tensor = masks.rle_targets(*counts, objects_R.int(), boxes_R4.double(), side, MIN_SIDE)
    return found


def paste_masks(masks_NSS: Tensor, boxes_N4: Tensor, size: tuple[int, int], threshold: float = 0.5) -> Tensor:
    """Masks in the image."""
    found: Tensor = masks.paste_masks(masks_NSS.float(), boxes_N4.float(), *size, threshold)
    return found


def focal_loss(logits_NK: Tensor, classes_N: Tensor, rule: FocalRule) -> Tensor:
    """The focal loss, summed."""
    wide_NK = logits_NK if logits_NK.dtype == torch.float64 else logits_NK.float()
    found: Tensor = losses.focal_loss(wide_NK, classes_N.int(), rule.alpha, rule.gamma, rule.smoothing)
    return found
