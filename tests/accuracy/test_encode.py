"""Detections to COCO results."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.accuracy.encode import coco_results, encode_mask
from harness.errors import BackendError
from harness.hookspecs import Detections


def detections(count=2, masks=None, image_id=2**33, **changes):
    """Valid detections, some parts replaced."""
    parts = {
        "boxes_N4": np.tile(np.array([1.5, 2, 11.25, 32], np.float32), (count, 1)),
        "scores_N": np.linspace(0.9, 0.1, count, dtype=np.float32),
        "labels_N": np.arange(1, count + 1, dtype=np.int64),
    }
    return Detections(image_id=image_id, masks_NHW=masks, **{**parts, **changes})


def decode(rle):
    """A mask from compressed RLE, written out by the definition of the format."""
    runs, position, counts = [], 0, rle["counts"].encode()
    while position < len(counts):
        value, shift, more = 0, 0, True
        while more:
            code = counts[position] - 48
            value |= (code & 31) << shift
            more, position, shift = bool(code & 32), position + 1, shift + 5
        value -= (1 << shift) if code & 16 else 0
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
    flat = np.repeat(np.arange(len(runs)) % 2, runs).astype(bool)
    return flat.reshape(rle["size"], order="F")


def test_results_have_cocos_fields_in_order():
    """Boxes become x, y, width, height; ids and scores keep their values, and order is kept."""
    first, second = coco_results(detections())
    assert first == {
        "image_id": 2**33,
        "category_id": 1,
        "bbox": [1.5, 2.0, 9.75, 30.0],
        "score": float(np.float32(0.9)),
    }
    assert second["category_id"] == 2


@given(corners=hnp.arrays(np.float32, (5, 2, 2), elements=st.floats(0, 2000, width=32)))
@settings(max_examples=30, deadline=None)
def test_boxes_keep_their_corners(corners):
    """x, y are the first corner, and adding width and height gives the second, to the last bit of float32."""
    boxes_N4 = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    found_N4 = np.array([result["bbox"] for result in coco_results(detections(5, boxes_N4=boxes_N4))])
    found_N4[:, 2:] += found_N4[:, :2]
    assert np.array_equal(found_N4.astype(np.float32), boxes_N4)


@given(mask_HW=hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))), value=st.sampled_from([1, 7, 255]))
@settings(max_examples=50, deadline=None)
def test_masks_survive_encoding(mask_HW, value):
    """A mask decoded by the definition of COCO's RLE is the mask; bool and any uint8 value other than 0 are alike."""
    rle = encode_mask(mask_HW)
    assert np.array_equal(decode(rle), mask_HW)
    assert encode_mask(mask_HW.astype(np.uint8) * np.uint8(value)) == rle


def test_results_are_plain_json():
    """Results with masks pass through JSON unchanged: no numpy type, counts a string."""
    results = coco_results(detections(masks=np.ones((2, 6, 9), bool)))
    assert json.loads(json.dumps(results)) == results
    assert results[0]["segmentation"]["size"] == [6, 9]


def test_no_detection_gives_no_result():
    """An image on which nothing was found gives an empty list, with and without masks."""
    assert coco_results(detections(0)) == []
    assert coco_results(detections(0, masks=np.zeros((0, 6, 9), np.uint8))) == []


NAN_BOX = np.array([[1, 2, 3, 4], [1, np.nan, 3, 4]], np.float32)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"boxes_N4": np.zeros((3, 4), np.float32)}, "boxes (3, 4), scores (2,), labels (2,) do not agree"),
        ({"labels_N": np.zeros((2, 1), np.int64)}, "do not agree"),
        ({"scores_N": np.zeros((2, 91), np.float32)}, "do not agree"),
        ({"labels_N": np.zeros(2, np.float32)}, "labels are float32"),
        ({"boxes_N4": NAN_BOX}, "box 1 is [1.0, nan, 3.0, 4.0]; it must be finite"),
        ({"scores_N": np.array([np.inf, 0], np.float32)}, "score 0 is inf; it must be finite"),
        ({"boxes_N4": np.array([[0, 0, 1, 1], [5, 0, 4, 1]], np.float32)}, "box 1 is [5.0, 0.0, 4.0, 1.0]"),
        ({"masks": np.zeros((3, 6, 9), bool)}, "masks (3, 6, 9) for 2 boxes"),
        ({"masks": np.zeros((6, 9), bool)}, "masks (6, 9) for 2 boxes"),
        ({"masks": np.zeros((2, 6, 9), np.float32)}, "masks are float32"),
    ],
)
def test_broken_detections_are_named(changes, words):
    """What breaks the contract is refused in one line with the id of the image and what was found."""
    with pytest.raises(BackendError) as caught:
        coco_results(detections(**changes))
    assert str(caught.value).startswith("detections of image 8589934592: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
