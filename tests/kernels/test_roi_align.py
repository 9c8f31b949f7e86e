"""RoIAlign forward: CPU body and emulated CUDA body against NumPy."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from kernel_calls import RUNNERS, Runner
from kernel_oracles.roi_align import Pooling, Regions, roi_align
from roi_align_cases import LAYOUTS, Case, Layout, cases, detector_case, for_threads, native_roi_align

from harness.errors import KernelError

EVERY_RUNNER = pytest.mark.parametrize("runner", RUNNERS, ids=lambda runner: runner.name)


def assert_equals_the_oracle(runner: Runner, case: Case) -> None:
    """To the case's tolerance, relative to the largest feature, whose averages these are."""
    levels = case.features()
    views = [level.view for level in levels]
    expected = roi_align(views, case.channels, case.regions, case.pooling)
    largest = max([float(np.abs(view).max(initial=0)) for view in views], default=0.0)
    actual = native_roi_align(runner, case, levels)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=case.tolerance * largest)


@EVERY_RUNNER
@settings(max_examples=120, deadline=None)
@given(case=cases())
def test_every_body_gives_what_numpy_gives(runner: Runner, case: Case) -> None:
    """Whatever the sizes, layouts and RoIs, and nothing beside the features is used."""
    assert_equals_the_oracle(runner, case)


@EVERY_RUNNER
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("channels_last", [False, True])
def test_a_pyramid_is_pooled_in_every_layout(runner: Runner, layout: Layout, channels_last: bool) -> None:
    """With more channels than one vector or block holds."""
    assert_equals_the_oracle(runner, detector_case(layout=layout, channels_last=channels_last))


@EVERY_RUNNER
def test_samples_follow_the_published_rule(runner: Runner) -> None:
    """On a ramp each bin is the column of its centre; from a pixel outside on, samples are 0."""
    ramp = np.broadcast_to(np.arange(10.0), (1, 1, 4, 10))
    rois_R4 = np.array([[2, 0, 4, 2], [2, 0, 4, 2], [9.5, 0, 11.5, 2], [-3, 0, -1, 2]])
    here_R = np.zeros(4, np.int32)
    case = Case(
        [(1, 1, 4, 10)],
        *("planes", 1, 1, Regions(rois_R4, here_R, here_R, [1.0]), Pooling(2, 1, aligned=False, min_side=0.0)),
        *(False, 0),
    )
    levels = case.features()
    levels[0].view[...] = ramp
    actual = native_roi_align(runner, case, levels)[:, 0, 0]
    np.testing.assert_array_equal(actual, [[2.5, 3.5], [2.5, 3.5], [9.0, 0.0], [0.0, 0.0]])
    aligned = replace(case, pooling=replace(case.pooling, aligned=True))
    np.testing.assert_array_equal(native_roi_align(runner, aligned, levels)[0, 0, 0], [2.0, 3.0])


@EVERY_RUNNER
def test_rois_without_numbers_or_features_are_zero(runner: Runner) -> None:
    """A corner that is NaN, a level or an image that is not there: all bins are 0, and other RoIs stay as they are."""
    case = detector_case()
    regions, whole = case.regions, native_roi_align(runner, case, case.features())
    rois_R4, images_R, levels_R = regions.rois_R4.copy(), regions.images_R.copy(), regions.levels_R.copy()
    rois_R4[0, 0], rois_R4[1, 1], rois_R4[2, 2], rois_R4[3, 3] = (np.nan,) * 4
    images_R[4], images_R[5], levels_R[6], levels_R[7] = -1, case.images, -1, len(case.shapes)
    broken = replace(case, regions=Regions(rois_R4, images_R, levels_R, regions.scales))
    actual = native_roi_align(runner, broken, case.features())
    np.testing.assert_array_equal(actual[:8], np.zeros_like(actual[:8]))
    np.testing.assert_array_equal(actual[8:], whole[8:])


@EVERY_RUNNER
@pytest.mark.parametrize("layout", LAYOUTS)
def test_pixels_that_no_sample_touches_are_of_no_effect(runner: Runner, layout: Layout) -> None:
    """NaN round the pixels of a small RoI does not reach it."""
    region = Regions(np.array([[40.0, 40, 60, 60]]), np.zeros(1, np.int32), np.zeros(1, np.int32), [0.25])
    case = Case([(1, 9, 25, 25)], layout, 1, 9, region, Pooling(3, 2, aligned=False, min_side=1.0), False, 1)
    levels = case.features()
    expected = native_roi_align(runner, case, levels)
    window = levels[0].view[:, :, 10:16, 10:16].copy()
    levels[0].view[...] = np.nan
    levels[0].view[:, :, 10:16, 10:16] = window
    np.testing.assert_array_equal(native_roi_align(runner, case, levels), expected)
    assert np.isfinite(expected).all()


@EVERY_RUNNER
@pytest.mark.parametrize(
    "pooling",
    [
        Pooling(0, 2, aligned=False, min_side=1.0),
        Pooling(1025, 2, aligned=False, min_side=1.0),
        Pooling(7, -1, aligned=False, min_side=1.0),
        Pooling(7, 4097, aligned=False, min_side=1.0),
        Pooling(7, 2, aligned=False, min_side=-1.0),
        Pooling(7, 2, aligned=False, min_side=float("nan")),
    ],
)
def test_numbers_outside_the_headers_limits_are_refused(runner: Runner, pooling: Pooling) -> None:
    """Nothing is computed."""
    none = Regions(np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.zeros(0, np.int32), [0.25])
    case = replace(detector_case(), regions=none, shapes=[(2, 136, 5, 5)], pooling=pooling)
    with pytest.raises(KernelError, match="outside what the operation's header allows"):
        runner.run("roi_align", *case.arguments(case.features()), np.zeros(1, np.float32))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_threads_of_the_cpu_change_no_bit(layout: Layout) -> None:
    """One, two and five threads give the same."""
    case = detector_case(layout=layout)
    answers = for_threads(lambda: native_roi_align(Runner("cpu"), case, case.features()).tobytes())
    assert answers[0] == answers[1] == answers[2]
