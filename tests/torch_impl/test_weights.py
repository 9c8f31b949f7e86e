"""Reading weights by name."""

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import resnet18

from backends.torch_impl.maskrcnn.config import MaskRCNNConfig
from backends.torch_impl.maskrcnn.model import MaskRCNN
from backends.torch_impl.maskrcnn.weights import load_state, load_weights, save_weights
from harness.weights import convert

pytestmark = pytest.mark.torch


def build(seed=0, backbone="resnet10", **overrides):
    """A small model with random weights from a seed."""
    torch.manual_seed(seed)
    return MaskRCNN(MaskRCNNConfig.preset("nvidia", num_classes=3, backbone=backbone, fpn_channels=8, **overrides))


def same(a, b):
    """Whether two models hold the same tensors."""
    return all(torch.equal(value, b.state_dict()[name]) for name, value in a.state_dict().items())


@pytest.mark.parametrize("kind", ["weights.safetensors", "weights.pth", "checkpoint.pth"])
def test_saved_weights_come_back(tmp_path, kind):
    """A state dict as safetensors, as .pth, or inside a checkpoint with `module.` names restores the model."""
    source, model, path = build(1), build(2), tmp_path / kind
    state = source.state_dict()
    if kind == "weights.safetensors":
        save_file(state, path)
    else:
        wrapped = {"model": {f"module.{name}": value for name, value in state.items()}, "step": 3}
        torch.save(state if kind == "weights.pth" else wrapped, path)
    assert not same(source, model)
    assert load_weights(model, path) == len(state)
    assert same(source, model)


def test_a_trunk_alone_loads_by_its_own_names(tmp_path):
    """A classifier's state dict fills the trunk, its fc left out, counters of live norms ignored."""
    source, model, path = resnet18(weights=None), build(backbone="resnet18"), tmp_path / "trunk.pth"
    torch.save(source.state_dict(), path)
    load_weights(model, path, part="trunk")
    assert torch.equal(model.backbone.body.layer3[1].conv2.weight, source.layer3[1].conv2.weight)


def test_names_that_do_not_fit_are_counted_and_named():
    """Missing and left-over names are refused in one line, and nothing is loaded."""
    source, model, before = build(1), build(2), build(2)
    state = dict(source.state_dict())
    state["extra.weight"] = state.pop("rpn.head.cls_logits.bias")
    with pytest.raises(
        ValueError, match=r"^\d+ of \d+ tensors fit; 1 missing: rpn.head.cls_logits.bias; 1 left over: extra.weight$"
    ):
        load_state(model, state)
    assert same(model, before)
    assert load_state(model, state, strict=False) == len(state) - 1
    assert torch.equal(model.rpn.head.cls_logits.weight, source.rpn.head.cls_logits.weight)


def test_shapes_that_differ_are_named_even_when_not_strict():
    """Another number of classes is refused with both shapes."""
    state = dict(build(1).state_dict())
    state["roi_heads.box_predictor.cls_score.bias"] = torch.zeros(91)
    with pytest.raises(
        ValueError, match=r"1 of another shape: roi_heads.box_predictor.cls_score.bias \(91,\) for \(3,\)"
    ):
        load_state(build(2), state, strict=False)


def test_a_file_that_is_no_state_dict_is_refused(tmp_path):
    """Other objects, other files and code in a pickle are refused in one line that names the file."""
    path = tmp_path / "list.pth"
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match=r"list.pth holds no state dict; a mapping of names to tensors is needed"):
        load_weights(build(), path)
    path.write_bytes(b"not a file of torch")
    with pytest.raises(ValueError, match=r"list.pth cannot be read as tensors: [^\n]*$"):
        load_weights(build(), path)
    torch.save({"weight": print}, path)
    with pytest.raises(ValueError, match=r"cannot be read as tensors"):
        load_weights(build(), path)


def test_files_of_either_layout_load(tmp_path):
    """What TensorFlow's layout holds comes back, the whole model and its trunk alone."""
    source, path, there = build(1), tmp_path / "w.safetensors", tmp_path / "t.safetensors"
    save_weights(source, path)
    convert(path, there, to="tf")
    model = build(2)
    assert load_weights(model, there) == len(source.state_dict())
    assert same(source, model)
    convert(there, path, to="tf", part="trunk")
    model, before = build(2), build(2)
    load_weights(model, path, part="trunk")
    assert torch.equal(model.backbone.body.layer3[0].conv2.weight, source.backbone.body.layer3[0].conv2.weight)
    assert torch.equal(model.rpn.head.cls_logits.weight, before.rpn.head.cls_logits.weight)
    with pytest.raises(ValueError, match=r"w.safetensors holds the trunk resnet10 alone; the whole model is needed"):
        load_weights(model, path)
