"""Updates, schedules, clipping and the average of weights."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from backends.tf_impl.solver import (
    LR_PER_IMAGE,
    PUBLISHED,
    Average,
    CosineSchedule,
    Schedule,
    Solver,
    SolverConfig,
    parse_steps,
    published_recipe,
)

pytestmark = pytest.mark.tf
SCRIPT = Path(__file__).parents[1] / "torch_optimizers.py"
STEPS = 6


@pytest.fixture(scope="module")
def given():
    """A weight and a bias, and the gradients of some steps."""
    random = np.random.default_rng(5)
    shapes = {"weight": (3, 2), "bias": (4,), "weight_gradients": (STEPS, 3, 2), "bias_gradients": (STEPS, 4)}
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def torchs(given, tmp_path_factory):
    """What torch's optimisers make of them, by optimiser, one row a step."""
    folder = tmp_path_factory.mktemp("torch")
    np.savez(folder / "in.npz", **given)
    command = [sys.executable, str(SCRIPT), str(folder / "in.npz"), str(folder / "out.npz")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(np.load(folder / "out.npz"))


def variables(given):
    """Fresh variables, by the names that models give them."""
    return {"head.weight": tf.Variable(given["weight"]), "head.bias": tf.Variable(given["bias"])}


def config(optimizer="sgd", **changes):
    """A solver's numbers."""
    return SolverConfig(
        **{"optimizer": optimizer, "learning_rate": 0.05, "weight_decay": 0.02, "schedule": Schedule(), **changes}
    )


def flat(named):
    """All values of variables in one row."""
    return np.concatenate([variable.numpy().ravel() for variable in named.values()])


def gradients_of(given, step):
    """The gradients of a step, in the order of the variables."""
    return [tf.constant(given["weight_gradients"][step]), tf.constant(given["bias_gradients"][step])]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
def test_updates_are_those_of_torchs_optimizers(given, torchs, optimizer, mode):
    """After each of six steps, weights and biases are torch's to 1e-6, eagerly, in a graph and under XLA."""
    named = variables(given)
    solver = Solver(named, config(optimizer))
    apply = solver.apply if mode == "eager" else tf.function(solver.apply, jit_compile=mode == "xla")
    for step in range(STEPS):
        apply(gradients_of(given, step), tf.constant(solver.rate(step)))
        np.testing.assert_allclose(flat(named), torchs[optimizer][step], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_skipped_update_never_happened(given, torchs, optimizer):
    """Where gradients were not finite nothing moves, not a bit, and later updates are as if it had not been."""
    named = variables(given)
    solver = Solver(named, config(optimizer))
    apply = tf.function(solver.apply)
    for step in range(STEPS):
        before = flat(named)
        apply([tf.zeros((3, 2)), tf.zeros(4)], tf.constant(solver.rate(step)), tf.constant(False))
        np.testing.assert_array_equal(flat(named), before)
        apply(gradients_of(given, step), tf.constant(solver.rate(step)), tf.constant(True))
        np.testing.assert_allclose(flat(named), torchs[optimizer][step], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_without_a_rate_nothing_moves(given, optimizer):
    """At rate 0 the variables stay to the bit."""
    named = variables(given)
    solver = Solver(named, config(optimizer, learning_rate=0.0))
    before = flat(named)
    for step in range(3):
        solver.apply(gradients_of(given, step), tf.constant(solver.rate(step)))
    np.testing.assert_array_equal(flat(named), before)


def test_vectors_need_not_decay(given):
    """With `decay_vectors` off, a scale keeps its value where its gradient is zero; a kernel decays."""
    moved = {}
    for decay_vectors in (True, False):
        named = {"norm.weight": tf.Variable(tf.ones(3)), "conv.weight": tf.Variable(tf.ones((1, 1, 2, 2)))}
        solver = Solver(named, config(decay_vectors=decay_vectors))
        solver.apply([tf.zeros(3), tf.zeros((1, 1, 2, 2))], tf.constant(0.05))
        moved[decay_vectors] = {name: float(variable.numpy().ravel()[0]) for name, variable in named.items()}
    assert moved[True]["norm.weight"] == moved[True]["conv.weight"] == pytest.approx(0.999)
    assert moved[False] == {"norm.weight": 1.0, "conv.weight": pytest.approx(0.999)}


def test_gradients_are_clipped_each_and_then_together():
    """Lengths 30, 4 and 0 under a limit of 5 become 5, 4 and 0 and then, together, 5; a short set stays."""
    solver = Solver({}, config(clip_norm=5.0))
    clipped = solver._clipped([tf.constant([18.0, 24.0]), tf.constant([[4.0]]), tf.zeros(2)])
    shrink = 5 / math.hypot(5, 4)
    expected = [[3 * shrink, 4 * shrink], [4 * shrink], [0, 0]]
    for found, wanted in zip(clipped, expected, strict=True):
        np.testing.assert_allclose(found.numpy().ravel(), wanted, rtol=1e-6)
    short = [tf.constant([1.0, 2.0]), tf.constant([2.0])]
    assert [part.numpy().tolist() for part in solver._clipped(short)] == [[1.0, 2.0], [2.0]]


def test_what_decays_is_clipped_with_its_decay():
    """The decay is part of the loss, as published, so that a gradient is clipped after it was added."""
    named = {"conv.weight": tf.Variable(tf.fill((2, 2), 100.0))}
    solver = Solver(named, config(weight_decay=1.0, clip_norm=2.0, momentum=0.0, learning_rate=1.0))
    solver.apply([tf.zeros((2, 2))], tf.constant(1.0))
    np.testing.assert_allclose(named["conv.weight"].numpy(), 99.0, rtol=1e-6)


def test_the_average_moves_as_published():
    """Three updates move the average by the published decay, which its limit caps; a swap can be undone."""
    variable = tf.Variable([0.0])
    average = Average([variable], decay=0.2)
    update = tf.function(average.update)
    expected = 0.0
    for number, value in enumerate((8.0, 16.0, 32.0)):
        variable.assign([value])
        update(tf.constant(number, tf.int64))
        decay = min(0.2, (1 + number) / (10 + number))
        expected = decay * expected + (1 - decay) * value
    with average.swapped():
        assert float(variable[0]) == pytest.approx(expected, rel=1e-6)
    assert float(variable[0]) == 32.0


@pytest.mark.parametrize("images", sorted(PUBLISHED))
def test_the_published_rates_are_one_linear_rule(images):
    """The linear rule gives the published learning rate of every published batch size."""
    assert images * LR_PER_IMAGE == pytest.approx({4: 0.005, 16: 0.02, 32: 0.04}[images])


def test_recipe_between_the_published_sizes():
    """At an unpublished batch size the rate drops after as many images as at 16."""
    assert published_recipe(8).decay_steps == (120_000, 160_000)
    assert published_recipe(32).decay_steps == (30_000, 40_000)


def test_warm_up_climbs_linearly_and_then_the_rate_drops_tenfold():
    """The factor starts at the warm-up factor, reaches 1 right after the warm-up, and drops at each decay step."""
    schedule = Schedule(*published_recipe(32))
    found = [schedule.factor(update) for update in (0, 250, 999, 1000, 29_999, 30_000, 39_999, 40_000)]
    assert found == pytest.approx([0, 0.25, 0.999, 1, 1, 0.1, 0.1, 0.01])


def test_cosine_climbs_and_falls():
    """The rate starts at the warm-up rate, is full after it, half in the middle of the fall, and zero at the end."""
    schedule = CosineSchedule(total_steps=110, warmup_steps=10, warmup_factor=1e-4 / 0.5)
    found = [0.5 * schedule.factor(update) for update in (0, 5, 10, 60, 110, 500)]
    assert found == pytest.approx([1e-4, (1e-4 + 0.5) / 2, 0.5, 0.25, 0, 0])


def test_one_rate_falls_as_kerass_does():
    """Along the whole run the rate is Keras's `CosineDecay` with a linear warm-up, to float32."""
    from keras.optimizers.schedules import CosineDecay

    schedule = CosineSchedule(total_steps=50, warmup_steps=8, warmup_factor=0.1)
    reference = CosineDecay(0.1, 42, warmup_target=1.0, warmup_steps=8)
    found = [schedule.factor(update) for update in range(50)]
    np.testing.assert_allclose(found, [float(reference(update)) for update in range(50)], atol=1e-6)


@pytest.mark.parametrize(("text", "expected"), [("", ()), ("10", (10,)), ("33000, 44000", (33_000, 44_000))])
def test_decay_steps_are_read(text, expected):
    """Decay steps are numbers between commas; nothing means never."""
    assert parse_steps(text) == expected


@pytest.mark.parametrize("text", ["ten", "5,5", "9,3", "0", "-1", "1.5"])
def test_decay_steps_that_are_none(text):
    """Words, fractions, repeats and a falling order are refused."""
    with pytest.raises(ValueError, match=r".+"):
        parse_steps(text)
