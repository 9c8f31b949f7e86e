"""The native kernels beside the operations that people use today: a line each, in turns, with its bar.

Ours are called as the PyTorch backend calls them (`backends.torch_impl.kernels.native`). TensorFlow cannot share a
process with torch: its NMS is timed by a child that answers in turns. `--device cuda` times the CUDA bodies beside the
frameworks' own (`make gpu-check`).
"""

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO, cast

import numpy as np
import torch
from pycocotools import mask as coco
from timing import best_of
from torch.nn.functional import one_hot
from torchvision.models.detection._utils import Matcher
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.ops import batched_nms, box_iou, roi_align, sigmoid_focal_loss

from backends.torch_impl.kernels import native
from backends.torch_impl.kernels.rules import Candidates, FocalRule, MatchRule, NmsRule, PoolRule, RoIs
from backends.torch_impl.kernels.shapes import pack_polygons

ROUNDS = 9
SEED = 4
BOXES, MOST = 6000, 1000
"""Boxes before NMS, and how many it keeps at most."""
MATCH = MatchRule(0.7, 0.3, keep="ties")

Call = Callable[[], object]
Pool = Callable[[], torch.Tensor]
Timer = Callable[[Call], float]


@dataclass(frozen=True)
class Row:
    """One comparison."""

    title: str
    ours: Call | None
    theirs: Call | None
    """None: what the child times under `title`."""
    peer: str
    bar: float
    """How many times as fast as its peer ours should be."""


def boxes_of(count: int, side: float = 800.0) -> torch.Tensor:
    """Boxes as proposals are: many about each of forty objects, float32 [count, 4]."""
    generator = torch.Generator().manual_seed(SEED)
    middles_40 = torch.rand(40, 2, generator=generator) * side
    halves_40 = torch.exp(torch.randn(40, 2, generator=generator) * 0.6 + 3.5)
    which_N = torch.randint(40, (count,), generator=generator)
    middle_N2 = middles_40[which_N] + torch.randn(count, 2, generator=generator) * 6
    half_N2 = halves_40[which_N] * (0.7 + 0.7 * torch.rand(count, 2, generator=generator))
    return torch.cat((middle_N2 - half_N2, middle_N2 + half_N2), 1)


