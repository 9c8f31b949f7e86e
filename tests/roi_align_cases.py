"""Pyramids in every memory order, RoIs of every kind, and the native calls on them, for the tests of RoIAlign."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from hypothesis import strategies as st
from kernel_calls import Runner
from kernel_oracles.roi_align import Array, Pooling, Regions
from numpy.lib.stride_tricks import as_strided

Layout = Literal["planes", "channels last", "every second column", "unaligned"]
LAYOUTS: tuple[Layout, ...] = ("planes", "channels last", "every second column", "unaligned")
MARGIN = 70
SPECIAL = (0.0, -1.0, 3.0, 1e-30, 6000.0, 1e30, float("inf"), float("-inf"), float("nan"))


@dataclass
class Level:
    """A level's features amid NaN, so that what is read beside them shows in the result."""

    room: Array
    """Memory from the first feature on; contiguous, which is what kernels are given."""
    view: Array
    """[B, C, H, W]."""

    def beside(self) -> Array:
        """What stands in memory between and behind the features."""
        outside = np.ones(len(self.room), dtype=bool)
        size = self.room.itemsize
        as_strided(outside, self.view.shape, [stride // size for stride in self.view.strides])[...] = False
        return self.room[outside]


def level_of(shape: tuple[int, int, int, int], kind: Any, layout: Layout) -> Level:
    """Features of zeros in memory of their own."""
    images, channels, rows, columns = shape
    step = 2 if layout == "every second column" else 1
    strides = [channels * rows * columns * step, rows * columns * step, columns * step, step]
    if layout == "channels last":
        strides = [channels * rows * columns, 1, columns * channels, channels]
    memory = np.full(images * strides[0] + 2 * MARGIN + 1, np.nan, dtype=kind)
    room = memory[MARGIN + (layout == "unaligned") :]
    view = as_strided(room, shape, [stride * memory.itemsize for stride in strides])
    view[...] = 0
    return Level(room, view)


@dataclass(frozen=True)
class Case:
    """What forward and backward are called with; features come after it."""

    shapes: list[tuple[int, int, int, int]]
    layout: Layout
    images: int
    channels: int
    regions: Regions
    pooling: Pooling
    channels_last: bool
    seed: int

    @property
    def kind(self) -> Any:
        """float32 or float64."""
        return self.regions.rois_R4.dtype

    @property
    def tolerance(self) -> float:
        """Error allowed, relative to the largest sum of magnitudes."""
        return 1e-6 if self.kind == np.float32 else 1e-13

    def random(self, *shape: int) -> Array:
        """Normal values of the case's type, the same at every call."""
        return np.random.default_rng(self.seed).normal(size=shape).astype(self.kind)

    def features(self) -> list[Level]:
        """Random features."""
        levels = [level_of(shape, self.kind, self.layout) for shape in self.shapes]
        for level, shape in zip(levels, self.shapes, strict=True):
            level.view[...] = self.random(*shape)
        return levels

    def upstream(self) -> Array:
        """Random gradients of what is pooled, [R, C, bins, bins]."""
        return self.random(len(self.regions.rois_R4), self.channels, self.pooling.bins, self.pooling.bins)

    def arguments(self, levels: Sequence[Level]) -> tuple[Any, ...]:
        """All that both functions take before `out` or `upstream`."""
        shapes_L2 = np.array([level.view.shape[2:] for level in levels], np.int64).reshape(-1, 2)
        strides = [[stride // level.view.itemsize for stride in level.view.strides] for level in levels]
        rule, regions = self.pooling, self.regions
        return (
            *([level.room for level in levels], shapes_L2, np.array(strides, np.int64).reshape(-1, 4)),
            *(np.array(regions.scales, np.float64), len(levels), self.images, self.channels),
            *(int(self.kind == np.float64), regions.rois_R4, regions.images_R, regions.levels_R, len(regions.rois_R4)),
            *(rule.bins, rule.ratio, int(rule.aligned), rule.min_side, int(self.channels_last)),
        )


def native_roi_align(runner: Runner, case: Case, levels: Sequence[Level]) -> Array:
    """The kernel's answer as [R, C, bins, bins]."""
    bins, count = case.pooling.bins, len(case.regions.rois_R4)
    shape = (count, bins, bins, case.channels) if case.channels_last else (count, case.channels, bins, bins)
    out = np.full(shape, 7, dtype=case.kind)
    runner.run("roi_align", *case.arguments(levels), out)
    return np.moveaxis(out, 3, 1) if case.channels_last else out


def native_roi_align_backward(runner: Runner, case: Case, levels: Sequence[Level], upstream_RCBB: Array) -> None:
    """Adds the kernel's gradients to the levels; what stands beside them has to stay."""
    upstream = np.ascontiguousarray(np.moveaxis(upstream_RCBB, 1, 3) if case.channels_last else upstream_RCBB)
    runner.run("roi_align_backward", *case.arguments(levels), upstream)
    for level in levels:
        assert np.isnan(level.beside()).all()


def for_threads(answer: Callable[[], bytes]) -> list[bytes]:
    """What one, two and five threads of the CPU library answer; afterwards it has as many as there are CPUs."""
    library = Runner("cpu").library
    answers = []
    try:
        for threads in (1, 2, 5):
            library.set_threads(threads)
            answers.append(answer())
    finally:
        library.set_threads(len(os.sched_getaffinity(0)))
    return answers


def plain_regions(rng: np.random.Generator, count: int, levels: int, kind: Any, *, images: int = 1) -> Regions:
    """RoIs in and about an image of 100 x 100 pixels, whose levels have strides 4, 8 and so on."""
    middle_R2, half_R2 = rng.uniform(-5, 105, (count, 2)), rng.exponential(18, (count, 2))
    rois_R4 = np.concatenate((middle_R2 - half_R2, middle_R2 + half_R2), axis=1).astype(kind)
    images_R, levels_R = (rng.integers(most, size=count, dtype=np.int32) for most in (images, max(levels, 1)))
    return Regions(rois_R4, images_R, levels_R, [1 / (4 << level) for level in range(levels)])


def spoiled(rng: np.random.Generator, regions: Regions) -> Regions:
    """The same with corners that are no numbers, no area or no end, and levels and images that are not there."""
    rois_R4 = regions.rois_R4.copy()
    broken_R4 = rng.random(rois_R4.shape) < 0.2
    rois_R4[broken_R4] = rng.choice(np.array(SPECIAL, dtype=rois_R4.dtype), size=int(broken_R4.sum()))
    pointlike_R = rng.random(len(rois_R4)) < 0.2
    rois_R4[pointlike_R, 2:] = rois_R4[pointlike_R, :2]
    indices = []
    for column in (regions.images_R, regions.levels_R):
        away = rng.choice(np.array([-1, 2, 100, -(2**31), 2**31 - 1], dtype=np.int32), size=len(column))
        indices.append(np.where(rng.random(len(column)) < 0.15, away, column).astype(np.int32))
    return Regions(rois_R4, indices[0], indices[1], regions.scales)


@st.composite
def cases(draw: Any) -> Case:
    """Sizes about the edges of vectors and blocks, all layouts, and broken RoIs among sound ones."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels, images = draw(st.integers(0, 3)), draw(st.sampled_from((0, 1, 2, 2)))
    channels = draw(st.sampled_from((0, 1, 2, 3, 4, 5, 7, 8, 9, 17, 31, 33, 64, 65, 130)))
    kind = draw(st.sampled_from((np.float32, np.float64)))
    count = draw(st.sampled_from((0, 1, 2, 5)))
    bins = draw(st.sampled_from((1, 2, 3, 7) if channels < 20 else (1, 3)))
    sides = st.sampled_from((0, 1, 2, 3, 7, 8, 9, 15, 25))
    regions = plain_regions(rng, count, levels, kind, images=max(images, 1))
    return Case(
        shapes=[(images, channels, draw(sides), draw(sides)) for _ in range(levels)],
        layout=draw(st.sampled_from(LAYOUTS)),
        images=images,
        channels=channels,
        regions=spoiled(rng, regions) if draw(st.booleans()) else regions,
        pooling=Pooling(bins, draw(st.integers(0, 3)), draw(st.booleans()), draw(st.sampled_from((0.0, 0.5, 1.0)))),
        channels_last=draw(st.booleans()),
        seed=int(rng.integers(2**31)),
    )


def detector_case(*, kind: Any = np.float32, layout: Layout = "planes", channels_last: bool = False) -> Case:
    """Four levels of a small image with many channels and RoIs of every size."""
    rng = np.random.default_rng(3)
    shapes = [(2, 136, 25 >> level, 25 >> level) for level in range(4)]
    regions = plain_regions(rng, 24, 4, kind, images=2)
    return Case(shapes, layout, 2, 136, regions, Pooling(7, 2, False, 1.0), channels_last, 5)
