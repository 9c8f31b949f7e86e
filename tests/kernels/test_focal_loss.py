"""Focal loss: CPU body and emulated CUDA body against float64, and against each other to the bit."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_calls import RUNNERS, Runner, unaligned
from kernel_oracles.focal_loss import Focal, focal_loss
from numpy.typing import NDArray

from harness.errors import KernelError
from harness.kernels import load

Array = NDArray[Any]
TYPES: dict[Any, int] = {np.float32: 0, np.float64: 1}
TOLERANCES: dict[Any, float] = {np.float32: 1e-6, np.float64: 1e-13}
EXTREMES = (-1e4, -100.0, -88.0, -20.0, -1.0, -1e-30, 0.0, 1e-8, 1.0, 20.0, 88.0, 100.0, 1e4)
every_runner = pytest.mark.parametrize("runner", RUNNERS, ids=lambda runner: runner.name)
every_type = pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: dtype.__name__)


def native(
    runner: Runner, logits_NK: Array, classes_N: Array, focal: Focal, upstream: float = 1.0
) -> tuple[float, Array]:
    """The kernel's total and gradients [N, K], out of outputs and a workspace full of rubbish."""
    n, k = logits_NK.shape
    dtype = logits_NK.dtype
    inputs = (logits_NK, classes_N, n, k, TYPES[dtype.type], *focal)
    total, gradients_NK = np.full(1, 77, dtype), np.full((n, k), 77, dtype)
    workspace = unaligned(np.full(runner.size("focal_loss", n, k), 0xA5, np.uint8))
    runner.run("focal_loss", *inputs, total, workspace)
    runner.run("focal_loss_backward", *inputs, np.full(1, upstream, dtype), gradients_NK)
    return float(total[0]), gradients_NK


