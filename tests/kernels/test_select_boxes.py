"""Selection before NMS: CPU body and emulated CUDA body against NumPy, and against each other to the bit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_calls import RUNNERS, SPECIAL, Runner, clustered_boxes, unaligned
from kernel_oracles.select_boxes import Code, Level, select_boxes
from numpy.typing import NDArray

from harness.errors import KernelError

Float = NDArray[np.float32]
Slots = tuple[Float, Float, NDArray[np.uint8]]

CLOSE = 1e-6
ANCHORS = np.array([[0, 0, 10, 10], [20, 10, 40, 30], [-8, -8, 8, 8]], np.float32)
each_body = pytest.mark.parametrize("runner", RUNNERS, ids=lambda runner: runner.name)
each_index = pytest.mark.parametrize("kind", [np.int32, np.int64])


def native(runner: Runner, levels: Sequence[Level], sizes_B2: Float, code: Code, index_bytes: int = 8) -> Slots:
    """The kernel's boxes [B, K, 4], scores and validity [B, K]."""
    batch, slots = len(sizes_B2), sum(level.index_BK.shape[1] for level in levels)
    box_BK4, score_BK = np.full((batch, slots, 4), 7, np.float32), np.full((batch, slots), 7, np.float32)
    valid_BK = np.full((batch, slots), 7, np.uint8)
    counts_L2 = np.array([(len(level.anchor_N4), level.index_BK.shape[1]) for level in levels], np.int64)
    arrays = [[level[field] for level in levels] for field in range(4)]
    numbers = (code.one, code.weight_xy, code.weight_wh, code.log_limit, code.min_size, int(code.ordered))
    inputs = (*arrays, counts_L2, len(levels), batch, index_bytes, sizes_B2)
    runner.run("select_boxes", *inputs, *numbers, box_BK4, score_BK, valid_BK)
    return box_BK4, score_BK, valid_BK


def one_level(deltas: Any, indices: Any = None, logits: Any = None, anchors_N4: Float = ANCHORS) -> Level:
    """A level of one image; without indices, all anchors in order."""
    chosen_K = np.arange(len(anchors_N4)) if indices is None else np.asarray(indices)
    logit_K = np.zeros(len(chosen_K)) if logits is None else logits
    delta_N4 = np.broadcast_to(np.array(deltas, np.float32), anchors_N4.shape)
    return Level(chosen_K[None].astype(np.int64), np.array([logit_K], np.float32), delta_N4[None].copy(), anchors_N4)


@dataclass(frozen=True)
class Case:
    """What a pyramid is generated from; short, so that a failing one can be read."""

    seed: int
    kind: Any
    counts: tuple[tuple[int, int], ...]
    odd: float
    """Share of broken anchors, offsets, logits and indices."""

    def levels(self, batch: int) -> list[Level]:
        """Levels of (anchors, chosen ones) each."""
        rng, levels = np.random.default_rng(self.seed), []
        stray = int(self.odd > 0)
        for n, k in self.counts:
            index_BK = rng.integers(-stray, max(n, 1) + stray, (batch, k)).astype(self.kind)
            logit_BK, delta_BN4 = rng.normal(0, 4, (batch, k)), rng.normal(0, 1, (batch, n, 4))
            anchor_N4 = clustered_boxes(rng, n, side=60.0, centres=4)
            floats = (self._spoilt(rng, array) for array in (logit_BK, delta_BN4, anchor_N4))
            levels.append(Level(index_BK, *floats))
        return levels

    def _spoilt(self, rng: np.random.Generator, values: NDArray[Any]) -> Float:
        special = rng.choice(np.array(SPECIAL), values.shape)
        return np.where(rng.random(values.shape) < self.odd, special, values).astype(np.float32)


cases = st.builds(
    Case,
    st.integers(0, 2**32 - 1),
    st.sampled_from((np.int32, np.int64)),
    st.lists(st.tuples(st.sampled_from((0, 1, 40)), st.sampled_from((0, 1, 2, 127, 129))), min_size=1, max_size=8).map(
        tuple
    ),
    st.sampled_from((0.0, 0.1)),
)
codes = st.builds(
    Code,
    *map(st.sampled_from, ((0.0, 1.0), (1.0, 10.0), (1.0, 5.0), (4.135166556742356, float("inf")), (0.0, 2.5))),
    st.booleans(),
)
sizes = st.lists(st.tuples(*[st.integers(1, 120)] * 2), min_size=1, max_size=3).map(
    lambda all_B2: np.array(all_B2, np.float32)
)


