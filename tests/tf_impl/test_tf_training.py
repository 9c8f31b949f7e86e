"""Updates of a small model: divisors, micro-batches, loss scaling, XLA, the average of weights."""

import numpy as np
import pytest
import tensorflow as tf

from backends.tf_impl.distributed import Ranks
from backends.tf_impl.graph import eager
from backends.tf_impl.layers import BatchNorm, Conv, Dense, initialise, named_variables, normal
from backends.tf_impl.precision import FIRST_LOSS_SCALE, Precision
from backends.tf_impl.solver import Average, Schedule, Solver, SolverConfig
from backends.tf_impl.training import Trainer
from harness.api import Context

pytestmark = pytest.mark.tf
FP32, FP16 = Precision("cpu", tf32=False, half=None), Precision("cpu", tf32=False, half=tf.float16)


class Model(tf.Module):
    """A convolution, a live norm and a layer; two losses, one of them over some of the images."""

    def __init__(self, gain=1.0):
        super().__init__()
        self.gain = gain
        self.conv, self.norm, self.last = Conv((3, 4), 3, padding=1), BatchNorm(4, eps=1e-5), Dense((4, 2))
        initialise(self, 1, lambda name: normal(0.3) if name.endswith("weight") and "norm" not in name else None)

    def loss_sums(self, images_BHW3, labels_B, step):
        """Cross entropy of all images, and of those of class 1; the step is worth nothing here."""
        features = tf.nn.relu(self.norm(self.conv(tf.cast(images_BHW3, tf.float32) / 255), training=True))
        logits_B2 = self.last(tf.reduce_mean(features, (1, 2)))
        loss_B = tf.nn.sparse_softmax_cross_entropy_with_logits(labels_B, logits_B2)
        chosen_B = tf.cast(labels_B > 0, tf.float32)
        sums_L = self.gain * tf.stack([tf.reduce_sum(loss_B), tf.reduce_sum(loss_B * chosen_B)])
        return sums_L + 0.0 * tf.cast(step, tf.float32), tf.stack([float(labels_B.shape[0]), tf.reduce_sum(chosen_B)])


def trainer(*, xla=False, precision=FP32, average=None, ranks=None, gain=1.0):
    """A trainer of a fresh model, and the model's variables."""
    model = Model(gain)
    named = named_variables(model)
    solver = Solver(
        {name: variable for name, variable in named.items() if variable.trainable},
        SolverConfig("sgd", 0.1, 1e-2, Schedule()),
    )
    made = Trainer(
        model.loss_sums,
        ("all", "some"),
        solver=solver,
        ranks=ranks or Ranks(Context(0, 0, 1, "", "")),
        precision=precision,
        xla=xla,
        average=Average(named.values(), average) if average else None,
    )
    return made, named


def images(count=8, labels=None):
    """Images and their classes."""
    random = np.random.default_rng(0)
    drawn = random.integers(0, 255, (count, 8, 8, 3))
    return tf.constant(drawn, tf.uint8), tf.constant(labels or random.integers(0, 2, count), tf.int32)


def three_steps(made, named, micro_batches):
    """Losses of three updates, and all variables after them."""
    losses = [made.step(micro_batches, update) for update in range(3)]
    return [{name: float(value) for name, value in loss.items()} for loss in losses], values(named)


def values(named):
    """Copies of variables."""
    return {name: variable.numpy() for name, variable in named.items()}


@pytest.fixture(scope="module")
def expected():
    """Three updates in a graph."""
    return three_steps(*trainer(), [images()])


def assert_same(found, expected, atol):
    """Losses and variables agree."""
    for one, other in zip(found[0], expected[0], strict=True):
        assert one == pytest.approx(other, rel=1e-5)
    for name, value in expected[1].items():
        np.testing.assert_allclose(found[1][name], value, rtol=0, atol=atol)


def test_losses_are_sums_over_counts(expected):
    """The first update's losses are the means over their images, and `loss` is their sum."""
    pixels, labels = images()
    sums, _ = Model().loss_sums(pixels, labels, tf.constant(0, tf.int64))
    first = expected[0][0]
    assert first["all"] == pytest.approx(float(sums[0]) / 8, rel=1e-5)
    assert first["some"] == pytest.approx(float(sums[1]) / int(tf.reduce_sum(labels)), rel=1e-5)
    assert first["loss"] == pytest.approx(first["all"] + first["some"], rel=1e-6)


