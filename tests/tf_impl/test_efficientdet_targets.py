"""Padded targets: which objects, where on the canvas, in how many places."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from backends.tf_impl.efficientdet.target_rules import TargetRules, most_objects
from harness.data import Annotations, Draw, FixedCanvas, Frame, open_dataset

RULES = TargetRules({7: 1, 9: 2}, places=5)


def annotations(boxes, labels, crowds):
    """Objects without outlines."""
    count = len(labels)
    return Annotations(
        boxes_N4=np.array(boxes, np.float32).reshape(-1, 4),
        labels_N=np.array(labels, np.int64),
        crowd_N=np.array(crowds, np.bool_),
        area_N=np.ones(count),
        ids_N=np.arange(count),
        segmentations=((),) * count,
    )


def test_objects_come_first_and_empty_places_after_them():
    """Boxes are scaled to the frame, ids become classes, crowds and boxes without extent are left out."""
    objects = annotations(
        [[10, 10, 30, 50], [0, 0, 5, 5], [4, 4, 4, 9], [20, 0, 40, 20]], [9, 7, 7, 7], [False, True, False, False]
    )
    found = RULES.target(objects, Frame(1, (100, 200), (50, 100)), mirrored=False)
    np.testing.assert_array_equal(found["labels_BM"], [2, 1, 0, 0, 0])
    np.testing.assert_allclose(found["boxes_BM4"][:2], [[5, 5, 15, 25], [10, 0, 20, 10]])
    assert not found["boxes_BM4"][2:].any()


def test_mirrored_objects_change_sides():
    """In a mirrored frame x becomes width - x."""
    objects = annotations([[10, 10, 30, 50]], [7], [False])
    found = RULES.target(objects, Frame(1, (100, 200), (100, 200)), mirrored=True)
    np.testing.assert_allclose(found["boxes_BM4"][0], [170, 10, 190, 50])


def test_a_crop_cuts_objects_and_drops_what_it_leaves_no_area_of():
    """An object half outside is cut at the edge, one outside is dropped."""
    objects = annotations([[10, 10, 60, 40], [150, 10, 160, 20]], [7, 9], [False, False])
    found = RULES.target(objects, Frame(1, (100, 200), (50, 50), (0, 50, 50, 50)), mirrored=False)
    np.testing.assert_array_equal(found["labels_BM"], [1, 0, 0, 0, 0])
    np.testing.assert_allclose(found["boxes_BM4"][0], [0, 10, 10, 40])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 5), st.floats(0.1, 2.0), st.booleans())
def test_a_box_stands_on_its_object_whatever_the_scale_and_the_crop(epoch, scale, mirrored):
    """The pixels that a jittered frame shows inside an object's box are the object's, by Pillow's own crop."""
    dataset = open_dataset("synthetic:160x96:1")
    frame = FixedCanvas(128, 128, jitter=(scale, scale)).drawn(dataset, Draw(epoch, 0), seed=3)
    box = np.array([[40, 24, 120, 72]], np.float32)
    found = RULES.target(annotations(box, [7], [False]), frame, mirrored=mirrored)
    top, left, height, width = frame.region
    mask = Image.new("L", (160, 96))
    mask.paste(255, (40, 24, 120, 72))
    shown = mask.resize(frame.size[::-1], Image.Resampling.NEAREST, box=(left, top, left + width, top + height))
    pixels = np.array(shown)[:, ::-1] if mirrored else np.array(shown)
    rows, columns = np.nonzero(pixels)
    if not found["labels_BM"].any():
        assert len(rows) == 0
        return
    x1, y1, x2, y2 = found["boxes_BM4"][0]
    if len(rows):
        edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose([x1, y1, x2, y2], edges, atol=1.0)


def test_places_are_as_many_as_any_image_needs():
    """The most learnable objects of any image decide, so that none is dropped."""
    dataset = open_dataset("synthetic:64x64:6")
    assert most_objects(dataset, range(6)) == 7
    assert most_objects(dataset, []) == 0
