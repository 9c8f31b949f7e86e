"""The order of dimensions in both frameworks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import WeightsError
from harness.weights import to_layout
from harness.weights.layouts import relayout, shape_in

SIDES = st.integers(1, 5)
NAMES = {
    "backbone.body.layer1.0.conv1.weight": 4,
    "roi_heads.mask_predictor.conv5_mask.weight": 4,
    "roi_heads.box_head.fc7.weight": 2,
    "backbone.bn1.weight": 1,
    "fpn.cell.0.fnode.0.combine.edge_weights": 1,
    "a.counter": 0,
    "stranger": 3,
}


@settings(max_examples=40, deadline=None)
@given(data=st.data(), name=st.sampled_from(sorted(NAMES)))
def test_there_and_back_is_the_same_to_the_bit(data, name):
    """From torch to tf and back gives every tensor's bytes again, also where two dimensions are equal or one."""
    shape = data.draw(st.tuples(*[SIDES] * NAMES[name]))
    array = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    there = to_layout({name: array}, "torch", "tf")[name]
    back = to_layout({name: there}, "tf", "torch")[name]
    assert there.shape == shape_in(name, shape, "tf")
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


@settings(max_examples=40, deadline=None)
@given(channels=SIDES, kernel=SIDES)
def test_depthwise_kernels_are_told_by_their_names(channels, kernel):
    """[C, 1, k, k] of a depthwise convolution becomes [k, k, C, 1], of any other [k, k, 1, C]."""
    array = np.random.default_rng(0).standard_normal((channels, 1, kernel, kernel)).astype(np.float32)
    depthwise = relayout("class_net.predict.conv_dw.weight", array, "torch", "tf")
    full = relayout("class_net.predict.conv_pw.weight", array, "torch", "tf")
    assert (depthwise.shape, full.shape) == ((kernel, kernel, channels, 1), (kernel, kernel, 1, channels))
    assert relayout("class_net.predict.conv_dw.weight", depthwise, "tf", "torch").tobytes() == array.tobytes()


@settings(max_examples=40, deadline=None)
@given(channels=st.integers(1, 3), width=SIDES)
def test_the_layer_over_pooled_features_gives_the_same_outputs(channels, width):
    """fc6 sees features flattened as channels, rows, columns in torch, and as rows, columns, channels in tf."""
    stream = np.random.default_rng(0)
    weight = stream.standard_normal((width, channels * 49))
    pooled_RCSS = stream.standard_normal((2, channels, 7, 7))
    expected = pooled_RCSS.reshape(2, -1) @ weight.T
    moved = relayout("roi_heads.box_head.fc6.weight", weight, "torch", "tf")
    actual = pooled_RCSS.transpose(0, 2, 3, 1).reshape(2, -1) @ moved
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)
    assert np.array_equal(relayout("roi_heads.box_head.fc6.weight", moved, "tf", "torch"), weight)


def test_shapes_that_a_name_cannot_have_are_refused():
    """A depthwise kernel of several inputs, and pooled features of no whole number of bins."""
    with pytest.raises(
        WeightsError, match=r"^'a.conv_dw.weight' has shape \(4, 2, 3, 3\); a depthwise kernel of layout"
    ):
        relayout("a.conv_dw.weight", np.zeros((4, 2, 3, 3)), "torch", "tf")
    with pytest.raises(
        WeightsError, match=r"^'box_head.fc6.weight' has 50 inputs; a multiple of the 49 bins is needed$"
    ):
        relayout("box_head.fc6.weight", np.zeros((4, 50)), "torch", "tf")
