"""Matcher: CPU body and emulated CUDA body against NumPy, to the bit."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_calls import RUNNERS, Runner, box_arrays, clustered_boxes, unaligned
from kernel_oracles.match import FIRST, NONE, TIES, Rule, match, match_batch
from numpy.typing import NDArray

from harness.errors import KernelError

Float = NDArray[np.float32]
Matched = tuple[NDArray[np.int32], NDArray[np.int8]]

each_body = pytest.mark.parametrize("runner", RUNNERS, ids=lambda runner: runner.name)
thresholds = st.sampled_from((0.0, 0.3, 0.5, 0.7, float("nan")))
rules = st.builds(Rule, thresholds, thresholds, st.booleans(), st.sampled_from((NONE, TIES, FIRST)))


def native(
    runner: Runner, objects_BM4: Float, candidates: Float, rule: Rule, present_BM: NDArray[np.uint8] | None = None
) -> Matched:
    """The kernel's answer, [B, N]; candidates are [N, 4] of every image, or [B, N, 4]."""
    (batch, m, _), n = objects_BM4.shape, candidates.shape[-2]
    object_BN, state_BN = np.full((batch, n), 77, np.int32), np.full((batch, n), 77, np.int8)
    workspace = np.full(runner.size("match", batch, m, n), 0xA5, np.uint8)
    stride = 4 * n if candidates.ndim == 3 else 0
    limits = (rule.one, rule.foreground, rule.background, int(rule.strict), int(rule.keep))
    inputs = (objects_BM4, present_BM, batch, m, candidates, n, stride)
    runner.run("match", *inputs, *limits, object_BN, state_BN, workspace)
    return object_BN, state_BN


def assert_same(found: Matched, expected: Matched) -> None:
    """Every object and every state is the expected one."""
    for found_BN, expected_BN in zip(found, expected, strict=True):
        np.testing.assert_array_equal(found_BN, expected_BN)


