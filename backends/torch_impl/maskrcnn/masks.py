"""What the mask head learns: each object under its RoI, at the mask head's resolution.

Shapes: F foreground RoIs, S pixels a side of a mask.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import roi_align

from backends.torch_impl.maskrcnn.targets import Target
from harness.data.masks import Segmentation, crop_targets


@torch.no_grad()
def mask_targets(targets: Sequence[Target], boxes: Sequence[Tensor], objects: Sequence[Tensor], side: int) -> Tensor:
    """Targets of the foreground RoIs of all images, float32 [F, side, side].

    Args:
        targets: objects of each image, with polygons or masks.
        boxes: foreground RoIs of each image, [F_image, 4].
        objects: object of each of them, int64 [F_image].
        side: pixels a side.

    Raises:
        ValueError: objects have neither polygons nor masks.
    """
    parts = []
    for target, boxes_F4, object_F in zip(targets, boxes, objects, strict=True):
        if not len(boxes_F4):
            parts.append(boxes_F4.new_zeros((0, side, side)))
        elif target.masks_NHW is not None:
            parts.append(_project(target.masks_NHW, boxes_F4, object_F, side))
        elif target.polygons is not None:
            parts.append(_rasterise(target.polygons, boxes_F4, object_F, side))
        else:
            msg = f"image {target.image_id} has {len(target.boxes_N4)} objects without polygons or masks; give either"
            raise ValueError(msg)
    return torch.cat(parts)


def _project(masks_NHW: Tensor, boxes_F4: Tensor, object_F: Tensor, side: int) -> Tensor:
    """Average of the mask's pixels under each bin, by RoIAlign with its adaptive sampling (torchvision's rule)."""
    rois_F5 = torch.cat((object_F[:, None].to(boxes_F4), boxes_F4), dim=1)
    averages: Tensor = roi_align(masks_NHW[:, None].to(boxes_F4), rois_F5, side, 1.0)[:, 0]
    return averages


def _rasterise(polygons: Sequence[Segmentation], boxes_F4: Tensor, object_F: Tensor, side: int) -> Tensor:
    """Polygons drawn on the host; waits for the device to bring the RoIs there."""
    segmentations = [polygons[index] for index in object_F.tolist()]
    drawn = crop_targets(segmentations, boxes_F4.cpu().numpy(), side)
    return torch.from_numpy(drawn).to(boxes_F4)