@each_body
@settings(max_examples=40, deadline=None)
@given(case=cases, sizes_B2=sizes, code=codes)
def test_every_body_gives_what_numpy_gives(runner: Runner, case: Case, sizes_B2: Float, code: Code) -> None:
    """Boxes and scores to 1e-6 of the numbers they come from; validity where no last digit decides it."""
    levels = case.levels(len(sizes_B2))
    box_BK4, score_BK, valid_BK = native(runner, levels, sizes_B2, code, np.dtype(case.kind).itemsize)
    expected = select_boxes(levels, sizes_B2, code)
    np.testing.assert_allclose(score_BK, expected.score_BK, rtol=CLOSE, atol=1e-37)
    with np.errstate(all="ignore"):
        slack_BK4 = CLOSE * expected.reach_BK4 + 1e-37
        near_BK4 = (box_BK4 == expected.box_BK4) | (np.abs(box_BK4 - expected.box_BK4) <= slack_BK4)
        side_BK2 = expected.box_BK4[..., 2:] - expected.box_BK4[..., :2] + np.float32(code.one)
        turns_BK = (np.abs(side_BK2 - code.min_size) <= 2 * slack_BK4[..., :2]).any(axis=-1)
    sure_BK = (expected.reach_BK4 == 0).all(axis=-1) | ~turns_BK
    assert near_BK4[expected.valid_BK & sure_BK].all()
    np.testing.assert_array_equal(valid_BK[sure_BK], expected.valid_BK[sure_BK])
    assert set(valid_BK.flat) <= {0, 1}


@pytest.mark.parametrize("runner", RUNNERS[1:], ids=lambda runner: runner.name)
@settings(max_examples=20, deadline=None)
@given(case=cases, sizes_B2=sizes, code=codes)
def test_a_device_selects_just_what_the_cpu_selects(runner: Runner, case: Case, sizes_B2: Float, code: Code) -> None:
    """To the bit, so that the same boxes enter NMS; NaN equals NaN."""
    levels = case.levels(len(sizes_B2))
    index_bytes = np.dtype(case.kind).itemsize
    found, on_cpu = (native(each, levels, sizes_B2, code, index_bytes) for each in (runner, RUNNERS[0]))
    for found_BK, cpu_BK in zip(found, on_cpu, strict=True):
        np.testing.assert_array_equal(found_BK, cpu_BK)


@each_body
@each_index
def test_levels_of_a_whole_batch(runner: Runner, kind: Any) -> None:
    """Five levels of two images at unaligned addresses, long enough for several threads and blocks."""
    rng = np.random.default_rng(3)
    levels = []
    for n, k in ((3000, 1000), (750, 750), (200, 200), (48, 48), (12, 12)):
        index_BK = np.stack([rng.permutation(n)[:k] for _ in range(2)]).astype(kind)
        logit_BK, delta_BN4 = rng.normal(0, 3, (2, k)), rng.normal(0, 0.3, (2, n, 4))
        arrays = (logit_BK.astype(np.float32), delta_BN4.astype(np.float32), clustered_boxes(rng, n, side=400.0))
        levels.append(Level(unaligned(index_BK), *(unaligned(array) for array in arrays)))
    sizes_B2, code = np.array([[300, 400], [400, 250]], np.float32), Code(min_size=4.0)
    box_BK4, score_BK, valid_BK = native(runner, levels, sizes_B2, code, np.dtype(kind).itemsize)
    expected = select_boxes(levels, sizes_B2, code)
    np.testing.assert_allclose(box_BK4, expected.box_BK4, atol=CLOSE * 800)
    np.testing.assert_allclose(score_BK, expected.score_BK, rtol=CLOSE)
    np.testing.assert_array_equal(valid_BK, expected.valid_BK)
    assert 0 < valid_BK.mean() < 1


@each_body
def test_offsets_of_zero_give_the_anchors(runner: Runner) -> None:
    """Exactly, clipped to the image in either convention."""
    size = np.array([[25, 32]], np.float32)
    edges = native(runner, [one_level(0)], size, Code())[0]
    assert edges.tolist() == [[[0, 0, 10, 10], [20, 10, 32, 25], [0, 0, 8, 8]]]
    pixels = native(runner, [one_level(0)], size, Code(one=1.0))[0]
    assert pixels.tolist() == [[[0, 0, 10, 10], [20, 10, 31, 24], [0, 0, 8, 8]]]


@each_body
def test_growth_is_limited(runner: Runner) -> None:
    """A box grows at most by e to the limit, and an offset of minus infinity shrinks it to its centre."""
    levels = [one_level([[0, 0, 99, -np.inf], [0, 0, np.log(2), 0], [0, 0, 0, 0]])]
    boxes = native(runner, levels, np.array([[999, 999]], np.float32), Code(log_limit=np.log(4)))[0][0]
    np.testing.assert_allclose(boxes[0], [0, 5, 25, 5], atol=CLOSE * 50)
    np.testing.assert_allclose(boxes[1], [10, 10, 50, 30], atol=CLOSE * 50)


