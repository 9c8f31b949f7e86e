"""Hard NMS: CPU body and emulated CUDA body against NumPy, index for index."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_calls import RUNNERS, Runner, box_arrays, clustered_boxes, unaligned
from kernel_oracles.nms import nms
from numpy.typing import NDArray

from harness.errors import KernelError

Array = NDArray[Any]
every_runner = pytest.mark.parametrize("runner", RUNNERS, ids=lambda runner: runner.name)


def native(
    runner: Runner,
    boxes_BK4: Array,
    groups_BK: Array | None = None,
    valid_BK: Array | None = None,
    *,
    one: float = 0.0,
    iou: float = 0.5,
    max_keep: int,
) -> tuple[Array, Array]:
    """The kernel's indices [B, max_keep] and counts [B], out of outputs and a workspace full of rubbish."""
    batch, count = boxes_BK4.shape[:2]
    kept_BD, count_B = np.full((batch, max_keep), 77, np.int32), np.full(batch, 77, np.int32)
    workspace = np.full(runner.size("nms", batch, count, max_keep), 0xA5, np.uint8)
    runner.run("nms", boxes_BK4, groups_BK, valid_BK, batch, count, one, iou, max_keep, kept_BD, count_B, workspace)
    return kept_BD, count_B


def assert_as_defined(runner: Runner, boxes_BK4: Array, *masks: Array | None, **numbers: Any) -> None:
    """The kernel's answer is the oracle's for every image."""
    kept_BD, count_B = native(runner, boxes_BK4, *masks, **numbers)
    for image, boxes_K4 in enumerate(boxes_BK4):
        expected_D = nms(boxes_K4, *(None if mask is None else mask[image] for mask in masks), **numbers)
        np.testing.assert_array_equal(kept_BD[image], expected_D)
        assert count_B[image] == (expected_D >= 0).sum()


@every_runner
@settings(max_examples=60, deadline=None)
@given(
    boxes_K4=box_arrays(),
    groups=st.sampled_from((None, 1, 2, 7, 2**31 - 1)),
    invalid=st.sampled_from((None, 0.0, 0.3, 1.0)),
    one=st.sampled_from((0.0, 1.0)),
    iou=st.sampled_from((-0.1, 0.0, 0.3, 0.5, 0.7, 1.0)),
    max_keep=st.sampled_from((0, 1, 5, 64, 200)),
    seed=st.integers(0, 2**32 - 1),
)
def test_what_stays_is_what_the_definition_says(
    runner: Runner, boxes_K4: Array, groups: int | None, invalid: float | None, seed: int, **numbers: Any
) -> None:
    """Whatever the boxes, groups (negative numbers too) and limits; images do not mix."""
    rng = np.random.default_rng(seed)
    boxes_BK4 = np.stack((boxes_K4, boxes_K4[::-1], rng.permutation(boxes_K4)))
    shape = boxes_BK4.shape[:2]
    groups_BK = None if groups is None else rng.integers(-groups, groups, shape).astype(np.int32)
    valid_BK = None if invalid is None else (rng.random(shape) >= invalid).astype(np.uint8)
    assert_as_defined(runner, boxes_BK4, groups_BK, valid_BK, **numbers)


@every_runner
@pytest.mark.parametrize("groups", [1, 40])
def test_many_boxes_are_walked_to_the_end(runner: Runner, groups: int) -> None:
    """More tiles than blocks stand beside each other, and more boxes that stay than a block of columns holds."""
    rng = np.random.default_rng(groups)
    boxes_BK4 = clustered_boxes(rng, 2_150, centres=150)[None]
    groups_BK = rng.integers(groups, size=(1, 2_150)).astype(np.int32)
    assert_as_defined(runner, boxes_BK4, groups_BK, None, iou=0.6, max_keep=2_150)


@every_runner
def test_the_walk_ends_at_max_keep(runner: Runner) -> None:
    """What stays with a limit is the beginning of what stays without, also in the midst of a tile."""
    boxes_BK4 = clustered_boxes(np.random.default_rng(2), 600, centres=200)[None]
    all_D = native(runner, boxes_BK4, max_keep=600)[0][0]
    for max_keep in (1, 63, 64, 65, 100):
        kept_BD, count_B = native(runner, boxes_BK4, max_keep=max_keep)
        np.testing.assert_array_equal(kept_BD[0], all_D[:max_keep])
        assert count_B.tolist() == [max_keep]


@every_runner
@pytest.mark.parametrize(("batch", "count"), [(0, 5), (2, 0)])
def test_nothing_in_nothing_kept(runner: Runner, batch: int, count: int) -> None:
    """No images, or images without boxes: every place is -1, every count 0."""
    kept_BD, count_B = native(runner, np.zeros((batch, count, 4), np.float32), max_keep=3)
    assert (kept_BD == -1).all()
    assert (count_B == 0).all()


@every_runner
def test_boxes_need_no_alignment(runner: Runner) -> None:
    """Views and a workspace that begin behind an aligned address give the same."""
    boxes_BK4 = clustered_boxes(np.random.default_rng(3), 150)[None]
    workspace = unaligned(np.zeros(runner.size("nms", 1, 150, 20), np.uint8))
    kept_BD, count_B = unaligned(np.zeros((1, 20), np.int32)), unaligned(np.zeros(1, np.int32))
    runner.run("nms", unaligned(boxes_BK4), None, None, 1, 150, 0.0, 0.5, 20, kept_BD, count_B, workspace)
    np.testing.assert_array_equal(kept_BD[0], nms(boxes_BK4[0], max_keep=20))


@pytest.mark.parametrize(("batch", "count", "max_keep"), [(-1, 5, 5), (1, -1, 5), (1, 5, -1), (1, 2**31, 5)])
@every_runner
def test_sizes_that_cannot_be_are_errors(runner: Runner, batch: int, count: int, max_keep: int) -> None:
    """Negative sizes, and more boxes than an index of 32 bits can name."""
    with pytest.raises(KernelError, match=r"nms .* outside"):
        runner.run("nms", None, None, None, batch, count, 0.0, 0.5, max_keep, None, None, None)
