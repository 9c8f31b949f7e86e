"""The operations in torch's and torchvision's own: the path without native kernels, and what these are held to.

Shapes: B images, M objects, N candidates or masks, K chosen anchors or boxes before NMS, D boxes kept, R RoIs,
C channels or candidates of soft-NMS, S pixels a side of a mask. All arithmetic is float32 unless said otherwise.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid
from torchvision.ops import roi_align as torchvision_roi_align

from backends.torch_impl import ops
from backends.torch_impl.kernels.cells import framework_cells
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
from harness.data import Rle, crop_targets
from harness.data.masks import Segmentation


def anchors(grid: AnchorGrid, device: torch.device) -> Tensor:
    """Anchors of all levels, ordered level, row, column, cell; float32 [N, 4]."""
    levels = zip(framework_cells(grid), grid.grids, grid.steps, strict=True)
    return torch.cat([grid_anchors(*level) for level in levels]).to(device)


def grid_anchors(cells: Sequence[Sequence[float]], grid: tuple[int, int], step: tuple[float, float]) -> Tensor:
    """The cells at every position of a grid, ordered row, column, cell; float32 [H·W·A, 4].

    Args:
        cells: anchors of position (0, 0).
        grid: rows and columns of positions.
        step: pixels between rows and between columns.
    """
    rows_H = torch.arange(grid[0], dtype=torch.float64) * step[0]
    cols_W = torch.arange(grid[1], dtype=torch.float64) * step[1]
    y_HW, x_HW = torch.meshgrid(rows_H, cols_W, indexing="ij")
    shift_HW14 = torch.stack((x_HW, y_HW, x_HW, y_HW), dim=-1)[:, :, None]
    return (shift_HW14 + torch.tensor(cells, dtype=torch.float64)).float().reshape(-1, 4)


def box_iou(left_M4: Tensor, right_N4: Tensor, one: float = 0.0) -> Tensor:
    """IoU of every pair, [M, N]; 0 where the quotient is no positive number."""
    return ops.Boxes(inclusive=bool(one)).iou(left_M4.float(), right_N4.float())


def match(
    objects_BM4: Tensor, candidates: Tensor, rule: MatchRule, present_BM: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Which object each candidate learns.

    Args:
        objects_BM4: of each image; M may be 0.
        candidates: [N, 4] of every image, or [B, N, 4].
        rule: see there.
        present_BM: bool, where `objects_BM4` holds an object; None: everywhere.

    Returns:
        Object of each candidate, int64 [B, N] (0 where there is none), and its state, int8 [B, N]: 1 foreground,
        0 background, -1 ignored. An object that overlaps no candidate makes none foreground.
    """
    found = []
    for image, objects_M4 in enumerate(objects_BM4):
        candidates_N4 = candidates if candidates.dim() == 2 else candidates[image]
        iou_MN = box_iou(objects_M4, candidates_N4, rule.one)
        if present_BM is not None:
            iou_MN.masked_fill_(~present_BM[image][:, None], -1)
        found.append(match_overlaps(iou_MN, rule))
    if not found:
        empty_BN = torch.zeros((0, candidates.shape[-2]), dtype=torch.int64, device=candidates.device)
        return empty_BN, empty_BN.to(torch.int8)
    return torch.stack([pair[0] for pair in found]), torch.stack([pair[1] for pair in found])


def match_overlaps(iou_MN: Tensor, rule: MatchRule) -> tuple[Tensor, Tensor]:
    """`match` of one image whose overlaps are known; -1 in the rows of places without an object."""
    zeros_N = torch.zeros(iou_MN.shape[1], dtype=torch.int64, device=iou_MN.device)
    if len(iou_MN) == 0 or iou_MN.shape[1] == 0:
        return zeros_N, zeros_N.to(torch.int8)
    best_N, object_N = iou_MN.max(dim=0)
    object_N = torch.where(best_N >= 0, object_N, 0)
    foreground_N = best_N > rule.foreground if rule.strict else best_N >= rule.foreground
    top_M, first_M = iou_MN.max(dim=1)
    if rule.keep == "ties":
        foreground_N |= ((iou_MN == top_M[:, None]) & (top_M[:, None] > 0)).any(dim=0)
    if rule.keep == "first":
        places_M = torch.arange(len(iou_MN), device=iou_MN.device)
        claims_MN = torch.zeros_like(iou_MN, dtype=torch.bool)
        claims_MN[places_M, first_M] = top_M > 0
        foreground_N |= claims_MN.any(dim=0)
        object_N = torch.where(claims_MN.any(dim=0), claims_MN.int().argmax(dim=0), object_N)
    state_N = foreground_N.to(torch.int8) - (~foreground_N & (best_N >= rule.background)).to(torch.int8)
    return object_N, state_N


