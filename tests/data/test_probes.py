"""Fixed boxes for the comparison of heads across frameworks."""

import numpy as np
import pytest

from harness.data import probe_boxes

AREAS = [(800, 1333), (1333, 800), (96, 128), (64, 64), (37, 211)]


@pytest.mark.parametrize(("height", "width"), AREAS)
def test_probe_boxes_lie_in_the_area(height, width):
    """Also after rounding to float32, and none is empty."""
    boxes_N4 = probe_boxes(height, width)
    assert boxes_N4.dtype == np.float32
    assert 16 <= len(boxes_N4) <= 32
    assert (boxes_N4[:, :2] >= 0).all()
    assert (boxes_N4[:, 2:] <= (width, height)).all()
    assert (boxes_N4[:, 2:] - boxes_N4[:, :2] > 1).all()


def test_probe_boxes_differ_in_size_shape_and_place():
    """At a published size they reach all four levels of the pyramid that RoIs are pooled from."""
    boxes_N4 = probe_boxes(800, 1333).astype(np.float64)
    widths_N, heights_N = (boxes_N4[:, 2:] - boxes_N4[:, :2]).T
    levels_N = np.floor(4 + np.log2(np.sqrt(widths_N * heights_N) / 224)).clip(2, 5)
    assert set(levels_N) == {2, 3, 4, 5}
    assert (widths_N > 1.5 * heights_N).any()
    assert (heights_N > 1.1 * widths_N).any()
    assert len(np.unique(boxes_N4, axis=0)) == len(boxes_N4)


def test_probe_boxes_are_always_the_same():
    """Both frameworks ask in processes of their own."""
    np.testing.assert_array_equal(probe_boxes(96, 128), probe_boxes(96, 128))
    assert probe_boxes(100, 200)[0] == pytest.approx([101.43, 67.18, 123.43, 78.18], abs=0.01)
