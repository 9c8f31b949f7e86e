"""What torch.save writes, read by harness.weights in this very process, and layouts against torch's own operations."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import conv2d, conv_transpose2d
from torchvision.models import resnet18, resnet50
from torchvision.models.detection import maskrcnn_resnet50_fpn

from harness.errors import WeightsError
from harness.weights import convert, fit, load_for, maskrcnn, read_tensors
from harness.weights.files import read_contents
from harness.weights.layouts import relayout, to_layout
from harness.weights.loading import open_weights

pytestmark = pytest.mark.torch

TYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16]
TYPES += [torch.int8, torch.uint8, torch.bool]
ZIPPED = {"zip": True, "legacy": False}


def equal(state, path):
    """Whether the file gives these tensors: same names, shapes, values and, bfloat16 apart, types."""
    read = read_tensors(path)
    assert list(read) == list(state)
    for name, value in state.items():
        wanted = value.detach().float() if value.dtype == torch.bfloat16 else value.detach()
        assert read[name].dtype == wanted.numpy().dtype
        assert read[name].shape == tuple(value.shape)
        assert read[name].tobytes() == wanted.contiguous().numpy().tobytes()
    return True


@pytest.mark.parametrize("container", sorted(ZIPPED))
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_tensor_that_torch_saves_comes_back(tmp_path_factory, container, data):
    """All types and shapes, transposed, sliced, strided and sharing storages, in both containers."""
    path = tmp_path_factory.getbasetemp() / f"{container}.pth"
    shape = data.draw(st.lists(st.integers(0, 4), max_size=4))
    dtype = data.draw(st.sampled_from(TYPES))
    whole = (torch.rand(shape) * 100 - 50).to(dtype)
    state = {"whole": whole, "turned": whole.permute(tuple(reversed(range(whole.dim())))), "again": whole}
    if whole.dim() and whole.shape[0]:
        state |= {"tail": whole[1:], "every other": whole[::2], "one": whole[0], "lead": whole[None]}
    torch.save(state, path, _use_new_zipfile_serialization=ZIPPED[container])
    assert equal(state, path)


@pytest.mark.parametrize("container", sorted(ZIPPED))
def test_state_dicts_of_modules_come_back(tmp_path, container):
    """An ordered state dict with torch's notes of versions, parameters among them, wrapped in a checkpoint."""
    path = tmp_path / "w.pth"
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(memory_format=torch.channels_last)
    state = dict(model.named_parameters()) | dict(model.named_buffers())
    for value in (model.state_dict(), {"state_dict": model.state_dict(), "epoch": 3, "loss": 0.25, "names": ["a"]}):
        torch.save(value, path, _use_new_zipfile_serialization=ZIPPED[container])
        assert equal(model.state_dict(), path)
    torch.save(state, path, _use_new_zipfile_serialization=ZIPPED[container])
    assert equal(state, path)
    assert read_contents(path).container == f"torch {container}"


def test_whole_models_are_refused(tmp_path):
    """A pickled module is code by name: the line says what to save instead."""
    path = tmp_path / "w.pth"
    for value in (nn.Linear(2, 2), {"model": nn.Linear(2, 2)}):
        torch.save(value, path)
        with pytest.raises(
            WeightsError, match=r"the pickle names torch.nn.modules.linear.Linear; a state dict alone is"
        ):
            read_tensors(path)


@pytest.mark.parametrize("keep", [0.02, 0.5, 0.98])
@pytest.mark.parametrize("container", sorted(ZIPPED))
def test_cut_files_are_one_line(tmp_path, container, keep):
    """A download that stopped is refused, wherever it did."""
    path = tmp_path / "w.pth"
    torch.save(nn.Linear(64, 64).state_dict(), path, _use_new_zipfile_serialization=ZIPPED[container])
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(WeightsError, match=r"^[^\n]*w.pth [^\n]*(cut|damaged|neither)[^\n]*$"):
        read_tensors(path)


@pytest.fixture(scope="module")
def detector():
    """Torchvision's Mask R-CNN, untrained."""
    return maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)


def test_torchvision_s_detector_goes_to_tensorflow_and_back(tmp_path, detector):
    """All 307 tensors of the published model fit, and come back equal to the bit."""
    source, there, back = tmp_path / "s.pth", tmp_path / "t.safetensors", tmp_path / "b.safetensors"
    torch.save(detector.state_dict(), source)
    assert convert(source, there, to="tf").fit.exact
    assert convert(there, back, to="torch").fit.exact
    returned = read_tensors(back)
    wanted = {name: value for name, value in detector.state_dict().items() if "num_batches" not in name}
    assert returned.keys() == wanted.keys()
    assert all(returned[name].tobytes() == value.numpy().tobytes() for name, value in wanted.items())


