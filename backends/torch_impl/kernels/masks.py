"""Operations on masks, `torch.ops.detection.*`: targets from outlines, and masks pasted into images.

See kernels/include/{polygon_targets,rle_targets,paste_masks}.h. None has a gradient.
"""

from typing import Any

import torch
from torch import Tensor

from backends.torch_impl.kernels.binding import call, dense, operation, workspace

_ROIS = "Tensor objects, Tensor boxes, int side, float min_side"


def _targets(*inputs: Any) -> Tensor:
    boxes, side = inputs[4:6]
    targets_RSS: Tensor = boxes.new_empty((boxes.shape[0], side, side), dtype=torch.uint8)
    return targets_RSS


def _pasted(masks: Tensor, _boxes: Tensor, *size: Any) -> Tensor:
    return masks.new_empty((masks.shape[0], *size[:2]), dtype=torch.bool)


@operation(
    "polygon_targets", f"(Tensor points, Tensor polygon_starts, Tensor object_starts, {_ROIS}) -> Tensor", _targets
)
def polygon_targets(points: Tensor, polygon_starts: Tensor, object_starts: Tensor, *rois: Any) -> Tensor:
    """Targets uint8 [R, side, side]; `points` and `boxes` are float64, starts int64, `objects` int32 [R]."""
    objects, boxes, side, min_side = rois
    objects, boxes = dense(objects, torch.int32), dense(boxes, torch.float64)
    outlines = (dense(points, torch.float64), *(dense(part, torch.int64) for part in (polygon_starts, object_starts)))
    targets_RSS = _targets(*[None] * 3, *rois)
    scratch = workspace("polygon_targets", boxes.device, len(boxes), side, side)
    sizes = (len(boxes), side, side, min_side)
    call("polygon_targets", boxes.device, *outlines, objects, boxes, *sizes, targets_RSS, scratch)
    return targets_RSS


@operation("rle_targets", f"(Tensor counts, Tensor object_starts, Tensor sizes, {_ROIS}) -> Tensor", _targets)
def rle_targets(counts: Tensor, object_starts: Tensor, sizes: Tensor, *rois: Any) -> Tensor:
    """Targets uint8 [R, side, side]; `counts` and `objects` are int32, starts and sizes int64, `boxes` float64."""
    objects, boxes, side, min_side = rois
    counts, objects, boxes = dense(counts, torch.int32), dense(objects, torch.int32), dense(boxes, torch.float64)
    targets_RSS, sums = _targets(*[None] * 3, *rois), torch.empty_like(counts)
    runs = (counts, dense(object_starts, torch.int64), dense(sizes, torch.int64), len(sizes), objects)
    call("rle_targets", boxes.device, *runs, boxes, len(boxes), side, side, min_side, targets_RSS, sums)
    return targets_RSS


@operation(
    "paste_masks", "(Tensor masks, Tensor boxes, SymInt height, SymInt width, float threshold) -> Tensor", _pasted
)
def paste_masks(masks: Tensor, boxes: Tensor, height: int, width: int, threshold: float) -> Tensor:
    """Masks in the image, bool [N, height, width]; `masks` float32 [N, S, S], `boxes` float32 [N, 4]."""
    masks, boxes = dense(masks), dense(boxes)
    pasted_NHW = _pasted(masks, boxes, height, width)
    sizes = (height, width, threshold)
    call("paste_masks", masks.device, masks, len(masks), masks.shape[-1], boxes, *sizes, pasted_NHW)
    return pasted_NHW
