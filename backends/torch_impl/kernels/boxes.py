"""Operations on boxes, `torch.ops.detection.*`: the C functions of kernels/include with tensors for arrays.

Each has one implementation for both kinds of device, which `binding` tells apart, and a fake one that knows shapes
alone, for torch.compile. Types are the C functions' own; `native` converts. None of these has a gradient. What a
schema names after its tensors goes to the C function as it is, in its order.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from backends.torch_impl.kernels.binding import call, dense, host_float64, host_int64, operation, workspace

_INDEX_BYTES = {torch.int32: 4, torch.int64: 8}
_UNORDERED = 0


def _overlaps(left: Tensor, right: Tensor, *_: Any) -> Tensor:
    return left.new_empty((left.shape[0], right.shape[0]))


def _matched(objects: Tensor, _present: Any, candidates: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    shape = (objects.shape[0], candidates.shape[-2])
    return objects.new_empty(shape, dtype=torch.int32), objects.new_empty(shape, dtype=torch.int8)


def _selected(indices: Sequence[Tensor], *others: Any) -> tuple[Tensor, Tensor, Tensor]:
    sizes = others[3]
    shape = (sizes.shape[0], sum(part.shape[1] for part in indices))
    return sizes.new_empty((*shape, 4)), sizes.new_empty(shape), sizes.new_empty(shape, dtype=torch.bool)


def _kept(boxes: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    batch = boxes.shape[0]
    return boxes.new_empty((batch, others[-1]), dtype=torch.int32), boxes.new_empty((batch,), dtype=torch.int32)


def _kept_softly(boxes: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    shape = (boxes.shape[0], others[-1])
    return boxes.new_empty(shape, dtype=torch.int32), boxes.new_empty(shape)


def _anchors(like: Tensor, _cells: Any, cells_a_level: int, grids: Sequence[int], *_: Any) -> Tensor:
    positions = sum(rows * columns for rows, columns in zip(grids[0::2], grids[1::2], strict=True))
    return like.new_empty((cells_a_level * positions, 4), dtype=torch.float32)


@operation("box_iou", "(Tensor left, Tensor right, float one) -> Tensor", _overlaps)
def box_iou(left: Tensor, right: Tensor, one: float) -> Tensor:
    """IoU of every pair, float32 [M, N]; see box_iou.h."""
    left, right = dense(left), dense(right)
    iou_MN = _overlaps(left, right)
    call("box_iou", left.device, left, len(left), right, len(right), one, iou_MN)
    return iou_MN


@operation(
    "match",
    "(Tensor objects, Tensor? present, Tensor candidates, float one, float foreground, float background, bool strict,"
    " int keep) -> (Tensor, Tensor)",
    _matched,
)
def match(objects: Tensor, present: Tensor | None, candidates: Tensor, *rule: float) -> tuple[Tensor, Tensor]:
    """Object int32 [B, N] and state int8 [B, N] of each candidate; see match.h.

    `objects` is [B, M, 4], `present` bool [B, M] or None, `candidates` [N, 4] of every image or [B, N, 4].
    """
    objects, candidates = dense(objects), dense(candidates)
    present = None if present is None else dense(present, torch.bool)
    (batch, m), n = objects.shape[:2], candidates.shape[-2]
    object_BN, state_BN = _matched(objects, present, candidates)
    stride = 4 * n if candidates.dim() == 3 else 0
    scratch = workspace("match", objects.device, batch, m, n)
    places = (objects, present, batch, m, candidates, n, stride)
    call("match", objects.device, *places, *rule, object_BN, state_BN, scratch)
    return object_BN, state_BN


@operation(
    "select_boxes",
    "(Tensor[] indices, Tensor[] logits, Tensor[] deltas, Tensor[] anchors, Tensor sizes, float one, float weight_xy,"
    " float weight_wh, float log_limit, float min_size) -> (Tensor, Tensor, Tensor)",
    _selected,
)
def select_boxes(
    indices: Sequence[Tensor], logits: Sequence[Tensor], deltas: Sequence[Tensor], *others: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes [B, K, 4], scores [B, K] and validity, bool [B, K]; see select_boxes.h. `indices` are int32 or int64."""
    anchors, sizes, *rule = others
    chosen = [dense(part, indices[0].dtype) for part in indices]
    floats = [[dense(part) for part in parts] for parts in (logits, deltas, anchors)]
    sizes = dense(sizes)
    boxes_BK4, scores_BK, valid_BK = _selected(indices, None, None, None, sizes)
    counts = [number for n, k in zip(anchors, indices, strict=True) for number in (len(n), k.shape[1])]
    levels = (host_int64(counts), len(chosen), len(sizes), _INDEX_BYTES[indices[0].dtype])
    places = (chosen, *floats, *levels, sizes)
    call("select_boxes", sizes.device, *places, *rule, _UNORDERED, boxes_BK4, scores_BK, valid_BK)
    return boxes_BK4, scores_BK, valid_BK


@operation(
    "nms",
    "(Tensor boxes, Tensor? groups, Tensor? valid, float one, float iou, SymInt max_keep) -> (Tensor, Tensor)",
    _kept,
)
def nms(boxes: Tensor, groups: Tensor | None, valid: Tensor | None, *rule: Any) -> tuple[Tensor, Tensor]:
    """Indices kept, int32 [B, max_keep], and their number, int32 [B]; see nms.h. Boxes come best first."""
    boxes = dense(boxes)
    groups = None if groups is None else dense(groups, torch.int32)
    valid = None if valid is None else dense(valid, torch.bool)
    (batch, k), max_keep = boxes.shape[:2], rule[-1]
    kept_BD, count_B = _kept(boxes, max_keep)
    scratch = workspace("nms", boxes.device, batch, k, max_keep)
    call("nms", boxes.device, boxes, groups, valid, batch, k, *rule, kept_BD, count_B, scratch)
    return kept_BD, count_B


@operation(
    "soft_nms",
    "(Tensor boxes, Tensor scores, Tensor classes, float sigma, float score_threshold, SymInt max_keep)"
    " -> (Tensor, Tensor)",
    _kept_softly,
)
def soft_nms(boxes: Tensor, scores: Tensor, classes: Tensor, *rule: Any) -> tuple[Tensor, Tensor]:
    """Indices kept, int32 [B, max_keep], and their lowered scores; see soft_nms.h."""
    boxes, scores, classes = dense(boxes), dense(scores), dense(classes, torch.int32)
    kept_BD, kept_scores_BD = _kept_softly(boxes, *rule)
    scratch = workspace("soft_nms", boxes.device, *scores.shape)
    call("soft_nms", boxes.device, boxes, scores, classes, *scores.shape, *rule, kept_BD, kept_scores_BD, scratch)
    return kept_BD, kept_scores_BD


@operation(
    "anchors", "(Tensor like, float[] cells, int cells_a_level, SymInt[] grids, float[] steps) -> Tensor", _anchors
)
def anchors(
    like: Tensor, cells: Sequence[float], cells_a_level: int, grids: Sequence[int], steps: Sequence[float]
) -> Tensor:
    """Anchors of all levels, float32 [N, 4], on the device of `like`; see anchors.h, whose arrays the lists are."""
    anchors_N4 = _anchors(like, cells, cells_a_level, grids)
    lists = (host_float64(cells), len(grids) // 2, cells_a_level, host_int64(grids), host_float64(steps))
    call("anchors", like.device, *lists, anchors_N4)
    return anchors_N4