@each_body
def test_sides_have_to_reach_the_least_size(runner: Runner) -> None:
    """Just the least size is enough, in both directions and conventions."""
    anchors = np.array([[0, 0, 4, 4], [0, 0, 3.75, 4], [0, 0, 4, 3.75]], np.float32)
    size = np.array([[50, 50]], np.float32)
    assert native(runner, [one_level(0, anchors_N4=anchors)], size, Code(min_size=4.0))[2].tolist() == [[1, 0, 0]]
    legacy = Code(one=1.0, min_size=5.0)
    assert native(runner, [one_level(0, anchors_N4=anchors)], size, legacy)[2].tolist() == [[1, 0, 0]]


@each_body
def test_far_corners_can_be_kept_from_passing_near_ones(runner: Runner) -> None:
    """Inclusive boxes of less than a pixel end before they begin, unless they are put in order."""
    levels, size = [one_level([0, 0, -9, -9])], np.array([[50, 50]], np.float32)
    crossed, ordered = (native(runner, levels, size, Code(one=1.0, ordered=each))[0][0] for each in (False, True))
    assert (crossed[:2, 2:] < crossed[:2, :2]).all()
    np.testing.assert_array_equal(ordered[:, 2:], np.maximum(ordered[:, :2], crossed[:, 2:]))
    np.testing.assert_array_equal(ordered[:, :2], crossed[:, :2])


@each_body
@each_index
def test_what_is_no_anchor_and_what_is_no_number_is_not_valid(runner: Runner, kind: Any) -> None:
    """An index outside the level is not read, and a NaN in a logit, an offset or an anchor is no box."""
    anchors = np.append(ANCHORS, np.array([[np.nan, 0, 8, 8]], np.float32), axis=0)
    deltas = [[0, 0, 0, 0], [0, np.nan, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    far = np.iinfo(kind).max
    level = one_level(deltas, [0, -1, 4, far, -far, 1, 2, 3, 2], [1, 1, 1, 1, 1, 1, np.nan, 1, -2], anchors)
    level = level._replace(index_BK=level.index_BK.astype(kind))
    size = np.array([[50, 50]], np.float32)
    _, score_BK, valid_BK = native(runner, [level], size, Code(), np.dtype(kind).itemsize)
    assert valid_BK.tolist() == [[1, 0, 0, 0, 0, 0, 0, 0, 1]]
    assert np.flatnonzero(np.isnan(score_BK)).tolist() == [6]


@each_body
def test_scores_hold_at_any_logit(runner: Runner) -> None:
    """No overflow, and digits that last where probabilities are small."""
    logits = [0, 100, -100, np.inf, -np.inf, -50, 3, -3]
    level = one_level(0, np.zeros(8, int), logits)
    scores = native(runner, [level], np.array([[50, 50]], np.float32), Code())[1][0]
    wanted = [0.5, 1, 0, 1, 0, np.exp(-50), 1 / (1 + np.exp(-3)), 1 / (1 + np.exp(3))]
    np.testing.assert_allclose(scores, wanted, rtol=CLOSE, atol=1e-37)


@pytest.mark.parametrize("runner", RUNNERS[:2], ids=lambda runner: runner.name)
def test_more_images_than_a_grid_has_rows(runner: Runner) -> None:
    """Slots of the 65,536th image and of those behind it are filled too."""
    batch = 65_538
    index_B1, delta_B14 = np.zeros((batch, 1), np.int64), np.zeros((batch, 1, 4), np.float32)
    level = Level(index_B1, delta_B14[..., 0], delta_B14, ANCHORS[:1])
    boxes, _, valid = native(runner, [level], np.full((batch, 2), 9, np.float32), Code())
    assert (boxes == np.array([0, 0, 9, 9])).all()
    assert valid.all()


@each_body
def test_sizes_and_codes_out_of_range_are_refused(runner: Runner) -> None:
    """Indices of two bytes, nine levels, and negative numbers of levels, images, anchors or slots."""
    level, size = one_level(0), np.array([[50, 50]], np.float32)
    with pytest.raises(KernelError, match="code -1"):
        native(runner, [level], size, Code(), 2)
    with pytest.raises(KernelError, match="code -1"):
        native(runner, [level] * 9, size, Code())
    lists = [[array] for array in level]
    for levels, batch, n, k in ((-1, 1, 1, 1), (1, -1, 1, 1), (1, 1, -1, 1), (1, 1, 1, -1)):
        counts_L2 = np.array([[n, k]], np.int64)
        with pytest.raises(KernelError, match="code -1"):
            runner.run("select_boxes", *lists, counts_L2, levels, batch, 8, size, 0, 1, 1, 4, 0, 0, size, size, size)