def scene(seed: int, n: int, k: int, dtype: Any, spread: float = 4.0) -> tuple[Array, Array]:
    """Logits and classes, of which some are background and some not counted."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, spread, (n, k)).astype(dtype), rng.integers(-3, max(k, 1), n).astype(np.int32)


@every_type
@every_runner
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.sampled_from((0, 1, 2, 31, 33)),
    k=st.sampled_from((0, 1, 3, 31, 32, 33, 90)),
    focal=st.builds(Focal, st.floats(0, 1), st.floats(0, 3), st.floats(0, 1)),
    spread=st.sampled_from((1.0, 6.0)),
)
def test_loss_and_gradient_are_those_of_float64(
    *, runner: Runner, dtype: Any, seed: int, n: int, k: int, focal: Focal, spread: float
) -> None:
    """Whatever the sizes and numbers; the gradients of all bodies are the same bits."""
    logits_NK, classes_N = scene(seed, n, k, dtype, spread)
    losses_NK, slopes_NK = focal_loss(logits_NK, classes_N, focal)
    total, gradients_NK = native(runner, logits_NK, classes_N, focal, upstream=2.0)
    assert total == pytest.approx(losses_NK.sum(), rel=TOLERANCES[dtype], abs=TOLERANCES[dtype])
    np.testing.assert_allclose(gradients_NK, 2 * slopes_NK, rtol=0, atol=TOLERANCES[dtype] * 8)
    assert gradients_NK.tobytes() == native(RUNNERS[0], logits_NK, classes_N, focal, upstream=2.0)[1].tobytes()


@every_type
@every_runner
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_every_logit_keeps_its_digits(runner: Runner, dtype: Any, smoothing: float) -> None:
    """From -10,000 to 10,000 loss and slope are right to a few units in the last place of their exponent."""
    focal, rounding = Focal(smoothing=smoothing), float(np.finfo(dtype).eps)
    for logit in EXTREMES:
        for of_row in (-1, 0):
            one, class_1 = np.array([[logit]], dtype), np.array([of_row], np.int32)
            (loss,), (slope,) = (value.ravel() for value in focal_loss(one, class_1, focal))
            total, gradients_NK = native(runner, one, class_1, focal)
            tolerance = rounding * (8 + 2 * abs(logit))  # of gamma times the logit under the exponential
            smallest = float(np.finfo(dtype).tiny) * 1e4
            assert total == pytest.approx(loss, rel=tolerance, abs=smallest)
            assert gradients_NK[0, 0] == pytest.approx(slope, rel=tolerance, abs=smallest)


@every_type
@every_runner
def test_logits_without_bounds_give_the_limits(runner: Runner, dtype: Any) -> None:
    """Infinity costs nothing where it is right and everything where it is wrong; slopes stay finite; NaN stays NaN."""
    for smoothing in (0.0, 0.1):
        focal = Focal(smoothing=smoothing)
        for sign, of_row in ((1, 0), (-1, -1)):
            right, wrong, broken = (
                native(runner, np.array([[sign * logit]], dtype), np.array([of_row], np.int32), focal)
                for logit in (np.inf, -np.inf, np.nan)
            )
            assert right == (0, np.zeros((1, 1)))
            weight = focal.alpha if of_row == 0 else 1 - focal.alpha
            assert wrong[0] == np.inf
            assert wrong[1][0, 0] == pytest.approx(-sign * weight * (1 - smoothing / 2), rel=1e-6)
            assert np.isnan(broken[0])
            assert np.isnan(broken[1]).all()


@every_runner
def test_rows_that_do_not_count_are_not_read_into_the_sum(runner: Runner) -> None:
    """Even NaN and infinity leave no trace there."""
    logits_NK = np.array([[np.nan, np.inf], [0.5, -0.5]], np.float32)
    total, gradients_NK = native(runner, logits_NK, np.array([-2, 1], np.int32), Focal())
    assert total == native(runner, logits_NK[1:], np.array([1], np.int32), Focal())[0]
    assert (gradients_NK[0] == 0).all()
    assert (gradients_NK[1] != 0).all()


@every_type
@every_runner
def test_sums_do_not_depend_on_threads(runner: Runner, dtype: Any) -> None:
    """One thread or three, forward or shuffled: the same bits, of more logits than a piece holds."""
    logits_NK, classes_N = scene(1, 1_501, 9, dtype)
    library = load("cpu")
    totals = []
    try:
        for threads in (1, 3):
            library.set_threads(threads)
            totals.append(native(runner, unaligned(logits_NK), unaligned(classes_N), Focal())[0])
    finally:
        library.set_threads(1)
    assert totals[0] == totals[1]
    expected = focal_loss(logits_NK, classes_N, Focal())[0].sum()
    assert totals[0] == pytest.approx(expected, rel=TOLERANCES[dtype] / 4)


@every_runner
def test_the_gradient_is_the_slope_of_the_loss(runner: Runner) -> None:
    """In float64 the difference of two totals is what the gradient says."""
    logits_NK, classes_N = scene(2, 5, 4, np.float64, spread=2.0)
    focal, step = Focal(smoothing=0.1), 1e-5
    _, gradients_NK = native(runner, logits_NK, classes_N, focal)
    for place in np.ndindex(logits_NK.shape):
        totals = []
        for side in (step, -step):
            moved_NK = logits_NK.copy()
            moved_NK[place] += side
            totals.append(native(runner, moved_NK, classes_N, focal)[0])
        assert gradients_NK[place] == pytest.approx((totals[0] - totals[1]) / (2 * step), rel=1e-6, abs=1e-9)


@every_runner
@pytest.mark.parametrize(
    ("n", "k", "kind", "gamma", "smoothing"),
    [
        (-1, 1, 0, 1.5, 0),
        (1, -1, 0, 1.5, 0),
        (1, 2**31, 0, 1.5, 0),
        (1, 1, 2, 1.5, 0),
        (1, 1, 0, -1, 0),
        (1, 1, 0, 1, 2),
    ],
)
def test_numbers_that_cannot_be_are_errors(
    *, runner: Runner, n: int, k: int, kind: int, gamma: float, smoothing: float
) -> None:
    """Negative sizes, an unknown type, numbers of the loss that the header rules out; both ways."""
    inputs = (None, None, n, k, kind, 0.25, gamma, smoothing)
    calls: tuple[Callable[[], None], ...] = (
        lambda: runner.run("focal_loss", *inputs, None, None),
        lambda: runner.run("focal_loss_backward", *inputs, None, None),
    )
    for call in calls:
        with pytest.raises(KernelError, match=r"focal_loss.* outside"):
            call()
