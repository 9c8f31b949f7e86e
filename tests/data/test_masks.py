import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from harness.data import masks, rle
from harness.errors import DataError

# pycocotools' compiled part is older than NumPy's copy keyword
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

COORDINATE = st.one_of(
    st.floats(-40, 100, allow_nan=False),  # partly outside
    st.integers(-20, 80).map(float),
    st.integers(-200, 800).map(lambda tenths: tenths / 10),  # halves and fifths lie on the fine grid
    st.floats(10, 11),  # tiny
)
POLYGON = st.lists(st.tuples(COORDINATE, COORDINATE), min_size=3, max_size=12).map(
    lambda points: np.array(points, dtype=np.float64).ravel()
)


def drawn_by_coco(polygons, height, width):
    """Draw polygons with the COCO API."""
    runs = coco_mask.frPyObjects([polygon.tolist() for polygon in polygons], height, width)
    return coco_mask.decode(coco_mask.merge(runs)).astype(bool)


def test_the_oracle_draws_a_square():
    """The COCO API fills whole pixels of a square with whole corners, so the oracle itself is sound."""
    square = np.array([1.0, 2, 5, 2, 5, 4, 1, 4])
    expected = np.zeros((6, 7), dtype=bool)
    expected[2:4, 1:5] = True
    np.testing.assert_array_equal(drawn_by_coco([square], 6, 7), expected)
    np.testing.assert_array_equal(masks.rasterise((square,), 6, 7), expected)


@given(st.lists(POLYGON, min_size=1, max_size=3), st.integers(1, 70), st.integers(1, 70))
@settings(max_examples=200, deadline=None)
def test_polygons_equal_the_coco_api(polygons, height, width):
    """Unions of crossing, degenerate, tiny and far polygons are the COCO API's, bit for bit."""
    expected = drawn_by_coco(polygons, height, width)
    np.testing.assert_array_equal(masks.rasterise(tuple(polygons), height, width), expected)


@pytest.mark.parametrize("points", [[3.0, 4.0] * 3, [3.0, 4.0, 3.0, 9.0, 3.0, 4.0], [0.0, 0.0, 8.0, 8.0, 0.0, 0.0]])
def test_polygons_without_area_equal_the_coco_api(points):
    """Points and lines are drawn as the COCO API draws them."""
    polygon = np.array(points)
    np.testing.assert_array_equal(masks.rasterise((polygon,), 12, 12), drawn_by_coco([polygon], 12, 12))


def test_large_outlines_equal_the_coco_api():
    """Random outlines at the size of COCO's images are equal, too."""
    random = np.random.default_rng(0)
    for _ in range(40):
        angles = np.sort(random.uniform(0, 2 * np.pi, 60))
        radii = random.uniform(20, 300, 60)
        points = np.stack([320 + radii * np.cos(angles), 240 + radii * np.sin(angles)], axis=1).round(2)
        polygon = points.ravel()
        np.testing.assert_array_equal(masks.rasterise((polygon,), 480, 640), drawn_by_coco([polygon], 480, 640))


@given(st.lists(st.lists(POLYGON, min_size=1, max_size=2), min_size=1, max_size=4), st.integers(1, 56))
@settings(max_examples=60, deadline=None)
def test_targets_equal_drawing_scaled_polygons(shapes, size):
    """A target is what the COCO API draws of the polygons moved and scaled into the box."""
    random = np.random.default_rng(len(shapes))
    corners = random.uniform(-5, 40, (len(shapes), 2))
    boxes = np.concatenate([corners, corners + random.uniform(2, 60, corners.shape)], axis=1)
    targets = masks.crop_targets([tuple(shape) for shape in shapes], boxes, size)
    assert targets.shape == (len(shapes), size, size)
    for shape, box, target in zip(shapes, boxes, targets, strict=True):
        scale = size / (box[2:] - box[:2])
        scaled = [((polygon.reshape(-1, 2) - box[:2]) * scale).ravel() for polygon in shape]
        np.testing.assert_array_equal(target, drawn_by_coco(scaled, size, size))


def test_targets_of_runs_are_read_at_pixel_centres():
    """Run lengths cropped at scale one are the mask itself, next to a polygon's target in the same call."""
    mask = np.random.default_rng(1).random((30, 40)) < 0.5
    square = (np.array([10.0, 8, 20, 8, 20, 18, 10, 18]),)
    boxes = np.array([[6, 5, 22, 21], [10, 8, 26, 24], [30, 20, 46, 36]])
    targets = masks.crop_targets([rle.encode(mask), square, rle.encode(mask)], boxes, 16)
    np.testing.assert_array_equal(targets[0], mask[5:21, 6:22])
    assert targets[1].sum() == 100
    np.testing.assert_array_equal(targets[2][:10, :10], mask[20:30, 30:40])
    assert targets[2][10:].sum() == targets[2][:, 10:].sum() == 0


def test_targets_of_nothing_are_empty():
    """No objects give no targets, and an object without a segmentation gives zeros."""
    assert masks.crop_targets([], np.zeros((0, 4)), 28).shape == (0, 28, 28)
    assert masks.crop_targets([()], np.array([[0, 0, 5, 5]]), 28).sum() == 0


def test_a_thin_box_counts_as_one_pixel():
    """A box without width is stretched no further than a pixel's, instead of dividing by zero."""
    square = (np.array([0.0, 0, 10, 0, 10, 10, 0, 10]),)
    assert masks.crop_targets([square], np.array([[5.0, 2, 5, 2]]), 4).tolist() == [[[1] * 4] * 4]


def test_flipping_mirrors_the_mask():
    """Flipped polygons and runs draw the mirrored mask, and flipping twice changes nothing."""
    triangle = (np.array([1.0, 1, 9, 3, 4, 9]),)
    mask = masks.rasterise(triangle, 12, 16)
    flipped = masks.flip_polygons(rle.encode(mask), 16)
    np.testing.assert_array_equal(masks.rasterise(flipped, 12, 16), mask[:, ::-1])
    once = masks.flip_polygons(triangle, 16)
    assert once[0].tolist() == [15, 1, 7, 3, 12, 9]
    np.testing.assert_array_equal(masks.flip_polygons(once, 16)[0], triangle[0])


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ([[1, 2, 3, 4]], "4 numbers"),
        ([[1, 2, 3, 4, 5, 6, 7]], "7 numbers"),
        ([[0, 0, 1, 1, 2, float("nan")]], "finite"),
        (7, "neither"),
        ([["a"] * 6], "neither"),
    ],
)
def test_broken_segmentations_are_refused(raw, message):
    """What is no polygon is refused in one line."""
    with pytest.raises(DataError, match=message):
        masks.parse_segmentation(raw)


def test_runs_of_another_size_are_refused():
    """Run lengths are drawn at their own size only."""
    with pytest.raises(DataError, match="3 x 4 pixels for an image of 4 x 3"):
        masks.rasterise(rle.encode(np.ones((3, 4))), 4, 3)


def test_many_masks_are_stacked():
    """Masks of several objects come as one array, also of none."""
    square = (np.array([1.0, 1, 3, 1, 3, 3, 1, 3]),)
    assert masks.rasterise_all([square, ()], 5, 6).sum(axis=(1, 2)).tolist() == [4, 0]
    assert masks.rasterise_all([], 5, 6).shape == (0, 5, 6)
