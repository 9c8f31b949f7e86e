"""Probes of the torch backend: the tensors that the layers really compute, in the seam's names and order."""

import numpy as np
import pytest
import torch
from torch_runs import opened, take, trial
from torchvision.models.detection.rpn import RPNHead

from harness.data import probe_boxes

pytestmark = pytest.mark.torch

BACKBONE = [f"C{level}" for level in (2, 3, 4, 5)]
PYRAMID = [f"P{level}" for level in (2, 3, 4, 5, 6)]
RPN = [f"rpn_{kind}_{level}" for kind in ("objectness", "deltas") for level in range(5)]
HEADS = ["box_logits", "box_deltas", "mask_logits"]


@pytest.fixture(scope="module")
def probed(mini):
    """Inference work, its first batch of two images, and the batch's probe."""
    wanted = trial("eval", {"flavour": "torchvision"}, batch_size_per_gpu=2, probe=True)
    with opened(wanted, val=mini[1]) as work:
        (batch,) = take(work, 1)
        yield work, batch, work.probe(batch)


def test_every_tensor_of_the_seam_is_there(probed):
    """By name, float32, the heads' on the fixed boxes of both images."""
    _, batch, tensors = probed
    assert sorted(tensors) == sorted(BACKBONE + PYRAMID + RPN + HEADS)
    assert {tensor.dtype for tensor in tensors.values()} == {np.dtype(np.float32)}
    images, rois, classes = 2, sum(len(probe_boxes(*size)) for size in batch.payload.sizes_B2.tolist()), 6
    height, width = batch.payload.images_BHW3.shape[1:3]
    assert tensors["P2"].shape == (images, 16, height // 4, width // 4)
    assert tensors["rpn_objectness_0"].shape == (images, 3, height // 4, width // 4)
    assert tensors["rpn_deltas_4"].shape == (images, 12, *tensors["P6"].shape[2:])
    assert [tensors[name].shape for name in HEADS] == [(rois, classes), (rois, 4 * classes), (rois, classes, 28, 28)]


def test_a_probe_sees_what_a_step_computes(probed):
    """Trunk and pyramid are equal to the bit to what passes through the layers in a real step."""
    work, batch, tensors = probed
    model, seen = work._session.model, {}
    hooks = [
        model.backbone.body.register_forward_hook(
            lambda _, __, out: seen.update({f"C{n}": t.clone() for n, t in enumerate(out.values(), 2)})
        ),
        model.backbone.fpn.register_forward_hook(
            lambda _, __, out: seen.update({f"P{n}": t.clone() for n, t in enumerate(out.values(), 2)})
        ),
    ]
    work.step(batch)
    for hook in hooks:
        hook.remove()
    assert sorted(seen) == BACKBONE + PYRAMID
    for name, tensor in seen.items():
        np.testing.assert_array_equal(tensors[name], tensor.numpy(), err_msg=name)


def test_the_rpn_is_in_torchvisions_order(probed):
    """Its own head with the same weights, on the probed pyramid."""
    work, _, tensors = probed
    theirs = RPNHead(16, 3)
    theirs.load_state_dict(work._session.model.rpn.head.state_dict())
    with torch.no_grad():
        logits, deltas = theirs([torch.from_numpy(tensors[name]) for name in PYRAMID])
    for level in range(5):
        np.testing.assert_allclose(tensors[f"rpn_objectness_{level}"], logits[level].numpy(), atol=1e-6)
        np.testing.assert_allclose(tensors[f"rpn_deltas_{level}"], deltas[level].numpy(), atol=1e-6)


def test_a_probe_changes_nothing(probed):
    """Steps before and after give the same detections."""
    work, batch, _ = probed
    before = work.read(work.step(batch))
    work.probe(batch)
    assert work.read(work.step(batch)) == before


def test_torch_never_compiles(probed):
    """Neither at a first batch nor later."""
    work, batch, _ = probed
    assert work.compiles(batch) is False