@st.composite
def batches(draw: Any) -> tuple[Float, NDArray[np.uint8], Float]:
    """Objects [B, M, 4], which places hold one [B, M], and each image's candidates [B, N, 4]."""
    batch = draw(st.integers(1, 3))
    pool_O4, pool_C4 = draw(box_arrays((1, 3, 40))), draw(box_arrays((1, 3, 150)))
    m, n = draw(st.sampled_from((0, 1, 2, 5, 33, 65))), draw(st.sampled_from((0, 1, 2, 33, 127, 129, 513)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    objects_BM4 = pool_O4[rng.integers(len(pool_O4), size=(batch, m))]
    candidates_BN4 = pool_C4[rng.integers(len(pool_C4), size=(batch, n))]
    if draw(st.booleans()):  # some candidates are objects
        candidates_BN4[:, :m] = objects_BM4[:, :n]
    present_BM = rng.random((batch, m)) < draw(st.sampled_from((0.0, 0.5, 1.0)))
    return objects_BM4, present_BM.astype(np.uint8), candidates_BN4


@each_body
@settings(max_examples=40, deadline=None)
@given(inputs=batches(), rule=rules, one=st.sampled_from((0.0, 1.0)))
def test_every_body_gives_what_numpy_gives(
    runner: Runner, inputs: tuple[Float, NDArray[np.uint8], Float], rule: Rule, one: float
) -> None:
    """Whatever the boxes, thresholds, empty places and numbers of all of them."""
    objects_BM4, present_BM, candidates_BN4 = inputs
    rule = Rule(rule.foreground, rule.background, rule.strict, rule.keep, one)
    expected = match_batch(objects_BM4, present_BM.astype(bool), candidates_BN4, rule)
    assert_same(native(runner, objects_BM4, candidates_BN4, rule, present_BM), expected)


@each_body
@pytest.mark.parametrize("keep", [NONE, TIES, FIRST])
def test_images_can_share_their_candidates(runner: Runner, keep: int) -> None:
    """With a stride of 0, and without a list of places, over several tiles of candidates and of objects."""
    rng = np.random.default_rng(2)
    candidates_N4 = clustered_boxes(rng, 1300, side=300.0)
    objects_BM4 = clustered_boxes(rng, 2 * 70, side=300.0).reshape(2, 70, 4)
    rule = Rule(0.6, 0.3, keep=keep)
    found = native(runner, unaligned(objects_BM4), unaligned(candidates_N4), rule)
    for image, objects_M4 in enumerate(objects_BM4):
        assert_same((found[0][image], found[1][image]), match(objects_M4, candidates_N4, rule))
    assert {-1, 0, 1} == set(found[1].flat)


@each_body
def test_the_threshold_itself_is_foreground_unless_strict(runner: Runner) -> None:
    """An IoU of just a half, with the threshold there."""
    objects = np.array([[[0, 0, 10, 10]]], np.float32)
    candidates = np.array([[0, 0, 10, 5], [0, 0, 10, 4]], np.float32)
    assert native(runner, objects, candidates, Rule(0.5, 0.4))[1].tolist() == [[1, -1]]
    assert native(runner, objects, candidates, Rule(0.5, 0.4, strict=True))[1].tolist() == [[-1, -1]]
    assert native(runner, objects, candidates, Rule(0.5, 0.5, strict=True))[1].tolist() == [[-1, 0]]


@each_body
@pytest.mark.parametrize("keep", [TIES, FIRST])
def test_an_object_outside_all_candidates_keeps_none(runner: Runner, keep: int) -> None:
    """Candidates that tie at no overlap stay background; a NaN among them changes nothing."""
    objects = np.array([[[500, 500, 510, 510], [0, 0, 8, 8]]], np.float32)
    candidates = np.array([[0, 0, 9, 2], [90, 90, 99, 99], [np.nan, 0, 8, 8]], np.float32)
    object_BN, state_BN = native(runner, objects, candidates, Rule(0.5, 0.5, keep=keep))
    assert state_BN.tolist() == [[1, 0, 0]]
    assert object_BN.tolist() == [[1, 0, 0]]


@each_body
def test_kept_ties_learn_the_object_they_overlap_most(runner: Runner) -> None:
    """All candidates of an object's best overlap are kept, whichever tile they are in."""
    candidates = np.tile(np.array([[0, 0, 10, 10]], np.float32), (1100, 1))
    objects = np.array([[[0, 0, 3, 3], [0, 0, 5, 5]]], np.float32)
    object_BN, state_BN = native(runner, objects, candidates, Rule(0.7, 0.3, keep=TIES))
    assert (state_BN == 1).all()
    assert (object_BN == 1).all()


@each_body
def test_a_first_best_candidate_goes_to_the_first_object_that_wants_it(runner: Runner) -> None:
    """It learns that object even where it overlaps another more; the rest stay as they were."""
    candidates = np.tile(np.array([[0, 0, 10, 10], [0, 0, 0, 0]], np.float32), (600, 1))
    objects = np.array([[[90, 90, 99, 99], [0, 0, 3, 3], [0, 0, 5, 5]]], np.float32)
    object_BN, state_BN = native(runner, objects, candidates, Rule(0.7, 0.7, keep=FIRST))
    assert np.flatnonzero(state_BN).tolist() == [0]
    assert object_BN[0, :4].tolist() == [1, 0, 2, 0]


@pytest.mark.parametrize("runner", RUNNERS[:2], ids=lambda runner: runner.name)
def test_more_images_than_a_grid_has_rows(runner: Runner) -> None:
    """The 65,536th image and those behind it are matched, and their objects keep candidates."""
    objects = np.broadcast_to(np.array([0, 0, 4, 4], np.float32), (65_538, 1, 4)).copy()
    objects[-1] = 50
    _, state_B1 = native(runner, objects, np.array([[0, 0, 9, 9]], np.float32), Rule(keep=FIRST))
    assert state_B1[:-1].all()
    assert not state_B1[-1].any()


@each_body
def test_sizes_and_codes_out_of_range_are_refused(runner: Runner) -> None:
    """A negative number of objects or candidates, and a way of keeping that there is not."""
    boxes = np.zeros((1, 1, 4), np.float32)
    with pytest.raises(KernelError, match="code -1"):
        native(runner, boxes, boxes, Rule(keep=3))
    for sizes in ((-1, 1, 1), (1, -1, 1), (1, 1, -1), (1, 2**31, 1), (1, 1, 2**31)):
        batch, m, n = sizes
        with pytest.raises(KernelError, match="code -1"):
            runner.run("match", boxes, None, batch, m, boxes, n, 0, 0.0, 0.5, 0.5, 0, 0, boxes, boxes, boxes)
