"""The native RoIAlign against torchvision's, forward and backward, on the tensors' own memory."""

import numpy as np
import pytest
import torch
from kernel_calls import Runner
from kernel_oracles.roi_align import Pooling, Regions, roi_align_backward
from roi_align_cases import Case, Level, native_roi_align, native_roi_align_backward
from torchvision.ops import roi_align

pytestmark = pytest.mark.torch
CPU = Runner("cpu")
STRIDES = (4, 8, 16, 32)


def pyramid(kind, memory_format):
    """Four levels of two images of 256 pixels, 72 channels."""
    generator = torch.Generator().manual_seed(4)
    return [
        torch.randn(2, 72, 256 // stride, 256 // stride, generator=generator, dtype=kind)
        .to(memory_format=memory_format)
        .requires_grad_()
        for stride in STRIDES
    ]


def regions(kind):
    """RoIs of every size, some over the border and some without area, each with a level."""
    rng = np.random.default_rng(6)
    middle_R2, half_R2 = rng.uniform(-8, 264, (60, 2)), rng.exponential(30, (60, 2))
    half_R2[::7] = 0
    rois_R4 = np.concatenate((middle_R2 - half_R2, middle_R2 + half_R2), axis=1).astype(kind)
    images_R, levels_R = (rng.integers(most, size=60, dtype=np.int32) for most in (2, 4))
    return Regions(rois_R4, images_R, levels_R, [1 / stride for stride in STRIDES])


def torchvisions(features, where, pooling):
    """Pooled level by level, [R, C, bins, bins]."""
    index_R1 = torch.from_numpy(where.images_R)[:, None].to(features[0].dtype)
    rois_R5 = torch.cat((index_R1, torch.from_numpy(where.rois_R4)), 1)
    level_R = torch.from_numpy(where.levels_R)
    pooled = features[0].new_empty(len(rois_R5), features[0].shape[1], pooling.bins, pooling.bins)
    for level, feature in enumerate(features):
        part = roi_align(
            feature, rois_R5[level_R == level], pooling.bins, where.scales[level], pooling.ratio or -1, pooling.aligned
        )
        pooled = pooled.index_put((level_R == level,), part)
    return pooled


def levels_of(tensors):
    """What native calls read and write: the tensors' own memory."""
    values = [tensor.detach() for tensor in tensors]
    return [Level(value.as_strided((value.numel(),), (1,)).numpy(), value.numpy()) for value in values]


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize(("bins", "ratio"), [(7, 2), (14, 2), (7, 0), (3, 3)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_native_roi_align_equals_torchvisions(kind, memory_format, bins, ratio, aligned):
    """Both ways, to 1e-6 of the largest value, in either memory order and whatever the samples of a bin.

    Where many samples fall on one pixel, torchvision's own float32 sums are farther than that from the float64 sums:
    by as much its gradients may differ more.
    """
    features = pyramid(kind, memory_format)
    where = regions(np.float32 if kind == torch.float32 else np.float64)
    pooling = Pooling(bins, ratio, aligned=aligned, min_side=0.0 if aligned else 1.0)
    expected = torchvisions(features, where, pooling)
    case = Case([], "planes", 2, 72, where, pooling, memory_format == torch.channels_last, 0)
    actual = native_roi_align(CPU, case, levels_of(features))
    largest = expected.detach().abs().max().item()
    np.testing.assert_allclose(actual, expected.detach().numpy(), rtol=0, atol=1e-6 * largest)

    upstream = torch.randn(expected.shape, generator=torch.Generator().manual_seed(7), dtype=kind)
    expected.backward(upstream)
    gradients = [torch.zeros_like(feature) for feature in features]
    native_roi_align_backward(CPU, case, levels_of(gradients), upstream.numpy())
    exact = roi_align_backward([tuple(feature.shape) for feature in features], where, pooling, upstream.numpy())
    for feature, gradient, sums in zip(features, gradients, exact, strict=True):
        theirs = feature.grad.numpy()
        own = np.abs(theirs - sums).max()
        np.testing.assert_allclose(gradient.numpy(), theirs, rtol=0, atol=1e-6 * np.abs(sums).max() + own)
        assert np.abs(gradient.numpy() - sums).max() <= 1e-6 * np.abs(sums).max()
