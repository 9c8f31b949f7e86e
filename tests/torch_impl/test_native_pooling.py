"""Native RoIAlign and focal loss against torch's own, and their gradients."""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck
from torch_kernels import SCALES, answers, both, framework, native, pyramid, pyramid_rois

from backends.torch_impl.kernels import FocalRule, PoolRule

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("ratio", [0, 2])
def test_pooled_rois_are_torchvisions(ratio, aligned, channels_last):
    """Values within 1e-6 of torchvision's, in either memory order of features and of the result."""
    order = torch.channels_last if channels_last else torch.contiguous_format
    features, rule = pyramid(memory_format=order), PoolRule(SCALES, 3, ratio, aligned, channels_last)
    found, expected = both("roi_align", features, pyramid_rois(), rule)
    assert found.is_contiguous(memory_format=order)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=4e-6)


@pytest.mark.parametrize("channels_last", [False, True])
def test_gradients_of_features_are_torchvisions(channels_last):
    """Gradients within 1e-6 of the largest, in the memory order of the features."""
    order = torch.channels_last if channels_last else torch.contiguous_format
    gradients = []
    for operation in (native, framework):
        features = [feature.requires_grad_() for feature in pyramid(memory_format=order)]
        pooled = operation("roi_align", features, pyramid_rois(), PoolRule(SCALES, 3, 2, channels_last=channels_last))
        upstream = torch.randn(pooled.shape, generator=torch.Generator().manual_seed(5))
        gradients.append(torch.autograd.grad(pooled, features, upstream))
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=2e-6 * expected.abs().max().item())
        assert found.is_contiguous(memory_format=order)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_features_are_raised_and_get_half_gradients(half):
    """Pooling of half features is that of what they hold, in float32; their gradient is of their own type."""
    features, rule = [feature.requires_grad_() for feature in pyramid(half)], PoolRule(SCALES, 3, 2)
    pooled = native("roi_align", features, pyramid_rois(), rule)
    assert pooled.dtype == torch.float32
    assert torch.equal(pooled, native("roi_align", [feature.float() for feature in features], pyramid_rois(), rule))
    assert {part.dtype for part in torch.autograd.grad(pooled.sum(), features)} == {half}


def test_strided_features_are_read_where_they_lie():
    """Every other channel of a wider tensor is pooled like a copy of it."""
    wide = pyramid(channels=10)
    rule = PoolRule(SCALES, 3, 2)
    dense = native("roi_align", [feature[:, ::2].contiguous() for feature in wide], pyramid_rois(), rule)
    assert torch.equal(native("roi_align", [feature[:, ::2] for feature in wide], pyramid_rois(), rule), dense)


def test_no_rois_give_an_empty_result_and_no_gradient():
    """Zero RoIs pool to [0, C, bins, bins]; the features' gradient is zero, not missing."""
    features = [feature.requires_grad_() for feature in pyramid()]
    pooled = native("roi_align", features, pyramid_rois(0), PoolRule(SCALES, 3, 2))
    assert pooled.shape == (0, 5, 3, 3)
    assert all(bool((part == 0).all()) for part in torch.autograd.grad(pooled.sum(), features))


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("aligned", [False, True])
def test_roi_aligns_gradient_is_that_of_its_values(aligned, channels_last):
    """Gradcheck in float64, with adaptive sampling too."""
    features = [feature.requires_grad_() for feature in pyramid(torch.float64, channels=2)]
    for ratio in (0, 2):
        rule = PoolRule(SCALES, 2, ratio, aligned, channels_last)
        assert gradcheck(
            lambda *parts, rule=rule: native("roi_align", parts, pyramid_rois(8, torch.float64), rule),
            features,
            fast_mode=True,
        )


@pytest.mark.parametrize("rule", [FocalRule(), FocalRule(0.25, 2.0, 0.1), FocalRule(0.5, 0.0, 0.0)])
def test_the_focal_loss_and_its_gradient_are_torchs(rule):
    """Within 1e-6 of the total, and of the largest slope; half logits are raised to float32."""
    totals, gradients = [], []
    for operation in (native, framework):
        logits_NK, classes_N = answers()
        total = operation("focal_loss", logits_NK.requires_grad_(), classes_N, rule)
        totals.append(total)
        gradients.append(torch.autograd.grad(3 * total, logits_NK)[0])
    torch.testing.assert_close(*totals, rtol=1e-6, atol=0)
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-6)
    half_NK = answers(torch.bfloat16)[0]
    assert torch.equal(
        native("focal_loss", half_NK, classes_N, rule), native("focal_loss", half_NK.float(), classes_N, rule)
    )


def test_the_focal_losss_gradient_is_that_of_its_values():
    """Gradcheck in float64, through a view that is not dense."""
    logits_NK, classes_N = answers(torch.float64, rows=8)
    logits_NK[0] = logits_NK[0] / 50
    rule = FocalRule(0.25, 1.5, 0.1)
    wide_NK = logits_NK.repeat_interleave(2, dim=1).requires_grad_()
    assert gradcheck(lambda part_NK: native("focal_loss", part_NK[:, ::2], classes_N, rule), wide_NK, fast_mode=True)


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (1, 1)])
def test_the_focal_loss_of_nothing_is_zero(shape):
    """No rows or no classes sum to zero, and their gradient is empty; one answer is its own sum."""
    logits_NK = torch.zeros(shape, requires_grad=True)
    total = native("focal_loss", logits_NK, torch.full((shape[0],), -1), FocalRule())
    assert total.item() == pytest.approx(0.75 * 0.5**1.5 * np.log(2) if logits_NK.numel() else 0.0)
    assert torch.autograd.grad(total, logits_NK)[0].shape == shape
