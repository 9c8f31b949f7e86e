"""Mask paste: CPU body and emulated CUDA body against NumPy, and each other to the bit."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_calls import RUNNERS, Runner, box_arrays, unaligned
from kernel_oracles.paste_masks import paste_values
from numpy.typing import NDArray

from harness.errors import KernelError

EVERY_RUNNER = pytest.mark.parametrize("runner", RUNNERS, ids=lambda runner: runner.name)
Float = NDArray[np.float32]
CLOSE = 1e-6


def native(runner: Runner, masks_NSS: Float, boxes_N4: Float, sides: tuple[int, int], threshold: float = 0.5) -> Any:
    """The kernel's images, uint8 [N, height, width]."""
    count, side = masks_NSS.shape[:2]
    pasted_NHW = unaligned(np.full((count, *sides), 7, dtype=np.uint8))
    runner.run("paste_masks", unaligned(masks_NSS), count, side, boxes_N4, *sides, threshold, pasted_NHW)
    return pasted_NHW


def smooth_masks(rng: np.random.Generator, count: int, side: int) -> Float:
    """Masks as mask heads give them, 0..1, some of them noise; float32 [count, side, side]."""
    place_S = (np.arange(side) + 0.5) / side - 0.5
    radius_SS = np.hypot(*np.meshgrid(place_S, place_S))
    blob_NSS = 1 / (1 + np.exp(12 * (radius_SS - rng.uniform(0.2, 0.6, (count, 1, 1)))))
    return np.where(rng.random((count, 1, 1)) < 0.7, blob_NSS, rng.random((count, side, side))).astype(np.float32)


def check(runner: Runner, masks_NSS: Float, boxes_N4: Float, sides: tuple[int, int], threshold: float = 0.5) -> Any:
    """Compare with NumPy where the value is not at the threshold, and with the CPU's body everywhere."""
    values_NHW = paste_values(masks_NSS, boxes_N4, *sides)
    pasted_NHW = native(runner, masks_NSS, boxes_N4, sides, threshold)
    clear_NHW = np.abs(values_NHW - np.float32(threshold)) > CLOSE
    np.testing.assert_array_equal(pasted_NHW[clear_NHW], (values_NHW > threshold)[clear_NHW])
    np.testing.assert_array_equal(pasted_NHW, native(RUNNERS[0], masks_NSS, boxes_N4, sides, threshold))
    assert np.count_nonzero(clear_NHW) >= 0.9 * clear_NHW.size
    return pasted_NHW


@EVERY_RUNNER
@settings(max_examples=40, deadline=None)
@given(
    boxes_N4=box_arrays(counts=(0, 1, 2, 5)),
    side=st.sampled_from((1, 2, 7, 28)),
    sides=st.tuples(st.integers(1, 70), st.integers(1, 140)),
    threshold=st.sampled_from((0.5, 0.3, 0.01)),
)
def test_pasted_masks_are_what_numpy_gives(
    runner: Runner, boxes_N4: Float, side: int, sides: tuple[int, int], threshold: float
) -> None:
    """Boxes partly and wholly outside the image, of no size, inside out, huge, infinite and NaN."""
    check(runner, smooth_masks(np.random.default_rng(sides), len(boxes_N4), side), boxes_N4, sides, threshold)


@EVERY_RUNNER
def test_detections_in_an_image(runner: Runner) -> None:
    """Masks of 28 x 28 in boxes larger and smaller than them, in an image wider than a block."""
    rng = np.random.default_rng(1)
    near_N2, side_N2 = rng.uniform(-20, 250, (12, 2)), np.exp(rng.uniform(0, 5.5, (12, 2)))
    boxes_N4 = np.concatenate((near_N2, near_N2 + side_N2), axis=1).astype(np.float32)
    pasted_NHW = check(runner, smooth_masks(rng, 12, 28), boxes_N4, (200, 300))
    assert pasted_NHW.any(axis=(1, 2)).sum() > 6


@EVERY_RUNNER
def test_a_full_mask_fills_its_box(runner: Runner) -> None:
    """Ones up to the box's edge stay ones there: the border of zeros begins outside."""
    masks_NSS = np.ones((1, 28, 28), dtype=np.float32)
    pasted_NHW = native(runner, masks_NSS, np.array([[10, 20, 66, 48]], dtype=np.float32), (80, 100))
    expected_HW = np.zeros((80, 100), dtype=np.uint8)
    expected_HW[20:49, 10:67] = 1
    np.testing.assert_array_equal(pasted_NHW[0], expected_HW)


@EVERY_RUNNER
@pytest.mark.parametrize(("threshold", "expected"), [(-0.5, 1), (0.0, 0), (2.0, 0)])
def test_thresholds_count_outside_the_box_too(runner: Runner, threshold: float, expected: int) -> None:
    """The value there is 0, which a threshold below it lets pass."""
    masks_NSS = np.ones((1, 4, 4), dtype=np.float32)
    pasted_NHW = native(runner, masks_NSS, np.array([[30, 30, 34, 34]], dtype=np.float32), (20, 20), threshold)
    assert (pasted_NHW == expected).all()


@EVERY_RUNNER
def test_nothing_to_paste(runner: Runner) -> None:
    """No masks and no pixels are fine; masks without pixels are refused."""
    masks_NSS, box = np.ones((1, 4, 4), dtype=np.float32), np.array([[0, 0, 4, 4]], dtype=np.float32)
    assert native(runner, masks_NSS[:0], box[:0], (9, 9)).shape == (0, 9, 9)
    assert native(runner, masks_NSS, box, (0, 9)).size == 0
    for arguments in ((-1, 28, 9), (1, 0, 9), (1, 28, 1 << 25)):
        count, side, width = arguments
        with pytest.raises(KernelError, match="outside what the operation's header allows"):
            runner.run("paste_masks", None, count, side, None, 9, width, 0.5, None)
