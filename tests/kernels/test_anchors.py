"""Anchors: CPU body and emulated CUDA body against NumPy, to the bit."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_calls import RUNNERS, Runner, unaligned
from kernel_oracles.anchors import EFFICIENTDET, LEGACY, TORCHVISION, anchor_cells, anchors
from numpy.typing import NDArray

from harness.errors import KernelError

Pair = tuple[float, float]
Grid = tuple[int, int]

each_body = pytest.mark.parametrize("runner", RUNNERS, ids=lambda runner: runner.name)
both_targets = pytest.mark.parametrize("runner", RUNNERS[:2], ids=lambda runner: runner.name)
sides = st.floats(1, 600, allow_nan=False)
coordinates = st.floats(-1e6, 1e6)


def native_cells(
    runner: Runner, convention: int, stride: float, size: float, aspects: Sequence[Pair], *, octaves: int = 1
) -> NDArray[np.float64]:
    """The kernel's cells of one level, [C, 4]."""
    cells_C4 = np.full((octaves * len(aspects), 4), 7.0)
    aspects_A2 = np.array(aspects, np.float64).reshape(-1, 2)
    arguments = (convention, stride, size, aspects_A2.ctypes.data, len(aspects), octaves, cells_C4.ctypes.data)
    runner.library.run("anchor_cells", *arguments)
    return cells_C4


def native(
    runner: Runner, cells_LC4: NDArray[np.float64], grids: Sequence[Grid], steps: Sequence[Pair]
) -> NDArray[np.float32]:
    """The kernel's anchors of all levels, [N, 4], at an address that is a multiple of 4 bytes and no more."""
    levels, c = cells_LC4.shape[:2]
    anchors_N4: NDArray[np.float32] = unaligned(
        np.full((c * sum(rows * columns for rows, columns in grids), 4), 7, np.float32)
    )
    grids_L2, steps_L2 = np.array(grids, np.int64).reshape(-1, 2), np.array(steps, np.float64).reshape(-1, 2)
    runner.run("anchors", cells_LC4, levels, c, grids_L2, steps_L2, anchors_N4)
    return anchors_N4


@both_targets
@pytest.mark.parametrize("convention", [LEGACY, TORCHVISION])
@settings(max_examples=60, deadline=None)
@given(stride=st.sampled_from((1, 4, 8, 16, 32, 64)), size=sides, ratios=st.lists(st.floats(0.1, 10), max_size=4))
def test_rounded_cells_are_those_of_the_definition(
    runner: Runner, convention: int, stride: int, size: float, ratios: list[float]
) -> None:
    """Bit for bit, since square roots and halves are exact in every language."""
    aspects = [(1.0, ratio) for ratio in ratios]
    expected_C4 = np.array(anchor_cells(convention, stride, size, aspects, 1)).reshape(-1, 4)
    np.testing.assert_array_equal(native_cells(runner, convention, stride, size, aspects), expected_C4)


@both_targets
@settings(max_examples=60, deadline=None)
@given(
    stride=st.sampled_from((8, 16, 128)),
    size=sides,
    aspects=st.lists(st.tuples(st.floats(0.2, 3), st.floats(0.2, 3)), max_size=3),
    octaves=st.integers(1, 5),
)
def test_efficientdet_cells_are_those_of_the_definition(
    runner: Runner, stride: int, size: float, aspects: list[Pair], octaves: int
) -> None:
    """To the last digits of float64, of which libraries of powers differ."""
    expected_C4 = np.array(anchor_cells(EFFICIENTDET, stride, size, aspects, octaves)).reshape(-1, 4)
    found_C4 = native_cells(runner, EFFICIENTDET, stride, size, aspects, octaves=octaves)
    np.testing.assert_allclose(found_C4, expected_C4, rtol=0, atol=1e-12)


