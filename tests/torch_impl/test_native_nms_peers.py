"""The native NMS beside torchvision's own."""

from typing import Any

import numpy as np
import pytest
import torch
from kernel_calls import RUNNERS, Runner, clustered_boxes
from numpy.typing import NDArray
from torchvision.ops import batched_nms

Array = NDArray[Any]
pytestmark = pytest.mark.torch
COUNT = 700


def native(boxes_K4: Array, groups_K: Array, *, one: float, iou: float, runner: Runner = RUNNERS[0]) -> list[int]:
    """Indices that stay, of boxes that come best first."""
    kept_K, count_1 = np.empty(len(boxes_K4), np.int32), np.empty(1, np.int32)
    workspace = np.empty(runner.size("nms", 1, len(boxes_K4), len(boxes_K4)), np.uint8)
    inputs = (boxes_K4, groups_K, None, 1, len(boxes_K4), one, iou, len(boxes_K4))
    runner.run("nms", *inputs, kept_K, count_1, workspace)
    return [int(index) for index in kept_K[: count_1[0]]]


def torchvisions(boxes_K4: Array, groups_K: Array, iou: float) -> list[int]:
    """The same by torchvision."""
    scores_K = torch.arange(len(boxes_K4), 0, -1, dtype=torch.float32)
    kept = batched_nms(torch.from_numpy(boxes_K4), scores_K, torch.from_numpy(groups_K).long(), iou)
    return [int(index) for index in kept]


def below(limit: float) -> float:
    """The greatest float32 not above a limit: above the one is above the other, for every float32."""
    rounded = np.float32(limit)
    return float(rounded if rounded <= limit else np.nextafter(rounded, np.float32(-np.inf)))


def scene(seed: int, groups: int) -> tuple[Array, Array]:
    """Boxes and groups."""
    rng = np.random.default_rng(seed)
    return clustered_boxes(rng, COUNT, centres=30), rng.integers(groups, size=COUNT).astype(np.int32)


@pytest.mark.parametrize("groups", [1, 5, 80])
@pytest.mark.parametrize("iou", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("runner", RUNNERS[:2], ids=lambda runner: runner.name)
def test_what_stays_is_what_stays_in_torchvision(runner: Runner, groups: int, iou: float) -> None:
    """Far edges: the same boxes in the same order."""
    # torchvision leaves group by group only above 1,000 boxes, and moves the groups apart below, which rounds
    boxes_K4, groups_K = (np.concatenate((part, part[::-1])) for part in scene(groups, groups))
    assert native(boxes_K4, groups_K, one=0.0, iou=below(iou), runner=runner) == torchvisions(boxes_K4, groups_K, iou)


@pytest.mark.parametrize("groups", [1, 5])
def test_legacy_boxes_are_those_a_pixel_wider(groups: int) -> None:
    """Last pixels inside: what torchvision says of the far edges, where adding the pixel does not round."""
    boxes_K4, groups_K = scene(groups, groups)
    boxes_K4 = np.rint(boxes_K4)
    edges_K4 = boxes_K4 + np.array([0, 0, 1, 1], np.float32)
    kept = native(boxes_K4, groups_K, one=1.0, iou=0.5)
    assert kept == torchvisions(edges_K4, groups_K, 0.5)
    assert kept != native(boxes_K4, groups_K, one=0.0, iou=0.5)
