"""Polygon targets: CPU body and emulated CUDA body against pycocotools and the data pipeline, to the bit."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_calls import RUNNERS, Runner, unaligned
from kernel_oracles.polygon_targets import Object, by_coco, by_numpy
from numpy.typing import NDArray

from harness.errors import KernelError

# pycocotools' compiled part is older than NumPy's copy keyword
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

EVERY_RUNNER = pytest.mark.parametrize("runner", RUNNERS, ids=lambda runner: runner.name)
WHOLE = np.array([[0.0, 0, 40, 30]])
SIDES = st.sampled_from((1, 2, 14, 28, 31, 32, 33, 65))

PLAIN = st.one_of(
    st.floats(-40, 100),  # partly outside
    st.integers(-20, 80).map(float),
    st.integers(-200, 800).map(lambda tenths: tenths / 10),  # halves and fifths lie on the fine grid
    st.floats(10, 11),  # tiny
)
WILD = st.one_of(PLAIN, st.floats(), st.sampled_from((1.9e8, 2.1e8, -2.1e8, 1e12, -1e300, float("nan"), float("inf"))))


def polygons(coordinate: st.SearchStrategy[float]) -> st.SearchStrategy[NDArray[np.float64]]:
    """Polygons [V, 2] that cross themselves, repeat points, and have too few of them."""
    points = st.lists(st.tuples(coordinate, coordinate), max_size=12)
    return points.map(lambda pairs: np.array(pairs, dtype=np.float64).reshape(-1, 2))


@st.composite
def scenes(draw: Any, coordinate: st.SearchStrategy[float]) -> tuple[list[Object], NDArray[np.float64]]:
    """Objects of no, one or several parts, and an RoI of each, some of them without width."""
    objects = draw(st.lists(st.lists(polygons(coordinate), max_size=3).map(tuple), max_size=4))
    boxes = draw(st.lists(st.tuples(*[coordinate] * 4), min_size=len(objects), max_size=len(objects)))
    return objects, np.array(boxes, dtype=np.float64).reshape(-1, 4)


def starts_of(lengths: Sequence[int]) -> NDArray[np.int64]:
    """Where each of several lists begins, and the end of all."""
    return np.cumsum([0, *lengths], dtype=np.int64)


def native(
    runner: Runner, objects: Sequence[Object], boxes_R4: NDArray[Any], sides: tuple[int, int], **changed: Any
) -> NDArray[np.uint8]:
    """The kernel's targets; RoI i shows object i unless `object_R` says otherwise."""
    parts = [part for polygons in objects for part in polygons]
    height, width = sides
    rois = len(boxes_R4)
    targets_RHW = unaligned(np.full((rois, height, width), 7, dtype=np.uint8))
    runner.run(
        "polygon_targets",
        np.concatenate([np.zeros((0, 2)), *parts]),
        starts_of([len(part) for part in parts]),
        starts_of([len(polygons) for polygons in objects]),
        np.asarray(changed.get("object_R", range(rois)), dtype=np.int32),
        boxes_R4,
        rois,
        height,
        width,
        changed.get("min_side", 1.0),
        targets_RHW,
        np.full(runner.size("polygon_targets", rois, height, width), 0xCD, dtype=np.uint8),
    )
    return targets_RHW


def star(rng: np.random.Generator, vertices: int, radius: float = 14) -> NDArray[np.float64]:
    """An outline about (20, 15), jagged as a hand's or as wild as noise."""
    angle_V = np.sort(rng.uniform(0, 2 * np.pi, vertices))
    radius_V = radius * rng.uniform(0.3, 1.2, vertices)
    return np.stack((20 + radius_V * np.cos(angle_V), 15 + radius_V * np.sin(angle_V)), axis=1)


@EVERY_RUNNER
@settings(max_examples=40, deadline=None)
@given(scene=scenes(PLAIN), height=SIDES, width=SIDES, min_side=st.sampled_from((0.1, 1.0)))
def test_targets_are_what_coco_draws(
    runner: Runner, scene: tuple[list[Object], NDArray[Any]], height: int, width: int, min_side: float
) -> None:
    """Bit for bit, outside the RoI, self-crossing, with repeated points and with too few of them."""
    objects, boxes_R4 = scene
    expected_RHW = by_coco(objects, boxes_R4, height, width, min_side)
    np.testing.assert_array_equal(native(runner, objects, boxes_R4, (height, width), min_side=min_side), expected_RHW)


