"""IoU: CPU body and emulated CUDA body against NumPy, to the bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_calls import RUNNERS, Runner, box_arrays, unaligned
from kernel_oracles.box_iou import box_iou
from numpy.typing import NDArray

Boxes = NDArray[np.float32]


def native(runner: Runner, left_M4: Boxes, right_N4: Boxes, one: float) -> Boxes:
    """The kernel's answer, [M, N]."""
    iou_MN = np.full((len(left_M4), len(right_N4)), 7, dtype=np.float32)
    runner.run("box_iou", left_M4, len(left_M4), right_N4, len(right_N4), one, iou_MN)
    return iou_MN


@pytest.mark.parametrize("runner", RUNNERS, ids=lambda runner: runner.name)
@settings(max_examples=60, deadline=None)
@given(left_M4=box_arrays(), right_N4=box_arrays(), one=st.sampled_from((0.0, 1.0)))
def test_every_body_gives_what_numpy_gives(runner: Runner, left_M4: Boxes, right_N4: Boxes, one: float) -> None:
    """Bit for bit, whatever the boxes."""
    expected_MN = box_iou(left_M4, right_N4, one)
    assert native(runner, left_M4, right_N4, one).tobytes() == expected_MN.tobytes()


@pytest.mark.parametrize("runner", RUNNERS, ids=lambda runner: runner.name)
def test_boxes_need_no_alignment(runner: Runner) -> None:
    """A view that begins four bytes behind an aligned address is read right."""
    rng = np.random.default_rng(1)
    left_M4, right_N4 = (rng.uniform(0, 50, (count, 4)).astype(np.float32) for count in (5, 140))
    expected_MN = box_iou(left_M4, right_N4)
    np.testing.assert_array_equal(native(runner, unaligned(left_M4), unaligned(right_N4), 0.0), expected_MN)
