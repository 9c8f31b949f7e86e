import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco_mask

from harness.data import rle
from harness.errors import DataError

MASKS = arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.integers(0, 1))


@given(MASKS)
@settings(max_examples=150, deadline=None)
def test_runs_equal_the_coco_api(mask):
    """Strings, area and box of a mask are those of the COCO API, and decoding gives the mask back."""
    ours, theirs = rle.encode(mask), coco_mask.encode(np.asfortranarray(mask))
    assert rle.counts_to_string(ours.counts_R).encode() == theirs["counts"]
    assert rle.area(ours) == int(coco_mask.area(theirs))
    assert list(rle.bounding_box(ours)) == coco_mask.toBbox(theirs).tolist()
    np.testing.assert_array_equal(rle.decode(ours), mask.astype(bool))


@given(st.lists(st.integers(0, 2**28), min_size=1, max_size=30))
@settings(max_examples=100, deadline=None)
def test_strings_keep_all_counts(counts):
    """Any run lengths come back from their string, as str and as bytes."""
    text = rle.counts_to_string(np.array(counts, dtype=np.int64))
    assert rle.string_to_counts(text).tolist() == counts
    assert rle.string_to_counts(text.encode()).tolist() == counts


@given(MASKS)
@settings(max_examples=40, deadline=None)
def test_all_written_forms_are_read(mask):
    """Lists, strings and bytes of counts give the same runs; the COCO API reads the list the same way."""
    runs = rle.encode(mask)
    size = [runs.height, runs.width]
    text = rle.counts_to_string(runs.counts_R)
    for counts in (runs.counts_R.tolist(), text, text.encode()):
        np.testing.assert_array_equal(rle.decode(rle.parse_rle({"size": size, "counts": counts})), mask.astype(bool))
    plain = coco_mask.frPyObjects({"size": size, "counts": runs.counts_R.tolist()}, *size)
    assert plain["counts"] == text.encode()


def test_a_pixel_is_sampled_without_decoding():
    """Sampling equals indexing the decoded mask, and reads zero outside."""
    random = np.random.default_rng(3)
    mask = random.random((17, 23)) < 0.4
    rows, columns = random.integers(-5, 30, (2, 400))
    inside = (rows >= 0) & (rows < 17) & (columns >= 0) & (columns < 23)
    expected = np.where(inside, mask[rows.clip(0, 16), columns.clip(0, 22)], False)
    np.testing.assert_array_equal(rle.sample(rle.encode(mask), rows, columns), expected)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"counts": [4]}, "lack"),
        ({"size": [2], "counts": [4]}, "lack"),
        ({"size": [2, 2], "counts": [3]}, "cover 3 pixels"),
        ({"size": [2, 2], "counts": [5, -1]}, "cover 4 pixels"),
        ({"size": [2, 2], "counts": ["a"]}, "neither a list"),
        ({"size": [2, 2], "counts": "\x7f"}, "outside the code"),
        ({"size": [2, 2], "counts": "T"}, "breaks off"),
    ],
)
def test_broken_runs_are_refused(raw, message):
    """Runs that are no mask of their size are refused in one line."""
    with pytest.raises(DataError, match=message):
        rle.parse_rle(raw)
