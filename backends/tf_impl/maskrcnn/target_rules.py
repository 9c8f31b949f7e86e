"""How the objects of an image become targets, with either flavour's masks, padded to one number of objects.

Shapes: N objects of an image, M places for objects, the same in every batch of a run, H and W of the padded batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backends.tf_impl.maskrcnn.targets import Draw, Padded, object_crops, packed_bitmaps, pad_objects
from harness.data import Annotations, Frame, Segmentation, Size, crop_targets, rasterise_all


@dataclass(frozen=True, slots=True)
class TargetRules:
    """How annotations become targets: the flavour's masks, the classes of the category ids, the places to fill."""

    crops: bool
    """Masks are crops under each object's box (the published system) instead of bitmaps of the image (torchvision)."""
    classes: Mapping[int, int]
    objects: int
    """M: the most objects that any image of the set has, so that none is dropped and every batch has one shape."""
    draw: Draw = crop_targets
    """What draws the crops."""

    def target(self, annotations: Annotations, frame: Frame, canvas: Size, *, mirrored: bool) -> Padded:
        """The objects of an image in its resized frame, by the names that `MaskRCNN.loss_sums` takes.

        Args:
            annotations: of the image.
            frame: where the image stands.
            canvas: height and width of the padded batch.
            mirrored: left to right.
        """
        edges_N4, keep_N = learnable(annotations, *frame.stored)
        edges_N4 = edges_N4[keep_N]
        labels_N = np.array([self.classes[label] for label in annotations.labels_N[keep_N].tolist()], dtype=np.int32)
        shapes = [shape for shape, keep in zip(annotations.segmentations, keep_N, strict=True) if keep]
        masks_N = self._crops(shapes, edges_N4) if self.crops else _bitmaps(shapes, frame)
        masks_N = masks_N[:, :, ::-1] if mirrored else masks_N
        if not self.crops:
            masks_N = packed_bitmaps(masks_N.astype(np.bool_), *canvas)
        boxes_N4 = frame.boxes(edges_N4, mirrored=mirrored)
        image_id = np.array(frame.image_id, dtype=np.int64)
        return {**pad_objects(boxes_N4, labels_N, masks_N, self.objects), "image_ids": image_id}

    def _crops(self, shapes: Sequence[Segmentation], edges_N4: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Cut out of the stored image: what lies in a box does not depend on the scale at which it is shown."""
        return object_crops(shapes, edges_N4, self.draw)


def learnable(annotations: Annotations, height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Boxes clipped to the stored image, float32 [N, 4], and which can be learnt.

    Crowds cannot, nor boxes without extent, nor objects without an outline.
    """
    edges_N4 = annotations.boxes_N4.copy()
    edges_N4[:, 0::2] = edges_N4[:, 0::2].clip(0, width)
    edges_N4[:, 1::2] = edges_N4[:, 1::2].clip(0, height)
    extent_N = (edges_N4[:, 2:] > edges_N4[:, :2]).all(axis=1)
    outlined_N = np.array([len(shape) > 0 for shape in annotations.segmentations], dtype=np.bool_)
    return edges_N4, extent_N & outlined_N & ~annotations.crowd_N


def _bitmaps(shapes: Sequence[Segmentation], frame: Frame) -> NDArray[np.uint8]:
    return resize_masks(rasterise_all(shapes, *frame.stored), frame.size).view(np.uint8)


def resize_masks(masks_NHW: NDArray[np.bool_], size: Size) -> NDArray[np.bool_]:
    """Bitmaps at another size by the nearest pixel up and left, as torchvision's transform resizes them; [N, *size]."""
    if masks_NHW.shape[1:] == size:
        return masks_NHW
    rows, columns = (np.arange(new) * old // new for new, old in zip(size, masks_NHW.shape[1:], strict=True))
    return masks_NHW[:, rows[:, None], columns]
