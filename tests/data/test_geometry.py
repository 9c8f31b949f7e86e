import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from harness.data.geometry import flip_boxes, flip_image, pad_to, resize, shorter_side_size


def noise(height, width):
    """Random pixels."""
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (480, 640, (800, 1066)),
        (640, 480, (1066, 800)),
        (427, 640, (800, 1199)),
        (333, 500, (800, 1201)),
        (800, 1000, (800, 1000)),
        (200, 640, (417, 1334)),
        (640, 200, (1334, 417)),
        (500, 500, (800, 800)),
    ],
)
def test_published_sizes(height, width, expected):
    """Sides follow the published rule at 800 and 1333 pixels, its rounding included (417 x 640 / 200 is 1334)."""
    assert shorter_side_size(height, width, 800, 1333) == expected


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(8, 900))
def test_sizes_keep_to_the_limit(height, width, shorter):
    """The shorter side is never above what was asked, and the shape is kept within a pixel."""
    tall, wide = shorter_side_size(height, width, shorter, 2 * shorter)
    assert min(tall, wide) <= shorter
    assert max(tall, wide) <= 2 * shorter + max(height, width) / min(height, width)
    assert (tall <= wide) == (height <= width) or tall == wide


def test_opencv_resizing_reads_between_pixel_centres():
    """Enlarging, where Pillow's filter has no wider support either, both methods agree within rounding."""
    image = noise(60, 80)
    fast, slow = (resize(image, 97, 131, method).astype(int) for method in ("opencv", "pillow"))
    assert np.abs(fast - slow).max() <= 1


def test_opencv_shrinking_reads_four_pixels():
    """Shrinking to a third reads the middle pixel of each three, where the antialiased method reads more."""
    image = noise(60, 90)
    np.testing.assert_array_equal(resize(image, 20, 30, "opencv"), image[1::3, 1::3])
    assert (resize(image, 20, 30, "pillow") != image[1::3, 1::3]).any()


def test_pillow_resizing_is_pillows():
    """The antialiased method is Pillow's own bilinear filter."""
    image = noise(60, 80)
    expected = np.asarray(Image.fromarray(image).resize((33, 21), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(resize(image, 21, 33, "pillow"), expected)


@pytest.mark.parametrize("method", ["opencv", "pillow"])
def test_the_same_size_changes_nothing(method):
    """An image of the wanted size comes back as it is."""
    image = noise(6, 8)
    np.testing.assert_array_equal(resize(image, 6, 8, method), image)


def test_flipping_moves_boxes_with_the_pixels():
    """A box around a patch is around the flipped patch."""
    image = np.zeros((10, 20, 3), dtype=np.uint8)
    image[2:5, 3:9] = 255
    x1, y1, x2, y2 = flip_boxes(np.array([[3.0, 2, 9, 5]]), 20)[0].astype(int)
    flipped = flip_image(image)
    assert flipped[y1:y2, x1:x2].min() == 255
    assert int(flipped.sum()) == int(flipped[y1:y2, x1:x2].sum())
    assert flipped.flags.c_contiguous


def test_padding_keeps_the_top_left_corner():
    """The image stands at the top left, black elsewhere."""
    padded = pad_to(noise(5, 7), 8, 9)
    np.testing.assert_array_equal(padded[:5, :7], noise(5, 7))
    assert padded.shape == (8, 9, 3)
    assert padded[5:].sum() == padded[:, 7:].sum() == 0