def test_torchvision_reads_older_names_as_we_do(detector):
    """Torchvision itself loads the names of before 0.14 into the tensors that we say they are."""
    from harness.weights.names import recognise

    state = {name: value for name, value in detector.state_dict().items() if "num_batches" not in name}
    older = {name.replace("blocks.0.0.", "blocks.0.").replace("head.conv.0.0.", "head.conv."): name for name in state}
    for block in (1, 2, 3):
        older = {old.replace(f"blocks.{block}.0.", f"blocks.{block}."): name for old, name in older.items()}
    for layer in range(4):
        older = {
            old.replace(f"mask_head.{layer}.0", f"mask_head.mask_fcn{layer + 1}"): name for old, name in older.items()
        }
    result = detector.load_state_dict({old: state[name] for old, name in older.items()}, strict=False)
    assert not result.unexpected_keys
    found = recognise(older)
    assert found is not None
    assert found.names == older


@pytest.mark.parametrize(("build", "name"), [(resnet18, "resnet18"), (resnet50, "resnet50")])
def test_torchvision_s_classifiers_are_trunks(build, name):
    """The specification of a trunk has the names and shapes of torchvision's network, its classifier apart."""
    with torch.device("meta"):
        state = build(weights=None).state_dict()
    given_shapes = {key: tuple(value.shape) for key, value in state.items() if "num_batches" not in key}
    found = fit(maskrcnn.trunk(name), given_shapes)
    assert (found.whole, found.left_over) == (True, ("fc.weight", "fc.bias"))


def windows(image_HWC, kernel, stride=1):
    """What a kernel sees at each position, [rows, columns, kernel, kernel, C]."""
    view = np.lib.stride_tricks.sliding_window_view(image_HWC, (kernel, kernel), axis=(0, 1))
    return view.transpose(0, 1, 3, 4, 2)[::stride, ::stride]


def test_kernels_of_the_other_layout_convolve_alike():
    """With TensorFlow's definition of each operation, written out, converted kernels give what torch gives."""
    image_CHW, weight = torch.rand(3, 6, 6).double(), torch.rand(5, 3, 3, 3).double()
    image_HWC = image_CHW.permute(1, 2, 0).numpy()
    moved = relayout("backbone.body.conv1.weight", weight.numpy(), "torch", "tf")
    actual = np.einsum("yxijc,ijco->oyx", windows(image_HWC, 3), moved)
    np.testing.assert_allclose(actual, conv2d(image_CHW[None], weight)[0].numpy())
    deep = torch.rand(3, 1, 3, 3).double()
    moved = relayout("fpn.conv_dw.weight", deep.numpy(), "torch", "tf")
    actual = np.einsum("yxijc,ijcm->cyx", windows(image_HWC, 3), moved)
    np.testing.assert_allclose(actual, conv2d(image_CHW[None], deep, groups=3)[0].numpy())
    up = torch.rand(3, 5, 2, 2).double()
    moved = relayout("mask_predictor.conv5_mask.weight", up.numpy(), "torch", "tf")
    actual = np.einsum("yxc,ijoc->oyixj", image_HWC, moved).reshape(5, 12, 12)
    np.testing.assert_allclose(actual, conv_transpose2d(image_CHW[None], up, stride=2)[0].numpy())


@pytest.fixture(scope="module")
def effdet():
    """The package effdet, whose import warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import effdet
    return effdet


@pytest.mark.parametrize("variant", ["d0", "d1", "d4", "d6", "lite0"])
def test_the_levels_of_effdet_are_known(effdet, variant):
    """Names and shapes of every depth, width and kind of fusion are effdet's, without one missing or left over."""
    from harness.weights import efficientdet

    config = effdet.get_efficientdet_config(f"tf_efficientdet_{variant}")
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        state = effdet.EfficientDet(config, pretrained_backbone=False).state_dict()
    given_shapes = {key: tuple(value.shape) for key, value in state.items() if "num_batches" not in key}
    kind = efficientdet.kind_of(given_shapes)
    assert (kind.level, kind.classes) == (int(variant[-1]), 90)
    assert fit(efficientdet.tensors(kind), given_shapes).exact


def test_effdet_s_d0_goes_to_tensorflow_and_back(tmp_path, effdet):
    """All 676 tensors fit and come back equal to the bit; trained parameters are 3,880,067."""
    from harness.weights import inspect

    source, there = tmp_path / "s.pth", tmp_path / "t.safetensors"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = effdet.create_model("tf_efficientdet_d0", pretrained=False, pretrained_backbone=False)
    torch.save({"state_dict": {f"model.{name}": value for name, value in model.state_dict().items()}}, source)
    done = convert(source, there, to="tf")
    assert (done.kind, len(done.fit.fits), done.fit.exact) == ("EfficientDet-D0", 676, True)
    assert inspect(there).parameters == 3_880_067 == sum(value.numel() for value in model.parameters())
    back = to_layout(read_tensors(there), "tf", "torch")
    wanted = {name: value for name, value in model.state_dict().items() if "num_batches" not in name}
    assert back.keys() == wanted.keys()
    assert all(back[name].tobytes() == value.numpy().tobytes() for name, value in wanted.items())


def test_timm_s_classifier_is_a_backbone(tmp_path, effdet):
    """The packaged Lite0 weights and timm's own model are one backbone under effdet's names."""
    timm = pytest.importorskip("timm")
    source = tmp_path / "s.pth"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict(), source)
    weights = open_weights(source)
    assert (weights.part, weights.fit("trunk").exact) == ("trunk", True)
    assert len(load_for(source, layout="tf", model="efficientdet", part="trunk")) == 240
