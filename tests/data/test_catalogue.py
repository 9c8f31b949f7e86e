import json
from pathlib import Path

import pytest

from harness.data import open_dataset, resolve
from harness.data.catalogue import data_folder, parse_coco_mini
from harness.errors import DataError


def test_sets_in_memory_pass_through():
    """A synthetic name is its own reference."""
    assert resolve("synthetic:32x32:4") == "synthetic:32x32:4"


def test_coco_mini_is_made_once(tmp_path):
    """A set is generated on first use, found afterwards, and apart from one with other settings."""
    name = "coco-mini:images=3,size=64,seed=5/val"
    ref = resolve(name, tmp_path)
    stamp = (Path(ref) / "instances.json").stat().st_mtime_ns
    assert len(open_dataset(ref)) == 3
    assert resolve(name, tmp_path) == ref
    assert (Path(ref) / "instances.json").stat().st_mtime_ns == stamp
    assert resolve("coco-mini:images=3,size=64,seed=6/val", tmp_path) != ref


def test_settings_are_read_from_the_name():
    """Settings not given have defaults, those given are typed."""
    settings = parse_coco_mini("coco-mini:size=320,faults=true/val")
    assert (settings.images, settings.size, settings.seed, settings.split, settings.faults) == (64, 320, 0, "val", True)
    assert parse_coco_mini("coco-mini/train").images == 256


@pytest.mark.parametrize("root", ["coco2017", "coco2014"])
def test_coco_is_found_in_its_own_layout(tmp_path, root):
    """COCO's names stand for the usual files under the data folder."""
    name, file = {
        "coco2017": ("coco2017/val", "instances_val2017.json"),
        "coco2014": ("coco2014/minival", "instances_minival2014.json"),
    }[root]
    with pytest.raises(DataError, match=f"{name} is not there: {tmp_path}/{root}/annotations/{file} is missing"):
        resolve(name, tmp_path)
    path = tmp_path / root / "annotations" / file
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    assert resolve(name, tmp_path) == str(path)
    assert len(open_dataset(str(path))) == 0


def test_a_path_is_its_own_reference(tmp_path, monkeypatch):
    """Anything that exists on disk is taken as a path, and made absolute."""
    assert resolve(str(tmp_path)) == str(tmp_path)
    monkeypatch.chdir(tmp_path.parent)
    assert resolve(tmp_path.name) == str(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("coco2017/vla", "near: coco2017/val"),
        ("coco-min/train", "near: coco-mini/train"),
        ("nothing like it", "known: synthetic"),
        ("coco-mini", "is no coco-mini set"),
        ("coco-mini/test", "is no coco-mini set"),
        ("coco-mini:colour=1/val", "'colour' in .* is no setting; images, size, seed, faults are"),
        ("coco-mini:images=0/val", "'images' in .*greater than or equal to 1"),
        ("coco-mini:images=x/val", "'images' in .*valid integer"),
        ("synthetic:4x", "WIDTHxHEIGHT:COUNT"),
    ],
)
def test_unknown_names_are_refused(tmp_path, name, message):
    """A name that is neither known nor a path is refused, with the near names or the form that is right."""
    with pytest.raises(DataError, match=message):
        resolve(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_data_folder_comes_from_the_environment(monkeypatch, tmp_path):
    """HARNESS_DATA_DIR decides; without it the user's cache does."""
    monkeypatch.setenv("HARNESS_DATA_DIR", str(tmp_path))
    assert data_folder() == tmp_path
    monkeypatch.delenv("HARNESS_DATA_DIR")
    assert data_folder() == Path.home() / ".cache" / "detection-harness"


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    """Where a set cannot be written, the message says so."""
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write .*file"):
        resolve("coco-mini:images=1,size=64/val", tmp_path / "file")
