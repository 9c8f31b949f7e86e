"""Native operations on masks against the host's rasteriser and torch's pasting."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_kernels import both, native, outlines, predicted, rois_of

from backends.torch_impl.kernels import FRAMEWORK, NATIVE, pack_polygons, pack_runs
from backends.torch_impl.maskrcnn.masks import mask_targets
from backends.torch_impl.maskrcnn.targets import Target
from harness.data import rasterise_all
from harness.data.rle import encode

pytestmark = pytest.mark.torch


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from((1, 2, 5)), st.sampled_from((0, 1, 9)), st.sampled_from((1, 14, 28)))
def test_targets_of_polygons_are_the_hosts(seed, objects, count, side):
    """Bit for bit, whatever the polygons."""
    rng = np.random.default_rng(seed)
    packed, (objects_R, boxes_R4) = pack_polygons(outlines(rng, objects)), rois_of(rng, objects, count)
    found, expected = both("polygon_targets", packed, objects_R, boxes_R4, side)
    assert found.dtype == expected.dtype == torch.uint8
    assert torch.equal(found, expected)


def test_a_polygon_of_thousands_of_points_is_drawn():
    """A ring of 5,000 points is the host's to the bit."""
    angle = np.linspace(0, 40 * np.pi, 5000)
    spiral = np.stack((50 + angle / 3 * np.cos(angle), 50 + angle / 3 * np.sin(angle)), axis=1).reshape(-1)
    packed, box_14 = pack_polygons([(spiral,)]), torch.tensor([[3.0, 5, 91, 88]])
    found, expected = both("polygon_targets", packed, torch.tensor([0]), box_14, 28)
    assert torch.equal(found, expected)
    assert 0 < int(found.sum()) < found.numel()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from((0, 1, 9)))
def test_targets_of_run_lengths_are_the_hosts(seed, count):
    """Bit for bit, for objects that are run lengths among objects that are polygons."""
    rng = np.random.default_rng(seed)
    shapes = [encode(rng.random((90, 110)) < 0.4), *outlines(rng, 1), encode(np.zeros((5, 3)))]
    packed, (objects_R, boxes_R4) = pack_runs(shapes), rois_of(rng, 3, count)
    found, expected = both("rle_targets", packed, objects_R, boxes_R4, 28)
    assert torch.equal(found, expected)


def test_objects_that_are_polygons_have_no_runs():
    """Where all objects are polygons there is nothing to read run lengths of."""
    assert pack_runs(outlines(np.random.default_rng(0), 2)) is None


def mixed_targets(rng):
    """An image whose objects are polygons and run lengths, one with bitmaps, and one without foreground."""
    shapes = [*outlines(rng, 2), encode(rng.random((90, 110)) < 0.4)]
    boxes_N4, labels_N = torch.zeros(3, 4), torch.ones(3, dtype=torch.int64)
    bitmaps = torch.from_numpy(rasterise_all(outlines(rng, 3), 90, 110).view(np.uint8))
    return [
        Target(boxes_N4, labels_N, 1, polygons=shapes),
        Target(boxes_N4, labels_N, 2, masks_NHW=bitmaps),
        Target(boxes_N4, labels_N, 3),
    ]


def test_targets_of_a_batch_are_the_frameworks():
    """Polygons, run lengths and bitmaps of one batch give the same targets on either path."""
    rng = np.random.default_rng(4)
    pairs = [rois_of(rng, 3, count) for count in (12, 7, 0)]
    boxes, objects = [boxes_R4 for _, boxes_R4 in pairs], [objects_R for objects_R, _ in pairs]
    targets = mixed_targets(rng)
    found, expected = (mask_targets(targets, boxes, objects, 28, kernels) for kernels in (NATIVE, FRAMEWORK))
    assert found.shape == (19, 28, 28)
    assert torch.equal(found[:12], expected[:12])
    assert found[:12].unique().tolist() == [0, 1]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("side", [1, 28])
@pytest.mark.parametrize("count", [0, 1, 30])
def test_pasted_masks_are_torchs(count, side):
    """The same pixels, but for those whose value is within 1e-6 of the threshold."""
    masks_NSS, boxes_N4 = predicted(count, side)
    found, low, high = (
        native("paste_masks", masks_NSS, boxes_N4, (90, 120), 0.5),
        *(FRAMEWORK.paste_masks(masks_NSS, boxes_N4, (90, 120), 0.5 + margin) for margin in (1e-6, -1e-6)),
    )
    assert found.dtype == torch.bool
    assert found.shape == (count, 90, 120)
    assert not bool((found & ~high).any() | (low & ~found).any())


def test_half_and_strided_masks_are_pasted_as_what_they_show():
    """A transposed view and bfloat16 masks give what dense float32 ones give."""
    masks_NSS, boxes_N4 = predicted(10)
    masks_NSS = masks_NSS.bfloat16().float()
    expected = native("paste_masks", masks_NSS, boxes_N4, (90, 120), 0.5)
    strided = masks_NSS.mT.contiguous().mT
    assert torch.equal(native("paste_masks", strided, boxes_N4, (90, 120), 0.5), expected)
    assert torch.equal(native("paste_masks", masks_NSS.bfloat16(), boxes_N4, (90, 120), 0.5), expected)
