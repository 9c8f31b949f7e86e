"""What the model is given to learn and what it gives back.

Shapes: N objects of an image, H and W of the padded batch, S pixels a side of a predicted mask.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.data.masks import Segmentation

ImageSize = tuple[int, int]
"""Height and width of an image's valid area."""


@dataclass(frozen=True, slots=True)
class Target:
    """The objects of one image, in the frame of the resized image; crowds are left out by whoever fills it.

    Masks are given in one of two ways, whichever the loader has, in either flavour: `polygons` are cut to each RoI and
    rasterised there, on the host, as NVIDIA's system does; `masks_NHW` are sampled under each RoI on the device, as
    torchvision does. An image without objects needs neither.
    """

    boxes_N4: Tensor
    """float32 [N, 4] in the flavour's convention: see `MaskRCNN.boxes.from_xywh`."""
    labels_N: Tensor
    """int64 [N], 1..num_classes-1."""
    image_id: int
    """Seeds the image's random choices; any integer that names the image."""
    polygons: Sequence[Segmentation] | None = None
    """Outlines of each of the N objects (`harness.data.masks`), on the host."""
    masks_NHW: Tensor | None = None
    """uint8 [N, H, W], 1 inside; H and W may be those of the image or of the padded batch."""

    def to(self, device: torch.device) -> "Target":
        """The same with its tensors on a device; polygons stay on the host."""
        masks = None if self.masks_NHW is None else self.masks_NHW.to(device, non_blocking=True)
        boxes_N4 = self.boxes_N4.to(device, non_blocking=True)
        labels_N = self.labels_N.to(device, non_blocking=True)
        return Target(boxes_N4, labels_N, self.image_id, self.polygons, masks)


@dataclass(frozen=True, slots=True)
class Prediction:
    """The detections of one image, best first."""

    boxes_N4: Tensor
    """float32 [N, 4] in the frame of the resized image, in the flavour's convention."""
    scores_N: Tensor
    """float32 [N]."""
    labels_N: Tensor
    """int64 [N], 1..num_classes-1."""
    masks_NSS: Tensor
    """float32 [N, 28, 28]: probability of the predicted class over the box."""
