"""How the objects of an image become targets, in either flavour's boxes and masks.

Shapes: N objects of an image, H and W of its pixels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from backends.torch_impl.maskrcnn.targets import Target
from harness.data import Annotations, Frame, Rle, Segmentation, Size, rasterise_all


@dataclass(frozen=True, slots=True)
class TargetRules:
    """How annotations become targets: the flavour's boxes and masks, and the classes of the category ids."""

    inclusive: bool
    """x2 and y2 are the last pixel inside, and mirroring is x' = W - x - 1; else they are edges, and x' = W - x."""
    bitmaps: bool
    """Masks are bitmaps of the whole image (torchvision) instead of polygons (the published NVIDIA system)."""
    classes: Mapping[int, int]

    @property
    def one(self) -> float:
        """What a width has beyond x2 - x1."""
        return 1.0 if self.inclusive else 0.0

    def corners(
        self, annotations: Annotations, height: int, width: int
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Boxes clipped to the stored image in the flavour's convention, float32 [N, 4], and which can be learnt.

        Crowds cannot, nor boxes without extent, nor objects without an outline.
        """
        edges_N4 = annotations.boxes_N4
        far_N2 = np.maximum(edges_N4[:, 2:] - np.float32(self.one), edges_N4[:, :2])
        corners_N4 = np.concatenate((edges_N4[:, :2], far_N2), axis=1)
        corners_N4[:, 0::2] = corners_N4[:, 0::2].clip(0, width - self.one)
        corners_N4[:, 1::2] = corners_N4[:, 1::2].clip(0, height - self.one)
        extent_N = (corners_N4[:, 2:] > corners_N4[:, :2]).all(axis=1)
        return corners_N4, extent_N & annotations.outlined_N & ~annotations.crowd_N

    def target(self, annotations: Annotations, frame: Frame, *, mirrored: bool) -> Target:
        """The objects of an image in its resized frame, mirrored left to right or not."""
        corners_N4, keep_N = self.corners(annotations, *frame.stored)
        ratio_y, ratio_x = (new / old for new, old in zip(frame.size, frame.stored, strict=True))
        boxes_N4 = corners_N4[keep_N] * np.array((ratio_x, ratio_y, ratio_x, ratio_y), dtype=np.float32)
        if mirrored:
            boxes_N4[:, [0, 2]] = (frame.size[1] - self.one) - boxes_N4[:, [2, 0]]
        labels = [self.classes[label] for label in annotations.labels_N[keep_N].tolist()]
        shapes = [shape for shape, keep in zip(annotations.segmentations, keep_N, strict=True) if keep]
        return Target(
            boxes_N4=torch.from_numpy(boxes_N4),
            labels_N=torch.tensor(labels, dtype=torch.int64),
            image_id=frame.image_id,
            **self._masks(shapes, frame, mirrored=mirrored),
        )

    def _masks(self, shapes: Sequence[Segmentation], frame: Frame, *, mirrored: bool) -> dict[str, Any]:
        """The target's polygons, or its bitmaps where the flavour or run lengths among the shapes want them."""
        outlines = [shape for shape in shapes if not isinstance(shape, Rle)]
        if self.bitmaps or len(outlines) < len(shapes):
            masks_NHW = resize_masks(rasterise_all(shapes, *frame.stored), frame.size)
            masks_NHW = np.ascontiguousarray(masks_NHW[:, :, ::-1]) if mirrored else masks_NHW
            return {"masks_NHW": torch.from_numpy(masks_NHW.view(np.uint8))}
        ratio_y, ratio_x = (new / old for new, old in zip(frame.size, frame.stored, strict=True))
        gain_2 = np.array((-ratio_x if mirrored else ratio_x, ratio_y))
        shift_2 = np.array((frame.size[1] - self.one if mirrored else 0.0, 0.0))
        polygons = [[(points.reshape(-1, 2) * gain_2 + shift_2).reshape(-1) for points in shape] for shape in outlines]
        return {"polygons": polygons}


def resize_masks(masks_NHW: NDArray[np.bool_], size: Size) -> NDArray[np.bool_]:
    """Bitmaps at another size by the nearest pixel up and left, as torchvision's transform resizes them; [N, *size]."""
    if masks_NHW.shape[1:] == size:
        return masks_NHW
    rows, columns = (np.arange(new) * old // new for new, old in zip(size, masks_NHW.shape[1:], strict=True))
    return masks_NHW[:, rows[:, None], columns]
