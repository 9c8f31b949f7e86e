"""Soft-NMS: CPU body and emulated CUDA body against NumPy, and against each other to the bit."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_calls import RUNNERS, Runner, box_arrays, clustered_boxes, unaligned
from kernel_oracles.soft_nms import soft_nms
from numpy.typing import NDArray

from harness.errors import KernelError

Array = NDArray[Any]
ROUNDING = 1e-6
every_runner = pytest.mark.parametrize("runner", RUNNERS, ids=lambda runner: runner.name)


def native(
    runner: Runner,
    boxes_BC4: Array,
    scores_BC: Array,
    classes_BC: Array,
    *,
    sigma: float = 0.5,
    score_threshold: float = 0.0,
    max_keep: int,
) -> tuple[Array, Array]:
    """The kernel's indices and scores, [B, max_keep], out of outputs and a workspace full of rubbish."""
    batch, count = scores_BC.shape
    kept_BD, scores_BD = np.full((batch, max_keep), 77, np.int32), np.full((batch, max_keep), 77, np.float32)
    workspace = unaligned(np.full(runner.size("soft_nms", batch, count), 0xA5, np.uint8))
    inputs = (boxes_BC4, scores_BC, classes_BC, batch, count, sigma, score_threshold, max_keep)
    runner.run("soft_nms", *inputs, kept_BD, scores_BD, workspace)
    return kept_BD, scores_BD


def assert_as_defined(runner: Runner, boxes_BC4: Array, scores_BC: Array, classes_BC: Array, **numbers: Any) -> None:
    """The kernel's answer is the oracle's for every image, and the CPU's to the bit."""
    kept_BD, lowered_BD = native(runner, boxes_BC4, scores_BC, classes_BC, **numbers)
    for kept_D, lowered_D, *image in zip(kept_BD, lowered_BD, boxes_BC4, scores_BC, classes_BC, strict=True):
        expected_D, expected_scores_D = soft_nms(*image, **numbers, rounding=ROUNDING, taken_D=kept_D)
        np.testing.assert_array_equal(kept_D, expected_D)
        np.testing.assert_allclose(lowered_D, expected_scores_D, rtol=ROUNDING, atol=1e-37)
    for mine, cpus in zip(
        (kept_BD, lowered_BD), native(RUNNERS[0], boxes_BC4, scores_BC, classes_BC, **numbers), strict=True
    ):
        assert mine.tobytes() == cpus.tobytes()


@every_runner
@settings(max_examples=50, deadline=None)
@given(
    boxes_C4=box_arrays(),
    classes=st.sampled_from((1, 2, 9, 2**31 - 1)),
    levels=st.sampled_from((3, 2**20)),
    broken=st.sampled_from((0.0, 0.3)),
    sigma=st.sampled_from((1e-6, 0.1, 0.5)),
    score_threshold=st.sampled_from((-1.0, 0.0, 0.31)),
    max_keep=st.sampled_from((0, 1, 20)),
    seed=st.integers(0, 2**32 - 1),
)
def test_what_is_taken_is_what_the_definition_says(
    *, runner: Runner, boxes_C4: Array, classes: int, levels: int, broken: float, seed: int, **numbers: Any
) -> None:
    """Whatever the boxes, classes (negative numbers too) and scores: ties, NaN; images do not mix."""
    rng = np.random.default_rng(seed)
    boxes_BC4 = np.stack((boxes_C4, boxes_C4[::-1]))
    scores_BC = (rng.integers(levels + 1, size=boxes_BC4.shape[:2]) / levels).astype(np.float32)
    scores_BC = np.where(rng.random(scores_BC.shape) < broken, np.float32(np.nan), scores_BC)
    classes_BC = rng.integers(-classes, classes, scores_BC.shape).astype(np.int32)
    assert_as_defined(runner, boxes_BC4, scores_BC, classes_BC, **numbers)


@every_runner
@pytest.mark.parametrize("classes", [1, 20])
def test_more_candidates_than_threads(runner: Runner, classes: int) -> None:
    """A scene as EfficientDet gives it, with several candidates for each thread."""
    rng = np.random.default_rng(classes)
    boxes_BC4 = np.stack([clustered_boxes(rng, 1_500) for _ in range(2)])
    scores_BC = rng.random((2, 1_500)).astype(np.float32)
    classes_BC = rng.integers(classes, size=(2, 1_500)).astype(np.int32)
    assert_as_defined(runner, boxes_BC4, scores_BC, classes_BC, score_threshold=0.05, max_keep=100)


@every_runner
def test_a_twin_falls_behind_what_overlaps_nothing(runner: Runner) -> None:
    """The second of two equal boxes is left with exp(-1 / sigma) of its score; another class keeps its own."""
    box_4, far_4 = [0, 0, 10, 10], [50, 50, 60, 60]
    boxes_BC4 = np.array([[box_4, box_4, far_4, box_4]], np.float32)
    scores_BC, classes_BC = np.array([[0.9, 0.8, 0.3, 0.5]], np.float32), np.array([[1, 1, 1, 2]], np.int32)
    kept_BD, scores_BD = native(runner, boxes_BC4, scores_BC, classes_BC, sigma=0.5, max_keep=5)
    assert kept_BD.tolist() == [[0, 3, 2, 1, 0]]
    np.testing.assert_allclose(scores_BD[0], [0.9, 0.5, 0.3, 0.8 * np.exp(-2), 0], rtol=ROUNDING)


@every_runner
@pytest.mark.parametrize(("batch", "count"), [(0, 5), (2, 0)])
def test_nothing_in_nothing_taken(runner: Runner, batch: int, count: int) -> None:
    """No images, or images without candidates: every slot stays empty."""
    shape = (batch, count)
    kept_BD, scores_BD = native(
        runner, np.zeros((*shape, 4), np.float32), np.zeros(shape, np.float32), np.zeros(shape, np.int32), max_keep=3
    )
    assert (kept_BD == 0).all()
    assert (scores_BD == 0).all()


@every_runner
@pytest.mark.parametrize(
    ("batch", "count", "sigma", "max_keep"),
    [(-1, 5, 0.5, 5), (1, -1, 0.5, 5), (1, 5, 0.5, -1), (1, 2**31, 0.5, 5), (1, 5, 0.0, 5), (1, 5, float("nan"), 5)],
)
def test_numbers_that_cannot_be_are_errors(runner: Runner, batch: int, count: int, sigma: float, max_keep: int) -> None:
    """Negative sizes, more candidates than an index of 32 bits can name, a sigma that is not above 0."""
    with pytest.raises(KernelError, match=r"soft_nms .* outside"):
        runner.run("soft_nms", None, None, None, batch, count, sigma, 0.0, max_keep, None, None, None)
