"""Compiled functions and what they know of shapes."""

import pytest
import tensorflow as tf

from backends.tf_impl.graph import compiled, eager

pytestmark = pytest.mark.tf


@pytest.mark.parametrize("xla", [False, True])
def test_each_shape_compiles_once(xla):
    """A call compiles where shapes or types of its nested arguments are new, and runs the Python body only then."""
    traced = []

    def body(pair, named):
        traced.append(pair[0].shape)
        return pair[0] + pair[1] * named["x"]

    function = compiled(body, xla=xla)
    two, three = tf.ones(2), tf.ones(3)
    assert function.compiles((two, two), {"x": two})
    assert function((two, two), {"x": two}).numpy().tolist() == [2, 2]
    assert not function.compiles((two + 1, two), {"x": two})
    function((two + 1, two), {"x": two})
    assert function.compiles((three, three), {"x": three})
    assert function.compiles((tf.cast(two, tf.float64),) * 2, {"x": tf.cast(two, tf.float64)})
    assert traced == [(2,)]


@pytest.mark.parametrize("xla", [False, True])
def test_xla_is_asked_for_explicitly(xla):
    """The function is compiled by XLA exactly where that was asked for."""
    concrete = compiled(lambda x: x * 2, xla=xla).concrete(tf.ones(2))
    assert concrete.function_def.attr["_XlaMustCompile"].b == xla


def test_eager_runs_the_body_itself():
    """Inside `eager` operations run one by one, afterwards graphs do again."""
    modes = []
    function = compiled(lambda x: (modes.append(tf.executing_eagerly()), x)[1], xla=False)
    with eager():
        function(tf.ones(2))
    function(tf.ones(2))
    assert modes == [True, False]
