import json
import multiprocessing
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from harness.data import CocoMini, generate, open_dataset
from harness.data.shapes import KINDS, clipped
from harness.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
ODDITIES = {
    "gray",
    "cmyk",
    "progressive",
    "exif",
    "odd_name",
    "crowd",
    "big_id",
    "empty",
    "polygon",
    "multi_polygon",
    "rle",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A set of 48 images."""
    folder = tmp_path_factory.mktemp("mini") / "train"
    generate(folder, CocoMini(images=48, size=128))
    return folder


@pytest.fixture(scope="module")
def listed(made):
    """Its annotation file."""
    return json.loads((made / "instances.json").read_text())


def digest(folder: Path) -> str:
    """Hash all names and bytes of a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return sha256(b"".join(str(path.relative_to(folder)).encode() + path.read_bytes() for path in files)).hexdigest()


def test_the_same_settings_give_the_same_bytes(made, tmp_path):
    """All files are equal on a second run; another seed or split gives others."""
    generate(tmp_path / "again", CocoMini(images=48, size=128))
    assert digest(tmp_path / "again") == digest(made)
    generate(tmp_path / "seed", CocoMini(images=48, size=128, seed=1))
    assert digest(tmp_path / "seed") != digest(made)


def test_splits_share_nothing(made, listed, tmp_path):
    """No image and no image id of train is in val."""
    generate(tmp_path / "val", CocoMini(images=48, size=128, split="val"))
    train, val = open_dataset(str(made)), open_dataset(str(tmp_path / "val"))
    assert not set(train.image_ids) & set(val.image_ids)
    pixels = [{sha256(data.load(i).tobytes()).hexdigest() for i in range(len(data))} for data in (train, val)]
    assert not pixels[0] & pixels[1]
    assert [len(part) for part in pixels] == [48, 48]


def test_all_oddities_are_there_and_flagged(made, listed):
    """Each oddity is flagged somewhere, and a flag on coding or rotation is true of the file."""
    flags = {image["file_name"]: set(image["coco_mini_kinds"]) for image in listed["images"]}
    assert set().union(*flags.values()) == ODDITIES
    for file_name, kinds in flags.items():
        with Image.open(made / "images" / file_name) as image:
            assert (image.mode == "L") == ("gray" in kinds)
            assert (image.mode == "CMYK") == ("cmyk" in kinds)
            assert bool(image.info.get("progressive")) == ("progressive" in kinds)
            assert (image.getexif().get(0x112, 1) != 1) == ("exif" in kinds)
        assert (not file_name[:12].isdigit()) == ("odd_name" in kinds)


def test_flags_on_content_are_true(listed):
    """Flags on annotations say what the annotations are."""
    for image in listed["images"]:
        own = [record for record in listed["annotations"] if record["image_id"] == image["id"]]
        shapes = [record["segmentation"] for record in own if not record["iscrowd"]]
        kinds = set(image["coco_mini_kinds"])
        assert (not own) == ("empty" in kinds)
        assert any(record["iscrowd"] for record in own) == ("crowd" in kinds)
        assert any(record["id"] > 2**32 for record in own) == ("big_id" in kinds)
        assert any(isinstance(shape, dict) for shape in shapes) == ("rle" in kinds)
        assert any(isinstance(shape, list) and len(shape) > 1 for shape in shapes) == ("multi_polygon" in kinds)


def test_ids_are_unique_with_gaps(listed):
    """Ids of images and annotations are unique, those of images and categories have gaps."""
    for key in ("images", "annotations", "categories"):
        ids = [record["id"] for record in listed[key]]
        assert len(set(ids)) == len(ids)
    image_ids = [image["id"] for image in listed["images"]]
    assert max(image_ids) - min(image_ids) >= 6 * len(image_ids)
    assert [category["id"] for category in listed["categories"]] == [1, 3, 7, 13, 90]


def test_areas_and_boxes_are_those_of_the_masks(listed):
    """Areas equal the COCO API's; boxes hold the mask and exceed it by less than two pixels."""
    sizes = {image["id"]: (image["height"], image["width"]) for image in listed["images"]}
    for record in listed["annotations"]:
        runs = record["segmentation"]
        if isinstance(runs, list):
            runs = coco_mask.merge(coco_mask.frPyObjects(runs, *sizes[record["image_id"]]))
        elif isinstance(runs["counts"], list):
            runs = coco_mask.frPyObjects(runs, *runs["size"])
        assert record["area"] == coco_mask.area(runs) > 0
        x, y, width, height = record["bbox"]
        drawn = coco_mask.toBbox(runs)
        np.testing.assert_allclose([x, y, x + width, y + height], [*drawn[:2], *(drawn[:2] + drawn[2:])], atol=2)
        assert min(width, height) > 0


def test_masks_cover_the_colour_of_their_category(made):
    """In colour images the mean colour under a mask is nearest to its category's, so that it can be learnt."""
    from harness.data import rasterise

    data, colours = open_dataset(str(made)), np.array([kind.colour for kind in KINDS])
    labels = [kind.id for kind in KINDS]
    right = []
    for index in range(len(data)):
        pixels = data.load(index)
        if (pixels[..., 0] == pixels[..., 1]).all():
            continue
        objects = data.annotations(index)
        for shape, label in zip(objects.segmentations, objects.labels_N, strict=True):
            mean = pixels[rasterise(shape, *pixels.shape[:2])].mean(axis=0)
            right.append(labels[int(np.linalg.norm(colours - mean, axis=1).argmin())] == label)
    assert len(right) > 60
    assert np.mean(right) > 0.97


def test_sizes_follow_the_longer_side(listed):
    """The longer side is as asked; both orientations occur."""
    sizes = {(image["width"], image["height"]) for image in listed["images"]}
    assert {max(size) for size in sizes} == {128}
    assert {(128, 96), (96, 128)} <= sizes


def test_faults_come_only_when_asked_for(tmp_path):
    """With faults one image of sixteen is truncated and one missing, flagged; all others load."""
    generate(tmp_path / "broken", CocoMini(images=16, size=64, faults=True))
    data = open_dataset(str(tmp_path / "broken"))
    images = json.loads((tmp_path / "broken" / "instances.json").read_text())["images"]
    for index, image in enumerate(images):
        if {"truncated", "missing"} & set(image["coco_mini_kinds"]):
            with pytest.raises(DataError, match=f"of id {image['id']}"):
                data.load(index)
        else:
            data.load(index)
    flags = [kind for image in images for kind in image["coco_mini_kinds"]]
    assert (flags.count("truncated"), flags.count("missing")) == (1, 1)


def test_an_existing_folder_is_left_alone(made):
    """A folder that is there is not overwritten."""
    before = digest(made)
    with pytest.raises(DataError, match="exists already"):
        generate(made, CocoMini(images=1))
    assert digest(made) == before


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    """When writing fails halfway, neither the set nor a scratch folder stays."""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("harness.data.coco_mini._save", full)
    with pytest.raises(DataError, match=r"(?i)cannot write .*: no space left"):
        generate(tmp_path / "x", CocoMini(images=2, size=64))
    assert list(tmp_path.iterdir()) == []


def test_clipping_keeps_what_is_inside():
    """A square half outside is cut at the frame; one wholly outside vanishes; one inside is untouched."""
    square = np.array([[-2.0, 1], [2, 1], [2, 3], [-2, 3]])
    cut = clipped(square, 10, 10)
    assert {tuple(point) for point in cut.tolist()} == {(0, 1), (2, 1), (2, 3), (0, 3)}
    assert len(clipped(square - [20, 0], 10, 10)) == 0
    np.testing.assert_array_equal(clipped(square + 4, 10, 10), square + 4)


def _resolve(folder: Path) -> str:
    from harness.data import resolve

    return resolve("coco-mini:images=6,size=64/train", folder)


def test_processes_at_once_make_one_set(tmp_path):
    """Processes that ask for the same set at once all get the one set, whole."""
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.map(_resolve, [tmp_path] * 4, chunksize=1)
    assert len(set(found)) == 1
    assert len(open_dataset(found[0])) == 6
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [Path(found[0]).name]
