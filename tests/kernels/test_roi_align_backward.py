"""RoIAlign backward: CPU body and emulated CUDA body against NumPy and against finite differences."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from kernel_calls import RUNNERS, Runner
from kernel_oracles.roi_align import Array, roi_align_backward
from roi_align_cases import (
    LAYOUTS,
    Case,
    Layout,
    cases,
    detector_case,
    for_threads,
    level_of,
    native_roi_align,
    native_roi_align_backward,
)

EVERY_RUNNER = pytest.mark.parametrize("runner", RUNNERS, ids=lambda runner: runner.name)


def gradients_of(runner: Runner, case: Case, upstream_RCBB: Array) -> list[Array]:
    """The kernel's gradients, [B, C, H, W] a level."""
    levels = [level_of(shape, case.kind, case.layout) for shape in case.shapes]
    native_roi_align_backward(runner, case, levels, upstream_RCBB)
    return [level.view for level in levels]


def assert_equals_the_oracle(runner: Runner, case: Case) -> None:
    """To the case's tolerance, relative to the largest sum of magnitudes."""
    upstream_RCBB = case.upstream()
    expected = roi_align_backward(case.shapes, case.regions, case.pooling, upstream_RCBB)
    sums = roi_align_backward(case.shapes, case.regions, case.pooling, np.abs(upstream_RCBB))
    for actual, level, largest in zip(gradients_of(runner, case, upstream_RCBB), expected, sums, strict=True):
        np.testing.assert_allclose(actual, level, rtol=0, atol=case.tolerance * largest.max(initial=0))


@EVERY_RUNNER
@settings(max_examples=120, deadline=None)
@given(case=cases())
def test_every_body_gives_what_numpy_gives(runner: Runner, case: Case) -> None:
    """Whatever the sizes, layouts and RoIs, and nothing beside the gradients is written."""
    assert_equals_the_oracle(runner, case)


@EVERY_RUNNER
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("channels_last", [False, True])
def test_a_pyramid_gets_gradients_in_every_layout(runner: Runner, layout: Layout, channels_last: bool) -> None:
    """With more channels than one vector or block holds."""
    assert_equals_the_oracle(runner, detector_case(layout=layout, channels_last=channels_last))


@EVERY_RUNNER
@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradients_add_to_what_is_there(runner: Runner, layout: Layout) -> None:
    """Features of ones end as one more than features of zeros."""
    case = detector_case(kind=np.float64, layout=layout)
    levels = [level_of(shape, case.kind, case.layout) for shape in case.shapes]
    for level in levels:
        level.view[...] = 1
    native_roi_align_backward(runner, case, levels, case.upstream())
    for level, alone in zip(levels, gradients_of(runner, case, case.upstream()), strict=True):
        np.testing.assert_allclose(level.view, alone + 1, rtol=0, atol=1e-13)


@EVERY_RUNNER
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("ratio", [0, 2])
def test_gradients_are_those_of_forward(runner: Runner, layout: Layout, ratio: int) -> None:
    """Finite differences of the forward body, in float64, along a random direction."""
    case = detector_case(kind=np.float64, layout=layout)
    case = replace(case, pooling=replace(case.pooling, ratio=ratio))
    upstream_RCBB, step = case.upstream(), 1e-3
    directions = [np.random.default_rng(8).normal(size=shape) for shape in case.shapes]
    losses = []
    for sign in (1, -1):
        levels = case.features()
        for level, direction in zip(levels, directions, strict=True):
            level.view[...] += sign * step * direction
        losses.append(float((upstream_RCBB * native_roi_align(runner, case, levels)).sum()))
    gradients = gradients_of(runner, case, upstream_RCBB)
    slope = sum(float((part * along).sum()) for part, along in zip(gradients, directions, strict=True))
    assert slope == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_threads_of_the_cpu_change_no_bit(layout: Layout) -> None:
    """One, two and five threads give the same sums, though RoIs overlap."""
    case = detector_case(layout=layout)

    def bits() -> bytes:
        return b"".join(level.tobytes() for level in gradients_of(Runner("cpu"), case, case.upstream()))

    answers = for_threads(bits)
    assert answers[0] == answers[1] == answers[2]
