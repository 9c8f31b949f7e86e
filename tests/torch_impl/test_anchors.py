"""Anchors of both flavours against published tables and torchvision's generator."""

import pytest
import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator

from backends.torch_impl.kernels.cells import centred_cell_anchors, legacy_cell_anchors
from backends.torch_impl.kernels.framework import grid_anchors
from backends.torch_impl.maskrcnn.anchors import AnchorMaker
from backends.torch_impl.maskrcnn.config import MaskRCNNConfig

pytestmark = pytest.mark.torch

RATIOS = (0.5, 1.0, 2.0)
CPU = torch.device("cpu")

# Cell anchors of NVIDIA's PyTorch Mask R-CNN, by stride.
LEGACY = {
    4: [(-22, -10, 25, 13), (-14, -14, 17, 17), (-10, -22, 13, 25)],
    8: [(-40, -20, 47, 27), (-28, -28, 35, 35), (-20, -44, 27, 51)],
    16: [(-84, -40, 99, 55), (-56, -56, 71, 71), (-36, -80, 51, 95)],
    32: [(-164, -72, 195, 103), (-112, -112, 143, 143), (-76, -168, 107, 199)],
    64: [(-332, -152, 395, 215), (-224, -224, 287, 287), (-148, -328, 211, 391)],
}


@pytest.mark.parametrize(("stride", "size"), [(4, 32), (8, 64), (16, 128), (32, 256), (64, 512)])
def test_legacy_cell_anchors_are_the_published_table(stride, size):
    """The integer rounding of the legacy code is reproduced for every level."""
    assert legacy_cell_anchors(stride, size, RATIOS) == LEGACY[stride]


@pytest.mark.parametrize("size", [32, 64, 128, 256, 512])
def test_centred_cell_anchors_are_torchvisions(size):
    """The rounded half sides equal torchvision's for every level."""
    wanted = AnchorGenerator().generate_anchors([size], list(RATIOS))
    assert torch.equal(torch.tensor(centred_cell_anchors(size, RATIOS)), wanted)


def test_legacy_grid_of_a_full_batch_has_the_published_size():
    """A batch of 800 × 1344 pixels has 268,569 anchors."""
    make = AnchorMaker(MaskRCNNConfig.preset("nvidia", num_classes=81))
    grids = [(200, 336), (100, 168), (50, 84), (25, 42), (13, 21)]
    assert sum(len(part) for part in make((800, 1344), grids, CPU)) == 268_569


def test_grid_shifts_by_whole_strides_without_an_offset():
    """Position (row, column) moves the cell by column · stride and row · stride; anchors vary fastest, then columns."""
    make = AnchorMaker(MaskRCNNConfig.preset("nvidia", num_classes=81))
    level = make((96, 128), [(24, 32), (12, 16), (6, 8), (3, 4), (2, 2)], CPU)[1].reshape(12, 16, 3, 4)
    for row, column, anchor in [(0, 0, 0), (0, 1, 2), (1, 0, 1), (11, 15, 0)]:
        x1, y1, x2, y2 = LEGACY[8][anchor]
        wanted = [x1 + 8 * column, y1 + 8 * row, x2 + 8 * column, y2 + 8 * row]
        assert level[row, column, anchor].tolist() == wanted


def test_grid_may_have_different_steps_for_rows_and_columns():
    """Rows move y by the first step, columns move x by the second."""
    assert grid_anchors([(0, 0, 1, 1)], (2, 2), (48, 64)).tolist() == [
        [0, 0, 1, 1],
        [64, 0, 65, 1],
        [0, 48, 1, 49],
        [64, 48, 65, 49],
    ]


def test_legacy_last_level_keeps_its_stride_on_odd_grids():
    """The legacy stride of P6 is 64 also where the padded size is 96."""
    make = AnchorMaker(MaskRCNNConfig.preset("nvidia", num_classes=81))
    last = make((96, 96), [(24, 24), (12, 12), (6, 6), (3, 3), (2, 2)], CPU)[4].reshape(2, 2, 3, 4)
    assert (last[1, 1, 0] - last[0, 0, 0]).tolist() == [64, 64, 64, 64]


def test_anchors_are_made_once_for_a_shape():
    """A second batch of the same shape gets the very same tensors, another shape others."""
    make = AnchorMaker(MaskRCNNConfig.preset("torchvision", num_classes=2))
    grids = [(16, 16), (8, 8), (4, 4), (2, 2), (1, 1)]
    first = make((64, 64), grids, CPU)
    assert make((64, 64), grids, CPU) is first
    assert make((64, 32), [(16, 8), (8, 4), (4, 2), (2, 1), (1, 1)], CPU) is not first