def select_boxes(chosen: Chosen, sizes_B2: Tensor, rule: SelectRule) -> tuple[Tensor, Tensor, Tensor]:
    """Gather, decode and clip what a top-k chose.

    Args:
        chosen: of all levels.
        sizes_B2: height and width of each image's valid area, float32 on the device.
        rule: see there.

    Returns:
        Boxes [B, K, 4], levels in order; scores [B, K], the sigmoid of the logits; validity, bool [B, K]: whether both
        sides reach the least size and the score is a number.
    """
    boxes = ops.Boxes(inclusive=bool(rule.one))
    parts = []
    for index_BK, deltas_BN4, anchors_N4 in zip(chosen.indices, chosen.deltas, chosen.anchors, strict=True):
        deltas_BK4 = deltas_BN4.float().gather(1, index_BK.long()[..., None].expand(-1, -1, 4))
        parts.append(boxes.decode(deltas_BK4, anchors_N4[index_BK], rule.weights, rule.log_limit))
    limit_B12 = sizes_B2[:, None].flip(-1) - rule.one
    limit_B14 = torch.cat((limit_B12, limit_B12), dim=-1)
    boxes_BK4 = torch.cat(parts, 1).clamp(min=0).minimum(limit_B14)
    scores_BK = torch.cat([part.float() for part in chosen.logits], 1).sigmoid()
    return boxes_BK4, scores_BK, boxes.large_enough(boxes_BK4, rule.min_size) & ~scores_BK.isnan()


def nms(candidates: Candidates, rule: NmsRule) -> tuple[Tensor, Tensor]:
    """Greedy non-maximum suppression inside each group of each image; waits for the device.

    Returns:
        Indices of the boxes that stay, int64 [B, D], best first, D the smaller of K and the limit, -1 behind them;
        and how many stay, int64 [B].
    """
    boxes = ops.Boxes(inclusive=bool(rule.one))
    batch, count = candidates.scores_BK.shape
    kept_BD = candidates.groups_BK.new_full((batch, min(count, rule.max_keep)), -1, dtype=torch.int64)
    count_B, places_K = kept_BD.new_zeros(batch), torch.arange(count, device=kept_BD.device)
    for image in range(batch):
        valid_BK = candidates.valid_BK
        index_N = places_K if valid_BK is None else valid_BK[image].nonzero()[:, 0]
        columns = (candidates.boxes_BK4, candidates.scores_BK, candidates.groups_BK)
        boxes_N4, scores_N, groups_N = (column[image][index_N] for column in columns)
        keep = boxes.nms(boxes_N4.float(), scores_N, groups_N, rule.iou)[: rule.max_keep]
        kept_BD[image, : len(keep)] = index_N[keep]
        count_B[image] = len(keep)
    return kept_BD, count_B


def soft_nms(boxes_BC4: Tensor, scores_BC: Tensor, classes_BC: Tensor, rule: SoftNmsRule) -> tuple[Tensor, Tensor]:
    """Gaussian soft-NMS inside each class of each image (Bodla et al. 2017).

    Returns:
        Indices int64 [B, max_keep] and scores as lowered, best first; 0 in slots that stay empty.
    """
    scores_BC = torch.where(scores_BC.isnan(), -torch.inf, scores_BC.float())
    rows_B = torch.arange(len(scores_BC), device=scores_BC.device)
    kept_BD = torch.zeros((len(scores_BC), rule.max_keep), dtype=torch.int64, device=scores_BC.device)
    kept_scores_BD = torch.zeros(kept_BD.shape, device=scores_BC.device)
    for place in range(rule.max_keep if scores_BC.shape[1] else 0):
        best_B, index_B = scores_BC.max(dim=1)
        taken_B = best_B > rule.score_threshold
        kept_BD[:, place] = torch.where(taken_B, index_B, 0)
        kept_scores_BD[:, place] = torch.where(taken_B, best_B, 0)
        boxes_B14 = boxes_BC4[rows_B, index_B][:, None]
        iou_BC = torch.stack([box_iou(*pair)[0] for pair in zip(boxes_B14, boxes_BC4, strict=True)])
        same_BC = classes_BC == classes_BC[rows_B, index_B][:, None]
        factor_BC = torch.where(same_BC, torch.exp(-(iou_BC * iou_BC) / rule.sigma), 1)
        scores_BC = (scores_BC * factor_BC).index_put((rows_B, index_B), torch.tensor(-torch.inf))
    return kept_BD, kept_scores_BD


