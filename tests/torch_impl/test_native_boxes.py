"""Native operations on boxes against torch's own, to the bit where the definition is exact."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_calls import box_arrays, clustered_boxes, unaligned
from torch_kernels import GRIDS, both, made_choice, native

from backends.torch_impl.kernels import (
    FRAMEWORK,
    Candidates,
    Chosen,
    MatchRule,
    NmsRule,
    SelectRule,
    SoftNmsRule,
)

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")
ONES = st.sampled_from((0.0, 1.0))


def same(found, expected):
    """Whether all tensors have equal values and types, NaN equal to NaN."""
    for left, right in zip(found, expected, strict=True):
        assert left.dtype == right.dtype
        torch.testing.assert_close(left, right, rtol=0, atol=0, equal_nan=True)


@settings(max_examples=60, deadline=None)
@given(box_arrays(), box_arrays(), ONES)
def test_overlaps_are_torchs(left_M4, right_N4, one):
    """Bit for bit, whatever the boxes."""
    found, expected = both("box_iou", torch.from_numpy(left_M4), torch.from_numpy(right_N4), one)
    assert found.numpy().tobytes() == expected.numpy().tobytes()


def views_of(boxes_N4):
    """The same boxes as views that are not dense or not aligned."""
    wide_N8 = torch.zeros(len(boxes_N4), 8)
    wide_N8[:, 1::2] = boxes_N4
    yield wide_N8[:, 1::2]
    yield boxes_N4.T.contiguous().T
    yield torch.from_numpy(unaligned(boxes_N4.numpy()))
    yield boxes_N4.flip(0).contiguous().flip(0)


def test_views_are_read_as_what_they_show():
    """Strided, transposed and unaligned boxes give what dense ones give."""
    boxes_N4 = torch.from_numpy(clustered_boxes(np.random.default_rng(0), 70))
    expected = FRAMEWORK.box_iou(boxes_N4[:9], boxes_N4, 0.0)
    for view_N4 in views_of(boxes_N4):
        assert torch.equal(native("box_iou", view_N4[:9], view_N4, 0.0), expected)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_types_are_raised_to_float32(half):
    """Boxes of a half type give the float32 overlaps of what they hold."""
    boxes_N4 = torch.from_numpy(clustered_boxes(np.random.default_rng(0), 70)).to(half)
    found, expected = both("box_iou", boxes_N4[:9], boxes_N4, 1.0)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)
    assert torch.equal(found, native("box_iou", boxes_N4[:9].float(), boxes_N4.float(), 1.0))


def test_an_operation_refuses_another_type():
    """The kernels themselves take the types of the C functions; the message says which."""
    boxes_N4 = torch.zeros(2, 4, dtype=torch.float64)
    with pytest.raises(TypeError, match=r"a kernel was given torch.float64 of shape \(2, 4\); it would be torch.float"):
        torch.ops.detection.box_iou(boxes_N4, boxes_N4, 0.0)


RULES = st.builds(
    MatchRule,
    foreground=st.sampled_from((0.7, 0.5, 0.0)),
    background=st.sampled_from((0.3, 0.5, 0.0)),
    keep=st.sampled_from(("none", "ties", "first")),
    strict=st.booleans(),
    one=ONES,
)


@settings(max_examples=60, deadline=None)
@given(box_arrays((0, 1, 2, 7, 33)), box_arrays(), RULES, st.booleans())
def test_matching_is_torchs(objects_M4, candidates_N4, rule, shared):
    """Objects and states are equal, whatever the boxes, for candidates of all images or of each."""
    objects_BM4 = torch.from_numpy(np.stack((objects_M4, objects_M4[::-1])))
    candidates_N4 = torch.from_numpy(candidates_N4)
    candidates = candidates_N4 if shared else torch.stack((candidates_N4, candidates_N4.flip(0)))
    same(*both("match", objects_BM4, candidates, rule, None))


@pytest.mark.parametrize("keep", ["none", "ties", "first"])
def test_places_without_an_object_are_never_learnt(keep):
    """Padded images of 0, 1 and 5 objects match as torch matches them; the images' own objects alone are learnt."""
    rng = np.random.default_rng(3)
    objects_BM4 = torch.from_numpy(clustered_boxes(rng, 15)).reshape(3, 5, 4)
    present_BM = torch.arange(5) < torch.tensor([0, 1, 5])[:, None]
    candidates_N4 = torch.from_numpy(clustered_boxes(rng, 300))
    found, expected = both("match", objects_BM4, candidates_N4, MatchRule(0.5, 0.4, keep), present_BM)
    same(found, expected)
    assert found[0].amax(1).tolist() == [0, 0, 4]
    assert found[1][0].amax() == 0


@pytest.mark.parametrize("one", [0.0, 1.0])
def test_selected_boxes_are_torchs(one):
    """Decoded and clipped boxes within 1e-6 of the image's size, scores within 1e-6, the same boxes valid."""
    chosen, sizes_B2 = made_choice(np.random.default_rng(1)), torch.tensor([[300.0, 400], [700, 200]])
    rule = SelectRule((1.0, 2.0), 4.0, 30.0, one)
    found, expected = both("select_boxes", chosen, sizes_B2, rule)
    torch.testing.assert_close(found[0], expected[0], rtol=1e-6, atol=700e-6)
    torch.testing.assert_close(found[1], expected[1], rtol=1e-6, atol=1e-6)
    assert torch.equal(found[2], expected[2])
    assert 0 < int(found[2].sum()) < found[2].numel()