@EVERY_RUNNER
@settings(max_examples=40, deadline=None)
@given(scene=scenes(WILD), side=SIDES)
def test_targets_are_those_of_the_data_pipeline(
    runner: Runner, scene: tuple[list[Object], NDArray[Any]], side: int
) -> None:
    """Coordinates that are huge, infinite or NaN are treated alike, in polygons and in RoIs."""
    objects, boxes_R4 = scene
    expected_RHW = by_numpy(objects, boxes_R4, side)
    np.testing.assert_array_equal(native(runner, objects, boxes_R4, (side, side)), expected_RHW)


@EVERY_RUNNER
@pytest.mark.parametrize("sides", [(112, 112), (500, 700), (700, 3)], ids=str)
def test_targets_of_any_size(runner: Runner, sides: tuple[int, int]) -> None:
    """Bits that do not fit a block's shared memory lie in the workspace, whatever stood there before."""
    rng = np.random.default_rng(2)
    objects = [(star(rng, 40), star(rng, 60) + 6), (star(rng, 5),)]
    boxes_R4 = np.array([[0.0, 0, 40, 30], [10, 12, 30, 20]])
    targets_RHW = native(runner, objects, boxes_R4, sides)
    np.testing.assert_array_equal(targets_RHW, by_coco(objects, boxes_R4, *sides))
    assert 0.1 < targets_RHW.mean() < 0.9


@EVERY_RUNNER
@pytest.mark.parametrize("vertices", [127, 128, 129, 4000])
def test_any_number_of_vertices(runner: Runner, vertices: int) -> None:
    """Outlines of more vertices than a block has threads are drawn whole."""
    objects = [(star(np.random.default_rng(vertices), vertices),)]
    np.testing.assert_array_equal(native(runner, objects, WHOLE, (28, 28)), by_coco(objects, WHOLE, 28, 28))


@EVERY_RUNNER
@pytest.mark.parametrize("parts", [2, 7, 8, 14, 15, 40])
def test_any_number_of_parts(runner: Runner, parts: int) -> None:
    """Parts are united, however many and however they overlap."""
    rng = np.random.default_rng(parts)
    objects = [tuple(star(rng, 9, 3) + rng.uniform(-18, 18, 2) for _ in range(parts))]
    targets_RHW = native(runner, objects, WHOLE, (33, 28))
    np.testing.assert_array_equal(targets_RHW, by_coco(objects, WHOLE, 33, 28))
    assert targets_RHW.any()


@EVERY_RUNNER
def test_a_broken_part_leaves_the_others(runner: Runner) -> None:
    """A polygon with a NaN anywhere, or of too few points, draws nothing, and those about it all they are."""
    rng = np.random.default_rng(3)
    broken_V2 = star(rng, 150)
    broken_V2[140, 1] = np.nan
    few = [np.zeros((0, 2)), np.array([[3.0, 4]]), np.array([[1.0, 1], [30, 20]])]
    whole = [star(rng, 12, 5), star(rng, 12, 5) + 9]
    for parts in ([broken_V2, whole[0], *few, whole[1]], [whole[0], broken_V2, *few, whole[1], broken_V2]):
        expected_RHW = by_coco([tuple(whole)], WHOLE, 28, 28)
        np.testing.assert_array_equal(native(runner, [tuple(parts)], WHOLE, (28, 28)), expected_RHW)


@EVERY_RUNNER
def test_more_rois_than_blocks(runner: Runner) -> None:
    """Each block draws one RoI after the other; objects may stand under several RoIs, or none (below 0)."""
    rng = np.random.default_rng(4)
    objects = [tuple(star(rng, 8) for _ in range(count)) for count in (1, 2, 0, 1)]
    object_R = rng.integers(-1, len(objects), 1100)
    boxes_R4 = np.sort(rng.uniform(0, 40, (1100, 2, 2)), axis=1).reshape(-1, 4)
    shown = [objects[index] if index >= 0 else () for index in object_R]
    targets_RHW = native(runner, objects, boxes_R4, (5, 28), object_R=object_R)
    np.testing.assert_array_equal(targets_RHW, by_coco(shown, boxes_R4, 5, 28))


@EVERY_RUNNER
def test_nothing_to_draw(runner: Runner) -> None:
    """No RoIs and no pixels are fine; sides that the header rules out are refused."""
    assert native(runner, [], np.zeros((0, 4)), (28, 28)).shape == (0, 28, 28)
    assert native(runner, [()], WHOLE, (0, 28)).size == 0
    for height, width in ((-1, 28), (28, 1 << 25)):
        with pytest.raises(KernelError, match="outside what the operation's header allows"):
            runner.run("polygon_targets", *[None] * 5, 1, height, width, 1.0, None, None)