def test_eager_updates_are_the_same(expected):
    """Operation by operation, the same three updates."""
    with eager():
        assert_same(three_steps(*trainer(), [images()]), expected, 1e-6)


def test_both_passes_are_compiled_by_xla(expected):
    """The same under XLA, in one cluster forward and one backward; between them stands only the division."""
    made, named = trainer(xla=True)
    batch = images()
    assert made.compiles([batch])
    assert_same(three_steps(made, named, [batch]), expected, 1e-5)
    assert not made.compiles([batch])
    assert made.compiles([images(4)])
    graph = made._differentiate.concrete(batch, tf.constant(0, tf.int64), tf.constant(1.0)).graph.as_graph_def()
    calls = [node for node in graph.node if "PartitionedCall" in node.op]
    assert [node.attr["_XlaMustCompile"].b for node in calls] == [True, True]
    bodies = {function.signature.name: function for function in graph.library.function}
    forward, backward = ({node.op for node in bodies[call.attr["f"].func.name].node_def} for call in calls)
    assert "Conv2D" in forward
    assert "Conv2DBackpropFilter" in backward
    assert not {"Conv2D", "Conv2DBackpropFilter", "MatMul"} & {node.op for node in graph.node}


def test_scaled_losses_give_the_same_updates(expected):
    """A power of two on the losses changes no bit of what is learnt or read."""
    found = three_steps(*trainer(precision=FP16), [images()])
    assert_same(found, expected, 1e-7)


def test_a_sum_of_nothing_is_scaled_to_nothing():
    """Where a loss has no count, its scaled gradient is zero and no overflow."""
    made, named = trainer(precision=FP16)
    found, after = three_steps(made, named, [images(labels=[0] * 8)])
    assert [loss["some"] for loss in found] == [0, 0, 0]
    assert float(made.scaler.scale) == FIRST_LOSS_SCALE
    assert all(np.isfinite(value).all() for value in after.values())


def test_an_overflow_leaves_the_weights_alone():
    """Where the scaled losses overflow the update is skipped, scales fall until it is not, and then it is the first."""
    made, _ = trainer(precision=FP16, gain=1e4)
    made.scaler._scale.assign(2.0**127)
    before = {name: variable.numpy() for name, variable in made.solver.variables_by_name.items()}
    skipped = 0
    while all((before[name] == variable.numpy()).all() for name, variable in made.solver.variables_by_name.items()):
        made.step([images()], 0)
        skipped += 1
        assert skipped < 40
    assert skipped > 1
    assert float(made.scaler.scale) == 2.0 ** (127 - (skipped - 1))
    assert int(made.solver._applied) == 1


def test_micro_batches_descend_the_mean_of_their_losses():
    """One image by one, equal micro-batches move the weights as one of them does, and lose as it does."""
    batch = images(4)
    once, often = ([three_steps(*trainer(), [batch] * parts)] for parts in (1, 3))
    for name in ("conv.weight", "last.weight", "last.bias"):
        np.testing.assert_allclose(often[0][1][name], once[0][1][name], atol=1e-6)
    assert often[0][0][2]["loss"] == pytest.approx(once[0][0][2]["loss"], rel=1e-5)


def test_the_average_follows_statistics_too(expected):
    """After each update the average moves, running statistics with it; weights are as without it."""
    made, named = trainer(average=0.5)
    found = three_steps(made, named, [images()])
    assert_same(found, expected, 0)
    with made.average.swapped():
        averaged = values(named)
    assert all(not np.array_equal(averaged[name], found[1][name]) for name in ("conv.weight", "norm.running_mean"))
    np.testing.assert_array_equal(values(named)["conv.weight"], found[1]["conv.weight"])


def test_counts_are_averaged_before_they_divide():
    """A rank that has half of the global count divides by the mean over ranks, and its gradients are averaged."""

    class Others(Ranks):
        """One other rank, whose counts are three times ours and whose gradients are zero."""

        alone = False

        def mean(self, values_L):
            return 2 * values_L

        def mean_gradients(self, gradients):
            return [gradient / 2 for gradient in gradients]

    batch = images()
    plain, named = trainer()
    shared, others = trainer(ranks=Others(Context(0, 0, 2, "", "")))
    before = values(named)
    one, two = plain.step([batch], 0), shared.step([batch], 0)
    assert float(two["all"]) == pytest.approx(float(one["all"]) / 2)
    bias = "last.bias"
    np.testing.assert_allclose(others[bias].numpy(), before[bias] + (named[bias].numpy() - before[bias]) / 4, rtol=1e-5)
