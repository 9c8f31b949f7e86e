"""Run-length targets: CPU body and emulated CUDA body against decoded masks and the data pipeline, to the bit."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_calls import RUNNERS, Runner, unaligned
from kernel_oracles.rle_targets import rle_targets
from numpy.typing import NDArray

from harness.data.masks import crop_targets
from harness.data.rle import Rle, encode
from harness.errors import KernelError

EVERY_RUNNER = pytest.mark.parametrize("runner", RUNNERS, ids=lambda runner: runner.name)
COORDINATE = st.one_of(
    st.floats(-30, 90),
    st.integers(-10, 80).map(float),
    st.sampled_from((1e18, -1e300, float("nan"), float("inf"), float("-inf"))),
)


def native(
    runner: Runner, runs: Sequence[Rle], boxes_R4: NDArray[Any], sides: tuple[int, int], **changed: Any
) -> NDArray[np.uint8]:
    """The kernel's targets; RoI i shows object i unless `object_R` says otherwise."""
    counts = np.concatenate([np.zeros(0), *(one.counts_R for one in runs)]).astype(np.uint32)
    rois = len(boxes_R4)
    targets_RHW = unaligned(np.full((rois, *sides), 7, dtype=np.uint8))
    runner.run(
        "rle_targets",
        counts,
        np.cumsum([0, *(len(one.counts_R) for one in runs)], dtype=np.int64),
        np.array([(one.height, one.width) for one in runs], dtype=np.int64),
        len(runs),
        np.asarray(changed.get("object_R", range(rois)), dtype=np.int32),
        boxes_R4,
        rois,
        *sides,
        changed.get("min_side", 1.0),
        targets_RHW,
        np.full(len(counts), 0xCDCDCDCD, dtype=np.uint32),
    )
    return targets_RHW


@st.composite
def masks(draw: Any) -> NDArray[np.bool_]:
    """Masks of long and of short runs, of none and of one, also without pixels."""
    height, width = draw(st.tuples(st.integers(0, 40), st.integers(0, 40)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    changes = rng.random(height * width) < draw(st.sampled_from((0.0, 0.02, 0.3, 1.0)))
    return (changes.cumsum() % 2).astype(bool).reshape(height, width)


def boxes_of(count: int) -> st.SearchStrategy[NDArray[np.float64]]:
    """RoIs of every kind, float64 [count, 4]."""
    corners = st.lists(st.tuples(*[COORDINATE] * 4), min_size=count, max_size=count)
    return corners.map(lambda rows: np.array(rows, dtype=np.float64).reshape(-1, 4))


@EVERY_RUNNER
@settings(max_examples=50, deadline=None)
@given(data=st.data(), shapes=st.lists(masks(), max_size=6), height=st.integers(1, 40), width=st.integers(1, 40))
def test_targets_are_the_pixels_under_centres(
    runner: Runner, data: Any, shapes: list[NDArray[np.bool_]], height: int, width: int
) -> None:
    """Bit for bit, in RoIs that are partly or wholly outside, without sides, infinite or NaN."""
    boxes_R4 = data.draw(boxes_of(len(shapes)))
    found_RHW = native(runner, [encode(shape) for shape in shapes], boxes_R4, (height, width))
    np.testing.assert_array_equal(found_RHW, rle_targets(shapes, boxes_R4, height, width))


@EVERY_RUNNER
@pytest.mark.parametrize("side", [1, 14, 28, 112])
def test_targets_are_those_of_the_data_pipeline(runner: Runner, side: int) -> None:
    """More runs than a warp has lanes, more objects than a block has warps."""
    rng = np.random.default_rng(side)
    runs = [encode(rng.random((rng.integers(1, 60), 50)) < 0.5) for _ in range(9)]
    object_R = rng.integers(0, 9, 40)
    boxes_R4 = rng.uniform(-10, 60, (40, 4))
    boxes_R4[:, 2:] = boxes_R4[:, :2] + rng.uniform(0, 40, (40, 2))
    expected_RHW = crop_targets([runs[index] for index in object_R], boxes_R4, side, 0.5)
    found_RHW = native(runner, runs, boxes_R4, (side, side), object_R=object_R, min_side=0.5)
    np.testing.assert_array_equal(found_RHW, expected_RHW)
    assert found_RHW.any()


@EVERY_RUNNER
def test_places_that_are_no_numbers(runner: Runner) -> None:
    """RoIs at NaN, or stretched beyond all integers, read zeros outside the mask, in the data pipeline too."""
    runs = [encode(np.ones((9, 9)))] * 3
    boxes_R4 = np.array([[np.nan, 0, 5, 5], [0, 0, 1e300, 5], [0, -1e300, 5, 5]])
    found_RHW = native(runner, runs, boxes_R4, (4, 4))
    assert found_RHW.sum() == 0
    np.testing.assert_array_equal(found_RHW, crop_targets(runs, boxes_R4, 4))


@EVERY_RUNNER
def test_runs_without_pixels(runner: Runner) -> None:
    """Runs of length 0, anywhere, change nothing."""
    mask = np.zeros((6, 5), dtype=bool)
    mask[:, 1:3] = True
    padded = Rle(6, 5, np.array([6, 0, 0, 5, 0, 7, 0, 0, 12, 0, 0]))
    box = np.array([[0.0, 0, 5, 6]])
    np.testing.assert_array_equal(native(runner, [padded], box, (6, 5))[0], mask)


@EVERY_RUNNER
def test_rois_without_object(runner: Runner) -> None:
    """An object index that names none gives an empty target, and no objects at all are fine."""
    box = np.array([[0.0, 0, 4, 4]] * 3)
    found_RHW = native(runner, [encode(np.ones((4, 4)))], box, (4, 4), object_R=[-1, 0, 1])
    assert found_RHW.sum(axis=(1, 2)).tolist() == [0, 16, 0]
    assert native(runner, [], box, (4, 4), object_R=[0, 0, 0]).sum() == 0


@EVERY_RUNNER
def test_nothing_to_read(runner: Runner) -> None:
    """No RoIs and no pixels are fine; negative sizes are refused."""
    assert native(runner, [], np.zeros((0, 4)), (28, 28)).shape == (0, 28, 28)
    assert native(runner, [encode(np.ones((2, 2)))], np.array([[0.0, 0, 2, 2]]), (3, 0)).size == 0
    with pytest.raises(KernelError, match="outside what the operation's header allows"):
        runner.run("rle_targets", None, None, None, 0, None, None, 1, -28, 28, 1.0, None, None)
