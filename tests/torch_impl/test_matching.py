"""Matching and sampling rules."""

import pytest
import torch
from torchvision.models.detection._utils import Matcher

from backends.torch_impl.kernels import MatchRule
from backends.torch_impl.kernels.framework import match_overlaps
from backends.torch_impl.maskrcnn.matching import Sampler

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")


def match(iou_MN, foreground, background, *, keep_best):
    """Objects and states of candidates whose overlaps are known."""
    return match_overlaps(iou_MN, MatchRule(foreground, background, "ties" if keep_best else "none"))


def test_thresholds_include_their_lower_end():
    """IoU .7 is foreground and .3 ignored; just below, .7 becomes ignored and .3 background."""
    iou_MN = torch.tensor([[0.7, 0.6999, 0.3, 0.2999, 0.9]])
    object_N, state_N = match(iou_MN, 0.7, 0.3, keep_best=False)
    assert state_N.tolist() == [1, -1, -1, 0, 1]
    assert object_N.tolist() == [0] * 5


def test_one_threshold_leaves_nothing_ignored():
    """With both thresholds at .5 every proposal is foreground or background, .5 included in the former."""
    assert match(torch.tensor([[0.5, 0.4999, 0.0]]), 0.5, 0.5, keep_best=False)[1].tolist() == [1, 0, 0]


def test_best_candidates_of_an_object_are_foreground_and_keep_their_own_object():
    """All ties of an object's best IoU become foreground; each is matched to the object it overlaps most itself."""
    iou_MN = torch.tensor([[0.2, 0.2, 0.1, 0.0], [0.1, 0.4, 0.0, 0.05]])
    object_N, state_N = match(iou_MN, 0.7, 0.3, keep_best=True)
    assert state_N.tolist() == [1, 1, 0, 0]
    assert object_N[:2].tolist() == [0, 1]


def test_an_object_that_overlaps_nothing_makes_nothing_foreground():
    """Zero overlap with all anchors leaves the anchors that overlap nothing in the background."""
    iou_MN = torch.tensor([[0.0, 0.0, 0.0], [0.8, 0.1, 0.0]])
    assert match(iou_MN, 0.7, 0.3, keep_best=True)[1].tolist() == [1, 0, 0]


def test_no_objects_make_all_candidates_background():
    """An image without objects has only background."""
    object_N, state_N = match(torch.zeros(0, 3), 0.7, 0.3, keep_best=True)
    assert (object_N.tolist(), state_N.tolist()) == ([0, 0, 0], [0, 0, 0])


@pytest.mark.parametrize("keep_best", [False, True])
def test_matching_equals_torchvisions(keep_best):
    """On coarse random overlaps, full of ties, objects and states are torchvision's."""
    generator = torch.Generator().manual_seed(3)
    iou_MN = torch.randint(0, 11, (6, 400), generator=generator) / 10
    wanted = Matcher(0.7, 0.3, allow_low_quality_matches=keep_best)(iou_MN)
    object_N, state_N = match(iou_MN, 0.7, 0.3, keep_best=keep_best)
    assert torch.equal(
        torch.where(state_N == 1, object_N, state_N.long() - 1),
        torch.where(wanted >= 0, wanted, torch.where(wanted == Matcher.BELOW_LOW_THRESHOLD, -1, -2)),
    )


def drawn(states, count, fraction, **kwargs):
    """States and the choice that a sampler makes of them."""
    state_N = torch.tensor(states, dtype=torch.int8)
    sampler = Sampler(kwargs.get("seed", 0), kwargs.get("step", 0))
    chosen_N = sampler.select(state_N, count, fraction, kwargs.get("image_id", 1), kwargs.get("stream", 0))
    return state_N, chosen_N


@pytest.mark.parametrize(
    ("positive", "negative", "wanted"),
    [
        (300, 900, (128, 128)),
        (20, 900, (20, 236)),
        (300, 50, (128, 50)),
        (0, 900, (0, 256)),
        (3, 0, (3, 0)),
        (0, 0, (0, 0)),
    ],
)
def test_draw_has_at_most_half_foreground_and_fills_with_background(positive, negative, wanted):
    """256 a draw: at most 128 foreground, background fills what is left, ignored ones are never drawn."""
    state_N, chosen_N = drawn([1] * positive + [0] * negative + [-1] * 40, 256, 0.5)
    counts = (int((chosen_N & (state_N == 1)).sum()), int((chosen_N & (state_N == 0)).sum()))
    assert counts == wanted
    assert not bool((chosen_N & (state_N == -1)).any())


def test_draw_depends_on_seed_step_image_and_stream_only():
    """The same four numbers draw the same candidates; changing any one draws others."""
    states = [1] * 200 + [0] * 800
    base = drawn(states, 64, 0.5)[1]
    assert torch.equal(drawn(states, 64, 0.5)[1], base)
    for change in ({"seed": 1}, {"step": 1}, {"image_id": 2}, {"image_id": 1 + 2**32}, {"stream": 1}):
        assert not torch.equal(drawn(states, 64, 0.5, **change)[1], base)


def test_draw_is_even():
    """Over many steps each of 40 candidates is drawn about equally often."""
    counts = sum(drawn([0] * 40, 10, 0.5, step=step)[1].int() for step in range(800))
    assert int(counts.sum()) == 8000
    # binomial(800, 1/4): mean 200, standard deviation 12
    assert int(counts.min()) > 140
    assert int(counts.max()) < 260


def test_keys_are_distinct_and_not_negative():
    """Keys order all anchors of a large image without a tie."""
    keys_N = Sampler(7, 9).keys(3, 0, 300_000, CPU)
    assert len(keys_N.unique()) == 300_000
    assert int(keys_N.min()) >= 0
