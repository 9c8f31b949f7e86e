"""How annotations become padded targets."""

import numpy as np
import pytest

from backends.tf_impl.maskrcnn.target_rules import TargetRules, learnable, resize_masks
from backends.tf_impl.maskrcnn.targets import BORDER, CROP
from harness.data import Annotations, Frame, open_dataset, rasterise_all

pytestmark = pytest.mark.tf
STORED, SIZE, CANVAS = (40, 60), (80, 90), (96, 128)
FRAME = Frame(77, STORED, SIZE)


def square(x1, y1, x2, y2):
    """A box's outline."""
    return (np.array([x1, y1, x2, y1, x2, y2, x1, y2], dtype=np.float64),)


@pytest.fixture
def annotations():
    """Two objects, a crowd, one without an outline, one without extent, and one that sticks out on the right."""
    boxes = [[10, 4, 30, 20], [0, 0, 6, 40], [0, 0, 60, 40], [5, 5, 9, 9], [8, 8, 8, 12], [50, 10, 70, 30]]
    outlines = [square(10, 4, 30, 12), square(0, 0, 6, 40), square(0, 0, 60, 40), (), square(8, 8, 8, 12)]
    return Annotations(
        boxes_N4=np.array(boxes, dtype=np.float32),
        labels_N=np.array([3, 9, 3, 3, 9, 9]),
        crowd_N=np.array([False, False, True, False, False, False]),
        area_N=np.ones(6),
        ids_N=np.arange(6),
        segmentations=(*outlines, square(50, 10, 70, 30)),
    )


def made(annotations, *, crops, mirrored=False, objects=4):
    """Targets of the annotations."""
    return TargetRules(crops, {3: 1, 9: 2}, objects).target(annotations, FRAME, CANVAS, mirrored=mirrored)


def bitmaps(target):
    """Masks of the canvas, one pixel an element."""
    return np.unpackbits(target["masks"], axis=-1)


def test_only_what_can_be_learnt_is_kept(annotations):
    """Crowds, objects without outline and boxes without extent are dropped, and boxes end at the image's border."""
    edges, keep = learnable(annotations, *STORED)
    assert keep.tolist() == [True, True, False, False, False, True]
    assert edges[5].tolist() == [50, 10, 60, 30]


@pytest.mark.parametrize("crops", [False, True])
def test_boxes_stand_in_the_resized_image_and_are_padded(annotations, crops):
    """Each side is stretched by its own ratio; places without an object are zeros, and the image is named."""
    target = made(annotations, crops=crops)
    expected = [[15, 8, 45, 40], [0, 0, 9, 80], [75, 20, 90, 60], [0, 0, 0, 0]]
    np.testing.assert_allclose(target["boxes"], expected, rtol=1e-6)
    assert target["labels"].tolist() == [1, 2, 2, 0]
    assert (target["boxes"].dtype, target["labels"].dtype) == (np.float32, np.int32)
    assert int(target["image_ids"]) == 77
    assert target["image_ids"].dtype == np.int64
    assert not target["masks"][3].any()


def test_mirrored_boxes_and_masks_lie_at_the_other_side(annotations):
    """Mirroring turns x into width - x, of boxes and of every pixel; nothing moves up or down."""
    plain, mirrored = (made(annotations, crops=False, mirrored=flag) for flag in (False, True))
    np.testing.assert_allclose(
        mirrored["boxes"][:3, [2, 1, 0, 3]] * (-1, 1, -1, 1) + (90, 0, 90, 0), plain["boxes"][:3]
    )
    np.testing.assert_array_equal(bitmaps(mirrored)[:, :80, :90], bitmaps(plain)[:, :80, 89::-1])


def test_bitmaps_are_the_outlines_in_the_canvas(annotations):
    """A bitmap is the outline at the stored size, read at the nearest pixel up and left, in the canvas's corner."""
    found = bitmaps(made(annotations, crops=False))
    assert found.shape == (4, *CANVAS)
    drawn = rasterise_all([square(10, 4, 30, 12)], *STORED)[0]
    np.testing.assert_array_equal(found[0, :80, :90], drawn.repeat(2, axis=0)[:, np.arange(90) * 60 // 90])


def test_crops_fill_their_box_whatever_its_size(annotations):
    """An outline of the upper half of its box fills the upper half of its crop; the border stays empty."""
    target = made(annotations, crops=True)
    inner = target["masks"][:, BORDER:-BORDER, BORDER:-BORDER]
    assert target["masks"].shape == (4, CROP + 2 * BORDER, CROP + 2 * BORDER)
    assert inner[0, : CROP // 2 - 1].all()
    assert not inner[0, CROP // 2 + 1 :].any()
    assert inner[1].all()
    assert not target["masks"][:, :BORDER].any()


def test_a_mirrored_crop_is_the_crop_mirrored(annotations):
    """A crop does not depend on where its box lies."""
    plain, mirrored = (made(annotations, crops=True, mirrored=flag)["masks"] for flag in (False, True))
    np.testing.assert_array_equal(mirrored, plain[:, :, ::-1])


def test_more_objects_than_places_are_an_error(annotations):
    """Nothing is dropped silently."""
    with pytest.raises(ValueError, match="3 objects; the padded targets of this run hold 2"):
        made(annotations, crops=False, objects=2)


def test_a_mask_of_the_same_size_is_left_alone():
    """Resizing to the size that a mask has returns it."""
    masks = np.eye(4, dtype=np.bool_)[None]
    assert resize_masks(masks, (4, 4)) is masks


def test_run_lengths_become_targets_too(mini):
    """Every image of the generated set, run lengths among its objects, has targets of either kind."""
    dataset = open_dataset(mini[0])
    for crops in (False, True):
        rules = TargetRules(crops, dict.fromkeys(dataset.category_ids, 1), 40)
        for index in range(len(dataset)):
            record = dataset.image(index)
            frame = Frame(record.id, (record.height, record.width), (record.height, record.width))
            target = rules.target(dataset.annotations(index), frame, (128, 128), mirrored=False)
            has_mask = target["masks"].any(axis=(1, 2))
            assert (has_mask == (target["labels"] > 0)).mean() > 0.9
