"""What the mask head learns: each object under its RoI, at the mask head's resolution.

Shapes: F foreground RoIs, S pixels a side of a mask.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from backends.torch_impl.kernels import FRAMEWORK, Kernels, PoolRule, RoIs, pack_polygons, pack_runs
from backends.torch_impl.maskrcnn.targets import Target


@torch.no_grad()
def mask_targets(
    targets: Sequence[Target],
    boxes: Sequence[Tensor],
    objects: Sequence[Tensor],
    side: int,
    kernels: Kernels = FRAMEWORK,
) -> Tensor:
    """Targets of the foreground RoIs of all images, float32 [F, side, side].

    Args:
        targets: objects of each image, with polygons or masks.
        boxes: foreground RoIs of each image, [F_image, 4].
        objects: object of each of them, int64 [F_image].
        side: pixels a side.
        kernels: what draws them.

    Raises:
        ValueError: objects have neither polygons nor masks.
    """
    parts = []
    for target, boxes_F4, object_F in zip(targets, boxes, objects, strict=True):
        if not len(boxes_F4):
            parts.append(boxes_F4.new_zeros((0, side, side)))
        elif target.masks_NHW is not None:
            parts.append(_project(target.masks_NHW, boxes_F4, object_F, side, kernels))
        elif target.polygons is not None:
            parts.append(_draw(target, boxes_F4, object_F, side, kernels))
        else:
            msg = f"image {target.image_id} has {len(target.boxes_N4)} objects without polygons or masks; give either"
            raise ValueError(msg)
    return torch.cat(parts)


def _project(masks_NHW: Tensor, boxes_F4: Tensor, object_F: Tensor, side: int, kernels: Kernels) -> Tensor:
    """Average of the mask's pixels under each bin, by RoIAlign with its adaptive sampling (torchvision's rule)."""
    rois = RoIs(boxes_F4, object_F, torch.zeros_like(object_F))
    return kernels.roi_align([masks_NHW[:, None]], rois, PoolRule((1.0,), side, 0))[:, 0]


def _draw(target: Target, boxes_F4: Tensor, object_F: Tensor, side: int, kernels: Kernels) -> Tensor:
    """Polygons drawn, and run lengths read, inside each RoI."""
    shapes, device = target.polygons or (), boxes_F4.device
    drawn_FSS = kernels.polygon_targets(pack_polygons(shapes).to(device), object_F, boxes_F4, side)
    if (runs := pack_runs(shapes)) is not None:
        drawn_FSS |= kernels.rle_targets(runs.to(device), object_F, boxes_F4, side)
    return drawn_FSS.to(boxes_F4)
