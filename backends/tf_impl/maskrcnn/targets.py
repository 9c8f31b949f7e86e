"""What the model is given to learn: the objects of a batch, padded so that every batch of a run has one shape.

`MaskRCNN.loss_sums` takes a dict of tensors with exactly these names:

| name | type and shape | holds |
|---|---|---|
| `boxes` | float32 [B, M, 4] | x1, y1, x2, y2 in the resized image's frame, edges (width = x2 - x1), 0 in padding |
| `labels` | int32 [B, M] | 1..num_classes-1; 0 marks padding, wherever it stands |
| `image_ids` | int64 [B] | any number that names the image; seeds its random choices |
| `masks` | uint8, by flavour | see below; 0 in padding rows |

`masks` of flavour `nvidia` is [B, M, 116, 116], 1 inside: each object in its own box, the box stretched to 112 × 112
pixels, with a border of 2 zeros (`object_crops`). Of flavour `torchvision` it is [B, M, H, W / 8]: bitmaps in the
padded batch's frame, eight pixels of a row in a byte, the leftmost in the highest bit (`packed_bitmaps`), since 90
padded objects of a large image are a hundred megabytes otherwise.

Shapes: B images, M objects at most in any image of the run, N objects of an image, H and W of the padded batch.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data import Segmentation, crop_targets

NAMES = ("boxes", "labels", "image_ids", "masks")
"""The dict's names, in the order in which they may be passed as a tuple."""

CROP = 112
"""Pixels a side of an object's crop."""
BORDER = 2
"""Zeros on each side of a crop."""
CROP_SIDE = CROP + 2 * BORDER
"""Pixels a side with the border."""

Padded = dict[str, NDArray[Any]]
Draw = Callable[[Sequence[Segmentation], NDArray[np.float32], int], NDArray[np.uint8]]
"""Draws objects in their boxes, of so many pixels a side; uint8 [N, side, side]."""


def object_crops(
    segmentations: Sequence[Segmentation], boxes_N4: NDArray[np.float32], draw: Draw = crop_targets
) -> NDArray[np.uint8]:
    """Each object inside its own box with a border of zeros, uint8 [N, 116, 116].

    Args:
        segmentations: outlines in the frame of the boxes.
        boxes_N4: the objects' boxes, edges.
        draw: NumPy's way or the native one, which give the same.
    """
    crops_NSS = draw(segmentations, boxes_N4, CROP)
    return np.pad(crops_NSS, ((0, 0), (BORDER, BORDER), (BORDER, BORDER)))


def packed_bitmaps(masks_NHW: NDArray[np.bool_], height: int, width: int) -> NDArray[np.uint8]:
    """Bitmaps in the padded batch's frame, eight pixels a byte, uint8 [N, height, width / 8].

    The image's last row and column go on into the padding: a bin that ends at the border then averages the border's
    pixels, as it does in a bitmap that ends there.

    Args:
        masks_NHW: masks of the resized image, true inside.
        height: rows of the padded batch.
        width: columns of the padded batch, a multiple of 8.
    """
    rows, columns = height - masks_NHW.shape[1], width - masks_NHW.shape[2]
    return np.packbits(np.pad(masks_NHW, ((0, 0), (0, rows), (0, columns)), mode="edge"), axis=-1)


def pad_objects(
    boxes_N4: NDArray[np.float32], labels_N: NDArray[np.int32], masks_N: NDArray[np.uint8], objects: int
) -> Padded:
    """One image's objects with as many rows of zeros behind them as make `objects`: `boxes`, `labels` and `masks`.

    Args:
        boxes_N4: float32 [N, 4].
        labels_N: int32 [N].
        masks_N: uint8 [N, ...], as the flavour has them.
        objects: rows of every image of the run.

    Raises:
        ValueError: the image has more objects.
    """
    missing = objects - len(boxes_N4)
    if missing < 0:
        raise ValueError(f"{len(boxes_N4)} objects; the padded targets of this run hold {objects}")
    parts: Padded = {"boxes": boxes_N4.astype(np.float32), "labels": labels_N.astype(np.int32), "masks": masks_N}
    return {name: np.pad(part, ((0, missing),) + ((0, 0),) * (part.ndim - 1)) for name, part in parts.items()}