def test_broken_deltas_are_not_valid():
    """A NaN offset or logit leaves its box out; infinite offsets end at the limit or the border, as torch's do."""
    chosen, sizes_B2 = made_choice(np.random.default_rng(1)), torch.full((2, 2), 500.0)
    values = (torch.nan, torch.inf, -torch.inf, 1e30, torch.nan)
    for place, value in enumerate(values):
        chosen.deltas[0][0, chosen.indices[0][0, place], place % 4] = value
    chosen.logits[0][1, 7] = torch.nan
    found, expected = both("select_boxes", chosen, sizes_B2, SelectRule((1.0, 1.0), 4.0, 1e-3))
    assert torch.equal(found[2], expected[2])
    assert not found[2][[0, 0, 1], [0, 4, 7]].any()
    valid_BK = found[2]
    torch.testing.assert_close(found[0][valid_BK], expected[0][valid_BK], rtol=1e-6, atol=500e-6)


def test_selection_needs_no_dense_tensors():
    """Deltas that are a view of channels-last features give what dense ones give; half ones what they hold."""
    chosen, sizes_B2 = made_choice(np.random.default_rng(1)), torch.full((2, 2), 500.0)
    views = [part.permute(2, 0, 1).contiguous().permute(1, 2, 0) for part in chosen.deltas]
    rule = SelectRule((1.0, 1.0), 4.0, 1e-3)
    strided = Chosen(chosen.indices, chosen.logits, views, chosen.anchors)
    same(native("select_boxes", strided, sizes_B2, rule), native("select_boxes", chosen, sizes_B2, rule))
    halves = [[part.half() for part in parts] for parts in (chosen.logits, chosen.deltas)]
    raised = [[part.float() for part in parts] for parts in halves]
    found = native("select_boxes", Chosen(chosen.indices, *halves, chosen.anchors), sizes_B2, rule)
    same(found, native("select_boxes", Chosen(chosen.indices, *raised, chosen.anchors), sizes_B2, rule))


@st.composite
def candidate_sets(draw):
    """Two images' boxes of every kind in three groups, with ties among their scores, some of them not valid."""
    boxes_K4 = draw(box_arrays((0, 1, 2, 31, 33, 65)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (2, len(boxes_K4))
    valid_BK = rng.random(shape) < draw(st.sampled_from((0.0, 0.7, 1.0)))
    return Candidates(
        torch.from_numpy(np.stack((boxes_K4, boxes_K4[::-1]))),
        torch.from_numpy(rng.integers(0, 20, shape).astype(np.float32) / 20),
        torch.from_numpy(rng.integers(0, 3, shape)),
        draw(st.sampled_from((None, torch.from_numpy(valid_BK)))),
    )


@settings(max_examples=60, deadline=None)
@given(candidate_sets(), st.sampled_from((0.3, 0.5, 0.7, 1.0)), st.sampled_from((0, 1, 20, 1000)))
def test_suppression_is_torchvisions(candidates, iou, max_keep):
    """The same boxes stay in the same order, whatever the boxes; equal scores keep their order."""
    same(*both("nms", candidates, NmsRule(iou, max_keep)))


@pytest.mark.parametrize("seed", range(4))
def test_inclusive_suppression_is_torchvisions_on_moved_corners(seed):
    """On quarter pixels, where moving a corner by one rounds nothing, the inclusive convention is equal too."""
    rng = np.random.default_rng(seed)
    boxes_BK4 = torch.from_numpy((clustered_boxes(rng, 400) * 4).round() / 4).reshape(2, 200, 4)
    scores_BK, groups_BK = torch.from_numpy(rng.random((2, 200), np.float32)), torch.zeros(2, 200, dtype=torch.int64)
    found, expected = both("nms", Candidates(boxes_BK4, scores_BK, groups_BK), NmsRule(0.5, 50, 1.0))
    same((found[0], found[1]), expected)
    assert 0 < int(found[1].min()) < 200


@pytest.mark.parametrize("max_keep", [1, 30])
def test_soft_suppression_is_torchs(max_keep):
    """The same candidates are taken, with the same scores to 1e-6, in two classes of two images."""
    rng = np.random.default_rng(2)
    boxes_BC4 = torch.from_numpy(clustered_boxes(rng, 240)).reshape(2, 120, 4)
    scores_BC = torch.from_numpy(rng.random((2, 120), np.float32))
    scores_BC[0, :5] = torch.nan
    classes_BC = torch.from_numpy(rng.integers(0, 2, (2, 120)))
    found, expected = both("soft_nms", boxes_BC4, scores_BC, classes_BC, SoftNmsRule(0.5, 0.2, max_keep))
    assert torch.equal(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_anchors_are_torchs(grid):
    """Bit for bit, in all three conventions, on levels without positions too."""
    found, expected = both("anchors", grid, CPU)
    assert torch.equal(found, expected)
    assert len(found) == len(grid.aspects) * grid.octaves * sum(rows * columns for rows, columns in grid.grids)
