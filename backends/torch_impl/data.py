"""Batches as uint8 tensors; what stands in them is planned in `harness.data`, for every framework alike.

Shapes: B images of a batch, H and W of its padded frame, K classes.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.data import Size, inverse_label_map


def collate(images: Sequence[NDArray[np.uint8]], canvas: Size, *, pinned: bool) -> Tensor:
    """Images in the top left corners of one black batch, uint8 [B, *canvas, 3]; from pinned memory if asked."""
    batch_BHW3 = torch.zeros((len(images), *canvas, 3), dtype=torch.uint8, pin_memory=pinned)
    view_BHW3 = batch_BHW3.numpy()
    for place, image_HW3 in enumerate(images):
        view_BHW3[place, : image_HW3.shape[0], : image_HW3.shape[1]] = image_HW3
    return batch_BHW3


def inverse(classes: Mapping[int, int], length: int) -> Tensor:
    """The category id of each class, int64 [length]; 0 where a class has none."""
    return torch.from_numpy(inverse_label_map(classes, length))
