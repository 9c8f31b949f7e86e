"""Small Mask R-CNN trials for the tests of the torch backend: tiny images, a ten-layer trunk, few RoIs."""

import contextlib
import dataclasses
import json
from unittest import mock

import torch

from backends.torch_impl.maskrcnn import session
from backends.torch_impl.maskrcnn.evaluate import open_eval
from backends.torch_impl.maskrcnn.infer import open_infer
from backends.torch_impl.maskrcnn.train import open_train
from harness.api import Context, Trial

OPEN = {"train": open_train, "eval": open_eval, "infer": open_infer}
SMALL = {"backbone": "resnet10", "fpn_channels": 16, "loader_threads": 1}
FEW = {"roi_samples": 32, "rpn_samples": 64, "rpn_pre_nms_train": 100, "rpn_pre_nms_test": 100, "rpn_post_nms_test": 60}
"""The box head then has 32 RoIs an image instead of 512, which is where a step of this size spends its time."""


def trial(phase="train", options=None, **axes):
    """A trial on tiny images; options and axes win over the small defaults."""
    return Trial(
        backend="torch_maskrcnn", phase=phase, **{"image_size": 64, **axes}, options={**SMALL, **(options or {})}
    )


@contextlib.contextmanager
def opened(wanted, train="", val="", rank=0, **config):
    """The work of a trial on one rank, closed afterwards; `config` changes fields of the model's configuration."""
    make = session.config_of

    def few(*args):
        return dataclasses.replace(make(*args), **{**FEW, **config})

    with mock.patch.object(session, "config_of", few):
        work = OPEN[wanted.phase](wanted, Context(rank, rank, wanted.world_size, train, val))
    with contextlib.closing(work):
        yield work


def take(work, count):
    """The first batches, loader closed."""
    with contextlib.closing(work.batches()) as batches:
        return [next(batches) for _ in range(count)]


def losses(work, count):
    """What `read` says of each of the first steps."""
    return [dict(work.read(work.step(batch))) for batch in take(work, count)]


def record_gradients(work):
    """A list that receives every update's gradients by parameter name, just before the optimiser takes them."""
    seen = []
    named = dict(work._session.model.named_parameters())

    def copy(*_):
        seen.append({name: value.grad.clone() for name, value in named.items() if value.grad is not None})

    work._solver.optimizer.register_step_pre_hook(copy)
    return seen


@contextlib.contextmanager
def plain_convolutions():
    """Torch's own convolutions, which treat each image of a batch alike.

    oneDNN picks another kernel for another batch size, whose rounding differs by up to 5e-6 of a gradient's maximum
    and would hide what these tests look for.
    """
    torch.backends.mkldnn.enabled = False
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = True


def worst(found, expected):
    """The largest difference of any tensor, relative to that tensor's absolute maximum."""
    assert found.keys() == expected.keys()
    return max(
        float((found[name] - expected[name]).abs().max() / expected[name].abs().max().clamp(min=1e-12))
        for name in expected
    )


def parameters(work):
    """Copies of the trainable parameters by name."""
    return {
        name: value.detach().clone() for name, value in work._session.model.named_parameters() if value.requires_grad
    }


def everything(work):
    """All detections of a pass over the shard, by image id."""
    return {found.image_id: found for batch in work.batches() for found in work.detections(work.step(batch))}


def confident(model, scale=100.0):
    """Make a random model sure of itself, so that it detects: class scores spread out, boxes move."""
    with torch.no_grad():
        model.roi_heads.box_predictor.cls_score.weight.mul_(scale)
        model.roi_heads.box_predictor.bbox_pred.weight.mul_(scale)


def crowds_only(folder):
    """A set of two images, one without objects and one with a crowd alone."""
    from PIL import Image

    (folder / "images").mkdir()
    images = [{"id": number, "file_name": f"{number}.png", "width": 64, "height": 48} for number in (1, 2)]
    for image in images:
        Image.new("RGB", (64, 48), (200, 30, 90)).save(folder / "images" / image["file_name"])
    runs = {"size": [48, 64], "counts": [100, 900, 2072]}
    crowd = {
        "id": 9,
        "image_id": 2,
        "category_id": 7,
        "bbox": [2, 4, 19, 48],
        "area": 900,
        "iscrowd": 1,
        "segmentation": runs,
    }
    content = {"images": images, "annotations": [crowd], "categories": [{"id": 7, "name": "seven"}]}
    (folder / "instances.json").write_text(json.dumps(content))
    return str(folder)