def anchors_of_coco() -> torch.Tensor:
    """Anchors of an image of 800 × 1088 on five levels, three a position, float32 [217413, 4]: 50 objects meet them."""
    parts = []
    for stride, size in zip((4, 8, 16, 32, 64), (32, 64, 128, 256, 512), strict=True):
        rows, columns = -(-800 // stride), -(-1088 // stride)
        y_HW, x_HW = torch.meshgrid(torch.arange(rows) * stride, torch.arange(columns) * stride, indexing="ij")
        middle_N2 = torch.stack((x_HW, y_HW), -1).reshape(-1, 1, 2).float()
        half_32 = torch.tensor([(size * 0.7, size * 1.4), (size, size), (size * 1.4, size * 0.7)]) / 2
        parts.append(torch.cat((middle_N2 - half_32, middle_N2 + half_32), -1).reshape(-1, 4))
    return torch.cat(parts)


def iou_rows(device: torch.device) -> Iterator[Row]:
    """IoU and matching of 50 objects with 217,413 anchors."""
    objects_M4, anchors_N4 = boxes_of(50).to(device), anchors_of_coco().to(device)
    matcher = Matcher(0.7, 0.3, allow_low_quality_matches=True)
    yield Row(
        f"box IoU, 50 × {len(anchors_N4):,}",
        lambda: native.box_iou(objects_M4, anchors_N4),
        lambda: box_iou(objects_M4, anchors_N4),
        "torchvision",
        10,
    )
    yield Row(
        f"fused IoU and matching, 50 × {len(anchors_N4):,}",
        lambda: native.match(objects_M4[None], anchors_N4, MATCH),
        lambda: matcher(box_iou(objects_M4, anchors_N4)),
        "torchvision's box_iou and Matcher",
        10,
    )


def nms_rows(device: torch.device) -> Iterator[Row]:
    """NMS of one image's proposals, sorting included on both sides."""
    boxes_N4 = boxes_of(BOXES).to(device)
    generator = torch.Generator().manual_seed(SEED)
    scores_N = torch.rand(BOXES, generator=generator).to(device)
    groups_N = torch.randint(5, (BOXES,), generator=generator).to(device)

    def ours(groups: torch.Tensor) -> object:
        return native.nms(Candidates(boxes_N4[None], scores_N[None], groups[None]), NmsRule(0.7, MOST))

    def theirs() -> object:
        return batched_nms(boxes_N4, scores_N, groups_N, 0.7)[:MOST]

    title = f"NMS, {MOST:,} of {BOXES:,} clustered boxes"
    yield Row(f"{title}, 5 groups", lambda: ours(groups_N), theirs, "torchvision's batched_nms", 5)
    alike_N = torch.zeros_like(groups_N)
    yield Row(f"{title}, 1 group", lambda: ours(alike_N), None, "TensorFlow's combined_non_max_suppression", 1)


def mask_rows(device: torch.device) -> Iterator[Row]:
    """Mask targets of 256 RoIs from polygons, and 100 masks pasted into an image."""
    rng = np.random.default_rng(SEED)
    side, rois = 28, 256
    boxes_R4 = boxes_of(rois).numpy().astype(np.float64)
    outlines = [_outline(rng, box) for box in boxes_R4]
    scale_R2 = side / np.maximum(boxes_R4[:, 2:] - boxes_R4[:, :2], 1.0)
    polygons = pack_polygons([(outline.reshape(-1),) for outline in outlines]).to(device)
    objects_R, rois_R4 = torch.arange(rois, device=device), torch.from_numpy(boxes_R4).to(device)

    def theirs() -> object:
        return [
            coco.decode(coco.merge(coco.frPyObjects([((outline - box[:2]) * scale).reshape(-1).tolist()], side, side)))
            for outline, box, scale in zip(outlines, boxes_R4, scale_R2, strict=True)
        ]

    yield Row(
        f"polygons to mask targets, {rois} RoIs of {side} × {side}",
        lambda: native.polygon_targets(polygons, objects_R, rois_R4, side),
        theirs, "pycocotools", 3,
    )  # fmt: skip
    masks_NSS, boxes_N4 = torch.rand(100, 28, 28, device=device), boxes_of(100).to(device).clamp(0, 799)
    yield Row(
        "mask paste, 100 of 28 × 28 into 800 × 1333",
        lambda: native.paste_masks(masks_NSS, boxes_N4, (800, 1333)),
        lambda: paste_masks_in_image(masks_NSS[:, None], boxes_N4, (800, 1333)) > 0.5,
        "torchvision", 1,
    )  # fmt: skip


def _outline(rng: np.random.Generator, box: np.ndarray) -> np.ndarray:
    """A wavy outline of 20 to 200 vertices about a box's middle, float64 [V, 2]."""
    angle_V = np.linspace(0, 2 * np.pi, rng.integers(20, 200), endpoint=False)
    radius_V = 0.42 + 0.08 * np.sin(angle_V * rng.integers(2, 9))
    middle_2, size_2 = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    return middle_2 + size_2 * radius_V[:, None] * np.stack((np.cos(angle_V), np.sin(angle_V)), 1)


def pooling_rows(device: torch.device) -> Iterator[Row]:
    """RoIAlign over four levels of an image of 800 × 1344, forward and with backward."""
    for rois, bins in ((1000, 7), (256, 14)):
        ours, theirs = poolings(device, rois, bins)
        title = f"RoIAlign, {rois} RoIs of {bins} × {bins}, 256 channels"
        yield Row(f"{title}, forward", without_gradient(ours), without_gradient(theirs), "torchvision", 1)
        yield Row(f"{title}, forward and backward", backward_of(ours), backward_of(theirs), "torchvision", 1)


def poolings(device: torch.device, rois: int, bins: int) -> tuple[Pool, Pool]:
    """Ours and torchvision's, whose RoIs are split by level beforehand."""
    scales = tuple(1 / (4 << level) for level in range(4))
    features = [torch.randn(1, 256, 200 >> level, 336 >> level, device=device) for level in range(4)]
    for feature in features:
        feature.requires_grad_()
    boxes_R4 = boxes_of(rois).to(device)
    side_R = (boxes_R4[:, 2:] - boxes_R4[:, :2]).prod(1).sqrt()
    level_R = (4 + torch.log2(side_R / 224 + 1e-6)).floor().clamp(2, 5).long() - 2
    image_R = torch.zeros_like(level_R)
    parts = [torch.cat((image_R[:, None].float(), boxes_R4), 1)[level_R == level] for level in range(4)]

    def ours() -> torch.Tensor:
        return native.roi_align(features, RoIs(boxes_R4, image_R, level_R), PoolRule(scales, bins, 2))

    def theirs() -> torch.Tensor:
        triples = zip(features, parts, scales, strict=True)
        return torch.cat([roi_align(feature, part, bins, scale, 2) for feature, part, scale in triples])

    return ours, theirs


def without_gradient(pool: Pool) -> Call:
    """The forward alone."""
    return torch.no_grad()(pool)


def backward_of(pool: Pool) -> Call:
    """Forward and backward."""
    return lambda: pool().sum().backward()


def loss_rows(device: torch.device) -> Iterator[Row]:
    """Focal loss of EfficientDet-D0's outputs for two images of 512 px."""
    count, classes = 2 * 49_104, 90
    logits_NK = torch.randn(count, classes, device=device).sub_(4).requires_grad_()
    class_N = torch.full((count,), -1, dtype=torch.int32, device=device)
    class_N[::500] = 7

    def ours() -> None:
        native.focal_loss(logits_NK, class_N, FocalRule()).backward()

    def theirs() -> None:
        targets_NK = one_hot(class_N.long() + 1, classes + 1)[:, 1:].float()
        sigmoid_focal_loss(logits_NK, targets_NK, 0.25, 1.5, "sum").backward()

    yield Row(f"focal loss, {count:,} × {classes}, forward and backward", ours, theirs, "torchvision", 1)


class Child:
    """TensorFlow in a process of its own: a call for every line it reads, answered with its seconds."""

    def __init__(self, boxes: Path) -> None:
        script = Path(__file__).with_name("kernels_tensorflow.py")
        command = [sys.executable, str(script), str(boxes), str(MOST)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._asked, self._answers = cast("TextIO", self._process.stdin), cast("TextIO", self._process.stdout)

    def seconds(self) -> float:
        """One call."""
        print(file=self._asked, flush=True)
        return float(self._answers.readline())

    def close(self) -> None:
        """Let it end."""
        self._process.communicate()


def on(device: torch.device) -> Timer:
    """A timer that waits for the device after every call."""
    if device.type == "cpu":
        return best_of

    def waited(call: Call) -> float:
        def complete() -> None:
            call()
            torch.cuda.synchronize()

        return best_of(complete)

    return waited


def compare(row: Row, timer: Timer, child: Child | None) -> None:
    """Print a row's line: seconds, ratio, what it should be, and by how much it is missed."""
    theirs = child.seconds if row.theirs is None and child else lambda: timer(row.theirs)
    timer(row.ours), theirs()
    pairs = [(timer(row.ours), theirs()) for _ in range(ROUNDS)]
    our_s, their_s = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratios = sorted(theirs / ours for ours, theirs in pairs)
    ratio = statistics.median(ratios)
    verdict = "" if ratio >= row.bar else f", missed by {100 * (1 - ratio / row.bar):.0f} %"
    print(
        f"{row.title}: {1000 * our_s:.2f} ms, {row.peer} {1000 * their_s:.2f} ms ({ratio:.1f} ×, {ratios[0]:.1f} to "
        f"{ratios[-1]:.1f} over {ROUNDS} rounds; should be {row.bar:g} ×{verdict})",
        flush=True,
    )


def matching_memory() -> int:
    """Bytes that matching needs at its peak beyond its inputs, measured by the system (Linux)."""
    objects_M4, anchors_N4 = boxes_of(50), anchors_of_coco()
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = _status("VmRSS")
    native.match(objects_M4[None], anchors_N4, MATCH)
    return _status("VmHWM") - before


def _status(key: str) -> int:
    (found,) = re.findall(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return 1024 * int(found)


def main() -> None:
    """Print a line for each comparison."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--only", default="", help="a part of the titles to measure")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    parts = (iou_rows, nms_rows, mask_rows, pooling_rows, loss_rows)
    rows = [row for part in parts for row in part(device) if arguments.only in row.title]
    if device.type == "cuda":
        for row in rows:
            if row.theirs:
                compare(row, on(device), None)
        return
    print(f"extra memory of fused matching: {matching_memory() / 2**20:.1f} MiB (should be under 10)", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        boxes = Path(folder) / "boxes.npy"
        np.save(boxes, boxes_of(BOXES).numpy())
        child = Child(boxes)
        for row in rows:
            compare(row, best_of, child)
        child.close()


if __name__ == "__main__":
    main()