def roi_align(features: Sequence[Tensor], rois: RoIs, rule: PoolRule) -> Tensor:
    """Pool each RoI from its own level, [R, C, bins, bins]; float64 features stay so, others are raised to float32.

    Waits for the device once, to learn how many RoIs each level has.
    """
    wide = [_raised(feature) for feature in features]
    near_R2, far_R2 = rois.boxes_R4[:, :2], rois.boxes_R4[:, 2:]
    far_R2 = far_R2.maximum(near_R2)  # torchvision reads RoIs that are turned round mirrored, if `aligned`
    rois_R5 = torch.cat((rois.images_R[:, None].to(near_R2), near_R2, far_R2), dim=1).to(wide[0].dtype)
    order_R = torch.argsort(rois.levels_R, stable=True)
    counts = torch.bincount(rois.levels_R, minlength=len(features)).tolist()
    pooled = [
        torchvision_roi_align(feature, part, rule.bins, scale, rule.ratio, aligned=rule.aligned)
        for feature, part, scale in zip(wide, torch.split(rois_R5[order_R], counts), rule.scales, strict=True)
    ]
    out: Tensor = torch.cat(pooled)[torch.argsort(order_R)]
    return out.contiguous(memory_format=torch.channels_last) if rule.channels_last else out


def _raised(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def polygon_targets(polygons: Polygons, objects_R: Tensor, boxes_R4: Tensor, side: int) -> Tensor:
    """Each RoI's object drawn inside its box at side × side pixels, uint8 [R, side, side], on the boxes' device.

    Drawn on the host; waits for the device to bring the RoIs there.
    """
    points_V2, starts_P = polygons.points_V2.cpu().numpy(), polygons.polygon_starts.tolist()
    starts_O = polygons.object_starts.tolist()
    parts = [points_V2[start:stop].reshape(-1) for start, stop in pairwise(starts_P)]
    shapes = [tuple(parts[start:stop]) for start, stop in pairwise(starts_O)]
    return _drawn(shapes, objects_R, boxes_R4, side)


def rle_targets(runs: Runs, objects_R: Tensor, boxes_R4: Tensor, side: int) -> Tensor:
    """Each RoI's object under the centres of side × side pixels, uint8 [R, side, side]; as `polygon_targets`."""
    counts, starts_O = runs.counts.long().cpu().numpy(), runs.object_starts.tolist()
    parts = [counts[start:stop] for start, stop in pairwise(starts_O)]
    sizes = runs.sizes_O2.tolist()
    shapes = [Rle(height, width, part) for (height, width), part in zip(sizes, parts, strict=True)]
    return _drawn(shapes, objects_R, boxes_R4, side)


def _drawn(shapes: Sequence[Segmentation], objects_R: Tensor, boxes_R4: Tensor, side: int) -> Tensor:
    segmentations = [shapes[index] for index in objects_R.tolist()]
    drawn_RSS = crop_targets(segmentations, boxes_R4.cpu().numpy(), side)
    return torch.from_numpy(drawn_RSS).to(boxes_R4.device)


def paste_masks(masks_NSS: Tensor, boxes_N4: Tensor, size: tuple[int, int], threshold: float = 0.5) -> Tensor:
    """Masks stretched over their boxes in an image of that height and width, bool [N, *size]; see `ops.paste_masks`."""
    return ops.paste_masks(masks_NSS, boxes_N4.float(), *size, threshold=threshold)


def focal_loss(logits_NK: Tensor, classes_N: Tensor, rule: FocalRule) -> Tensor:
    """The focal loss of sigmoid outputs (Lin et al. 2017), summed.

    Args:
        logits_NK: float64 stays so, others are raised to float32.
        classes_N: 0..K-1 the true class, -1 background, lower: not counted.
        rule: see there.
    """
    logits_NK, half = _raised(logits_NK), rule.smoothing / 2
    true_NK = classes_N[:, None] == torch.arange(logits_NK.shape[1], device=logits_NK.device)
    x_NK = torch.where(true_NK, logits_NK, -logits_NK)
    right_NK, wrong_NK = logsigmoid(x_NK), logsigmoid(-x_NK)
    weight_NK = torch.where(true_NK, rule.alpha, 1 - rule.alpha) * torch.exp(rule.gamma * wrong_NK)
    loss_NK = weight_NK * ((half - 1) * right_NK - half * wrong_NK)
    return torch.where(classes_N[:, None] >= -1, loss_NK, 0).sum()
