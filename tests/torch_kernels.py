"""Calls of the torch backend's native kernels, and their inputs as tensors.

With HARNESS_TEST_DEVICE=cuda the kernels run there and are still held to torch's operations on the CPU.
"""

import os
from dataclasses import fields, is_dataclass

import numpy as np
import torch
from kernel_calls import clustered_boxes

from backends.torch_impl.kernels import FRAMEWORK, NATIVE, AnchorGrid, Chosen, RoIs

DEVICE = torch.device(os.environ.get("HARNESS_TEST_DEVICE", "cpu"))


def native(name, *arguments):
    """What a native operation gives on the device under test, brought to the CPU."""
    return moved(getattr(NATIVE, name)(*(moved(argument, DEVICE) for argument in arguments)), torch.device("cpu"))


def framework(name, *arguments):
    """What torch's operations give on the CPU."""
    return getattr(FRAMEWORK, name)(*arguments)


def both(name, *arguments):
    """What native kernels and torch's operations give for the same call."""
    return native(name, *arguments), framework(name, *arguments)


def moved(value, device):
    """The same tensors, alone, in lists or in records, on a device; other values as they are."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, (list, tuple)):
        return type(value)(moved(each, device) for each in value)
    if is_dataclass(value):
        return type(value)(*(moved(getattr(value, field.name), device) for field in fields(value)))
    return device if isinstance(value, torch.device) else value


GRIDS = {
    "legacy": AnchorGrid("legacy", (4, 8), (32, 64), ((1, 0.5), (1, 1), (1, 2)), ((5, 7), (3, 4)), ((4, 4), (8, 8))),
    "torchvision": AnchorGrid(
        "torchvision", (4, 8), (32, 64), ((1, 0.5), (1, 1), (1, 2)), ((5, 7), (0, 4)), ((4, 4), (9, 7))
    ),
    "efficientdet": AnchorGrid(
        "efficientdet", (8, 16), (32.0, 64.0), ((1, 1), (1.4, 0.7), (0.7, 1.4)), ((5, 7), (3, 4)), ((8, 8), (16, 16)), 3
    ),
}


def made_choice(rng, grids=((3, 40), (2, 7), (4, 1)), batch=2):
    """Logits, deltas and anchors of three levels, and the best of each."""
    logits = [torch.from_numpy(rng.normal(size=(batch, n)).astype(np.float32)) for n, _ in map(sized, grids)]
    deltas = [torch.from_numpy(rng.normal(size=(batch, n, 4)).astype(np.float32)) for n, _ in map(sized, grids)]
    anchors = [torch.from_numpy(clustered_boxes(rng, n)) for n, _ in map(sized, grids)]
    top = [part.topk(k, dim=1) for part, (_, k) in zip(logits, map(sized, grids), strict=True)]
    return Chosen([each.indices for each in top], [each.values for each in top], deltas, anchors)


def sized(grid):
    """Anchors of a level, and how many are chosen."""
    return grid[0] * grid[1], grid[1]


def outlines(rng, objects, largest=40):
    """Polygons of up to three parts an object, crossing themselves and the image's border; every third object none."""

    def polygon():
        return rng.uniform(-20, 120, 2 * int(rng.integers(3, largest)))

    return [tuple(polygon() for _ in range(int(rng.integers(1, 4)))) if n % 3 < 2 else () for n in range(objects)]


def rois_of(rng, objects, count):
    """RoIs about the image, some without area, and their objects."""
    corner_R2 = rng.uniform(-10, 90, (count, 2)).astype(np.float32)
    side_R2 = rng.choice((0, 0.5, 7, 30, 90), (count, 2)).astype(np.float32)
    objects_R = torch.from_numpy(rng.integers(0, objects, count))
    return objects_R, torch.from_numpy(np.concatenate((corner_R2, corner_R2 + side_R2), axis=1))


def predicted(count, side=28):
    """Masks as a head predicts them, and boxes: inside, across the border, outside, without area, turned round."""
    rng = np.random.default_rng(6)
    logits = torch.from_numpy(rng.normal(0, 1, (count, 1, 5, 5)).astype(np.float32))
    masks_NSS = torch.nn.functional.interpolate(logits, size=(side, side), mode="bicubic").sigmoid()[:, 0]
    corner_N2, side_N2 = rng.uniform(-20, 90, (count, 2)), np.exp(rng.normal(3, 1, (count, 2)))
    boxes_N4 = np.concatenate((corner_N2, corner_N2 + side_N2), axis=1).astype(np.float32)
    special_N4 = np.array([[5, 6, 5, 6], [30, 40, 20, 10], [-400, -400, -300, -300], [0, 0, 119, 89]])[:count]
    boxes_N4[: len(special_N4)] = special_N4
    return masks_NSS, torch.from_numpy(boxes_N4)


SCALES = (1 / 4, 1 / 8, 1 / 16)


def pyramid(dtype=torch.float32, channels=5, **kwargs):
    """Random features of three levels and two images."""
    generator = torch.Generator().manual_seed(0)
    sides = [(24, 32), (12, 16), (6, 8)]
    return [torch.randn(2, channels, *side, generator=generator).to(dtype, **kwargs) for side in sides]


def pyramid_rois(count=40, dtype=torch.float32, seed=1):
    """RoIs of all levels and images: inside, across the border, far outside, without area, turned round."""
    rng = np.random.default_rng(seed)
    corner, side = rng.uniform(-30, 120, (count, 2)), np.exp(rng.normal(3, 1, (count, 2)))
    boxes = np.concatenate((corner, corner + side), axis=1)
    special = [[0, 0, 128, 96], [5, 5, 5, 5], [60, 50, 20, 30], [500, 500, 600, 600], [-90, -9, -40, 9], [0, 0, 1, 1]]
    boxes[: len(special)] = np.array(special)[:count]
    images, levels = rng.integers(0, 2, count), rng.integers(0, 3, count)
    return RoIs(torch.from_numpy(boxes[:count]).to(dtype), torch.from_numpy(images), torch.from_numpy(levels))


def answers(dtype=torch.float32, rows=70, classes=9):
    """Logits, some of them large, and true classes, some of them background or not counted."""
    rng = np.random.default_rng(0)
    logits_NK = torch.from_numpy(rng.normal(0, 4, (rows, classes))).to(dtype)
    logits_NK[0] = torch.linspace(-150, 150, classes)
    return logits_NK, torch.from_numpy(rng.integers(-2, classes, rows))
