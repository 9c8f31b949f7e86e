"""The operations as torch sees them: schemas, fake tensors, gradients, torch.compile."""

import numpy as np
import pytest
import torch
from kernel_calls import clustered_boxes
from torch.library import opcheck
from torch_kernels import GRIDS, SCALES, answers, made_choice, outlines, predicted, pyramid, pyramid_rois, rois_of

from backends.torch_impl.kernels import (
    NATIVE,
    Candidates,
    FocalRule,
    MatchRule,
    NmsRule,
    PoolRule,
    SelectRule,
    pack_polygons,
    pack_runs,
)
from harness.data.rle import encode
from harness.kernels.prototypes import prototypes

pytestmark = pytest.mark.torch

OPCHECKS_OWN = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")


def boxes_of(count, seed=0):
    """Clustered boxes."""
    return torch.from_numpy(clustered_boxes(np.random.default_rng(seed), count))


def calls():
    """One call of each operation that has no gradient, by name."""
    rng = np.random.default_rng(0)
    boxes_N4, groups = boxes_of(60), torch.arange(60, dtype=torch.int32).reshape(1, 60) % 3
    chosen, polygons = made_choice(rng), pack_polygons(outlines(rng, 3))
    objects_R, rois_R4 = rois_of(rng, 3, 5)
    rois = (objects_R.int(), rois_R4.double(), 14, 1.0)
    runs = pack_runs([encode(rng.random((30, 40)) < 0.4)] * 3)
    cells = [float(number) for number in range(8)]
    levels = (chosen.indices, chosen.logits, chosen.deltas, chosen.anchors)
    return {
        "box_iou": (boxes_N4[:5], boxes_N4.T.contiguous().T, 1.0),
        "match": (boxes_N4[None, :5], torch.ones(1, 5, dtype=torch.bool), boxes_N4[None], 0.0, 0.5, 0.4, False, 1),
        "select_boxes": (*map(list, levels), torch.full((2, 2), 500.0), 0.0, 1.0, 1.0, 4.0, 1.0),
        "nms": (boxes_N4[None], groups, groups == 0, 0.0, 0.5, 20),
        "soft_nms": (boxes_N4[None], torch.rand(1, 60), groups, 0.5, 0.1, 20),
        "anchors": (torch.empty(0), cells, 2, [3, 4], [4.0, 4.0]),
        "polygon_targets": (polygons.points_V2, polygons.polygon_starts, polygons.object_starts, *rois),
        "rle_targets": (runs.counts, runs.object_starts, runs.sizes_O2, *rois),
        "paste_masks": (*predicted(5), 30, 40, 0.5),
    }


@pytest.mark.parametrize("name", calls())
def test_an_operation_keeps_torchs_rules(name):
    """opcheck: the schema is true, fake results have the real ones' shapes, and it traces with symbolic sizes."""
    found = opcheck(getattr(torch.ops.detection, name).default, calls()[name])
    assert set(found.values()) == {"SUCCESS"}


@OPCHECKS_OWN
@pytest.mark.parametrize("channels_last", [False, True])
def test_roi_align_keeps_torchs_rules(channels_last):
    """opcheck, its gradient traced too, in either memory order."""
    order = torch.channels_last if channels_last else torch.contiguous_format
    features, rois = pyramid(memory_format=order), pyramid_rois(6)
    places = (rois.boxes_R4, rois.images_R.int(), rois.levels_R.int())
    rule = (list(SCALES), 3, 2, False, 1.0, channels_last)
    with_gradient = [feature.requires_grad_() for feature in features]
    found = opcheck(torch.ops.detection.roi_align.default, (with_gradient, *places, *rule))
    assert set(found.values()) == {"SUCCESS"}


@OPCHECKS_OWN
def test_the_focal_loss_keeps_torchs_rules():
    """opcheck, its gradient traced too."""
    logits_NK, classes_N = answers(rows=6)
    found = opcheck(
        torch.ops.detection.focal_loss.default, (logits_NK.requires_grad_(), classes_N.int(), 0.25, 1.5, 0.1)
    )
    assert set(found.values()) == {"SUCCESS"}


def test_every_kernel_is_an_operation():
    """Each function that the headers declare for a device is registered, and nothing else is."""
    declared = {name for name, kernel in prototypes().items() if kernel.arguments[-1][0] == "stream"}
    names = {
        name.partition("::")[2].partition(".")[0]
        for name in torch._C._dispatch_get_all_op_names()
        if name.startswith("detection::")
    }
    assert names == declared


def proposals(chosen, objects_M4, sizes_B2):
    """From a top-k to matched proposals, all native."""
    boxes_BK4, scores_BK, valid_BK = NATIVE.select_boxes(chosen, sizes_B2, SelectRule((1.0, 1.0), 4.0, 1e-3))
    candidates = Candidates(boxes_BK4, scores_BK, torch.zeros_like(scores_BK, dtype=torch.int64), valid_BK)
    kept_BD, count_B = NATIVE.nms(candidates, NmsRule(0.7, 20))
    kept_BD4 = boxes_BK4.gather(1, kept_BD.clamp(min=0)[..., None].expand(-1, -1, 4))
    return kept_BD4, count_B, *NATIVE.match(objects_M4.expand(2, -1, -1), kept_BD4, MatchRule(0.5, 0.5), None)


def losses(features, logits_NK, classes_N, rois):
    """A loss that has both gradients, and masks pasted on the way."""
    pooled = NATIVE.roi_align(features, rois, PoolRule(SCALES, 3, 2, channels_last=True))
    return pooled.square().mean() + NATIVE.focal_loss(logits_NK, classes_N, FocalRule())


def test_compiled_proposals_are_eager_ones():
    """One graph without breaks, and equal results."""
    chosen, sizes_B2 = made_choice(np.random.default_rng(1)), torch.full((2, 2), 500.0)
    compiled = torch.compile(proposals, backend="aot_eager", fullgraph=True)
    expected = proposals(chosen, boxes_of(4), sizes_B2)
    for found, wanted in zip(compiled(chosen, boxes_of(4), sizes_B2), expected, strict=True):
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_gradients_are_eager_ones(backend):
    """Both gradients pass through one compiled graph."""
    (logits_NK, classes_N), rois = answers(), pyramid_rois(7)
    results = []
    for function in (losses, torch.compile(losses, backend=backend, fullgraph=True)):
        inputs = [*pyramid(), logits_NK.clone()]
        *features, logits = (each.requires_grad_() for each in inputs)
        results.append(torch.autograd.grad(function(features, logits, classes_N, rois), inputs))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_anchors_have_a_device_of_their_own():
    """The operation runs where its first tensor is, and fake tensors need no values."""
    with torch._subclasses.FakeTensorMode():
        fake = torch.ops.detection.anchors(torch.empty(0), [0.0] * 8, 2, [3, 4], [4.0, 4.0])
    assert fake.shape == (24, 4)
    assert NATIVE.anchors(GRIDS["legacy"], torch.device("cpu")).device.type == "cpu"
