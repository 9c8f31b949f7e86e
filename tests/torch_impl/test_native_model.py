"""The whole model on native kernels against the same model on torch's own operations."""

import numpy as np
import pytest
import torch
from torch_runs import FEW, confident, losses, opened, trial, worst

from backends.torch_impl.kernels import FRAMEWORK, NATIVE
from backends.torch_impl.maskrcnn.config import MaskRCNNConfig
from backends.torch_impl.maskrcnn.model import MaskRCNN, Sampler, Target
from backends.torch_impl.maskrcnn.session import in_channels_last

pytestmark = pytest.mark.torch

FLAVOURS = pytest.mark.parametrize("flavour", ["nvidia", "torchvision"])
SIZES_B2 = torch.tensor([[96, 128], [80, 100]])


def pair(flavour, **overrides):
    """The same small model twice: on native kernels, and on torch's operations."""
    few = {**FEW, "score_threshold": 0.2, **overrides}
    config = MaskRCNNConfig.preset(flavour, num_classes=4, backbone="resnet10", fpn_channels=16, norm="batch", **few)
    torch.manual_seed(0)
    framework, native = MaskRCNN(config, FRAMEWORK), MaskRCNN(config, NATIVE)
    with torch.no_grad():
        for layer in (framework.rpn.head.cls_logits, framework.rpn.head.bbox_pred):
            layer.weight.mul_(20)
    confident(framework, 30.0)
    native.load_state_dict(framework.state_dict())
    return in_channels_last(native), in_channels_last(framework)


def images():
    """Two images of noise that has edges."""
    blocks = np.random.default_rng(0).integers(0, 256, (2, 12, 16, 3), dtype=np.uint8)
    return torch.from_numpy(blocks.repeat(8, axis=1).repeat(8, axis=2))


def targets(*, bitmaps):
    """Objects with polygons, or with bitmaps; the second image has none."""
    boxes_N4 = torch.tensor([[10.0, 12, 60, 70], [40, 5, 110, 50], [70, 60, 90, 90]])
    rings = [(np.array([x1, y1, x2, y1 + 5, x2 - 7, y2, x1 + 3, y2 - 2]),) for x1, y1, x2, y2 in boxes_N4.tolist()]
    masks_NHW = (torch.arange(3 * 96 * 128).reshape(3, 96, 128) % 7 < 4).to(torch.uint8)
    shapes = {"masks_NHW": masks_NHW} if bitmaps else {"polygons": rings}
    return [
        Target(boxes_N4, torch.tensor([1, 2, 3]), 7, **shapes),
        Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), 8),
    ]


def losses_and_gradients(model, wanted):
    """The five losses, and the gradient of their sum by parameter name."""
    model.zero_grad()
    found = model.train().losses(images(), SIZES_B2, wanted, Sampler(1, 2))
    torch.stack(list(found.values())).sum().backward()
    named = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
    return {name: loss.detach() for name, loss in found.items()}, named


@FLAVOURS
@pytest.mark.parametrize("bitmaps", [False, True])
def test_losses_and_gradients_are_the_frameworks(flavour, bitmaps):
    """Each loss within 1e-6, each gradient within 1e-4 of its largest value, for polygons and for bitmaps."""
    wanted = targets(bitmaps=bitmaps)
    (found, slopes), (expected, expected_slopes) = (losses_and_gradients(model, wanted) for model in pair(flavour))
    torch.testing.assert_close(found, expected, rtol=2e-6, atol=1e-6)
    assert all(loss > 0 for loss in expected.values())
    assert worst(slopes, expected_slopes) < 1e-4


@FLAVOURS
def test_detections_are_the_frameworks(flavour):
    """The same detections in the same order, scores within 1e-5; masks within 1e-4, as random heads amplify a digit."""
    native, framework = (model.eval() for model in pair(flavour))
    with torch.no_grad():
        for found, expected in zip(
            native.predict(images(), SIZES_B2), framework.predict(images(), SIZES_B2), strict=True
        ):
            assert len(expected.labels_N) > 10
            assert torch.equal(found.labels_N, expected.labels_N)
            torch.testing.assert_close(found.boxes_N4, expected.boxes_N4, rtol=1e-5, atol=1e-3)
            torch.testing.assert_close(found.scores_N, expected.scores_N, rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(found.masks_NSS, expected.masks_NSS, rtol=0, atol=1e-4)


@FLAVOURS
def test_pasted_masks_are_the_frameworks(flavour):
    """Masks of one model's detections cover the same pixels on either path, all but one in 100,000."""
    native, framework = (model.eval() for model in pair(flavour))
    with torch.no_grad():
        detected = framework.predict(images(), SIZES_B2)[0]
        found, expected = (model.paste(detected.masks_NSS, detected.boxes_N4, 96, 128) for model in (native, framework))
    assert 0 < int(expected.sum()) < expected.numel()
    assert int((found != expected).sum()) <= expected.numel() // 100_000


@FLAVOURS
def test_anchors_are_the_frameworks(flavour):
    """Bit for bit on every level, where the padded size is no multiple of the last stride too."""
    grids = [(24, 32), (12, 16), (6, 8), (3, 4), (2, 2)]
    levels = [model.rpn.make_anchors((96, 128), grids, torch.device("cpu")) for model in pair(flavour)]
    assert all(torch.equal(found, expected) for found, expected in zip(*levels, strict=True))


@FLAVOURS
def test_a_trial_trains_the_same_on_either_path(flavour, mini):
    """Two steps on the same images give the same losses, to 1e-5, from the options alone."""
    runs = []
    for kernels in ("native", "framework"):
        options = {"flavour": flavour, "kernels": kernels, "norm": "batch"}
        with opened(trial(options=options, batch_size_per_gpu=2), train=mini[0], val=mini[1]) as work:
            runs.append(losses(work, 2))
    for found, expected in zip(*runs, strict=True):
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)