@both_targets
def test_known_cells(runner: Runner) -> None:
    """The published anchors of R-CNN's base 16 at size 128 and of torchvision's first level; halves round to even."""
    ratios = [(1.0, ratio) for ratio in (0.5, 1.0, 2.0)]
    legacy_C4 = [[-84, -40, 99, 55], [-56, -56, 71, 71], [-36, -80, 51, 95]]
    assert native_cells(runner, LEGACY, 16, 128, ratios).tolist() == legacy_C4
    torchvision_C4 = [[-23, -11, 23, 11], [-16, -16, 16, 16], [-11, -23, 11, 23]]
    assert native_cells(runner, TORCHVISION, 4, 32, ratios).tolist() == torchvision_C4
    assert native_cells(runner, TORCHVISION, 4, 5, [(1.0, 1.0)]).tolist() == [[-2, -2, 2, 2]]
    assert native_cells(runner, TORCHVISION, 4, 7, [(1.0, 1.0)]).tolist() == [[-4, -4, 4, 4]]
    (_, _, x2, y2), second = native_cells(runner, EFFICIENTDET, 8, 32, [(1.4, 0.7)], octaves=2)
    assert (x2, y2) == (4 + 32 * 1.4 / 2, 4 + 32 * 0.7 / 2)
    assert second[2] == pytest.approx(4 + 32 * math.sqrt(2) * 1.4 / 2)


@st.composite
def pyramids(draw: st.DrawFn) -> tuple[NDArray[np.float64], list[Grid], list[Pair]]:
    """Cells [L, C, 4], grids and steps of up to 8 levels, with edges of blocks of 256 coordinates among the sizes."""
    levels, c = draw(st.integers(0, 8)), draw(st.sampled_from((0, 1, 3, 9, 16)))
    side = st.sampled_from((0, 1, 2, 7, 8, 13))
    step = st.one_of(st.integers(0, 128).map(float), st.floats(-100, 100))
    grids = [draw(st.tuples(side, side)) for _ in range(levels)]
    steps = [draw(st.tuples(step, step)) for _ in range(levels)]
    few = draw(st.lists(coordinates, min_size=1, max_size=8))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.choice(np.array(few), (levels, c, 4)), grids, steps


@each_body
@settings(max_examples=40, deadline=None)
@given(pyramid=pyramids())
def test_every_body_gives_what_numpy_gives(
    runner: Runner, pyramid: tuple[NDArray[np.float64], list[Grid], list[Pair]]
) -> None:
    """Bit for bit, rounded to float32 once, whatever the cells, grids and steps."""
    assert native(runner, *pyramid).tobytes() == anchors(*pyramid).tobytes()


@each_body
def test_anchors_of_a_whole_image(runner: Runner) -> None:
    """Five levels of three anchors, long enough for several threads and blocks."""
    aspects = [(1.0, 1.0), (1.4, 0.7), (0.7, 1.4)]
    cells_LC4 = np.stack([native_cells(runner, EFFICIENTDET, 4 << level, 32 << level, aspects) for level in range(5)])
    grids = [(100, 130), (50, 65), (25, 33), (13, 17), (7, 9)]
    steps = [(4.0 * 2**level,) * 2 for level in range(5)]
    np.testing.assert_array_equal(native(runner, cells_LC4, grids, steps), anchors(cells_LC4, grids, steps))


@both_targets
def test_sizes_and_codes_out_of_range_are_refused(runner: Runner) -> None:
    """A fourth convention, octaves where there are none, more levels and cells than there may be, a negative grid."""
    for convention, octaves in ((3, 1), (-1, 1), (LEGACY, 2), (TORCHVISION, 2), (EFFICIENTDET, 0)):
        with pytest.raises(KernelError, match="code -1"):
            native_cells(runner, convention, 8, 32, [(1.0, 1.0)] * (octaves + 1), octaves=octaves)
    room, sizes = np.zeros(9 * 17 * 4), np.ones((9, 2), np.int64)
    for levels, c, rows in ((9, 1, 1), (-1, 1, 1), (1, 17, 1), (1, -1, 1), (1, 1, -1)):
        sizes[0, 0] = rows
        with pytest.raises(KernelError, match="code -1"):
            runner.run("anchors", room, levels, c, sizes, room, room)
