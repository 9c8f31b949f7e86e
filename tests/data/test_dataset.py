import contextlib
import hashlib
import io
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from coco_sets import BIG, annotation, content, write
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO

from harness.data import fingerprint, open_dataset, rasterise
from harness.data.pack import build
from harness.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def small(tmp_path):
    """The small set, opened."""
    return open_dataset(write(tmp_path / "set", content()))


def coco_api(data):
    """Hand a COCO dict to the COCO API."""
    api = COCO()
    api.dataset = json.loads(json.dumps(data))
    with contextlib.redirect_stdout(io.StringIO()):
        api.createIndex()
    return api


def test_importing_the_room_is_light():
    """The room's package imports neither numpy nor a decoder until a name is used."""
    code = "import sys, harness.data; print([m for m in ('numpy', 'cv2', 'PIL', 'simplejpeg') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_every_exported_name_is_there():
    """Each exported name can be imported, and another one is an AttributeError."""
    import harness.data

    assert all(getattr(harness.data, name) is not None for name in harness.data.__all__)
    assert callable(harness.data.resize)
    with pytest.raises(AttributeError, match="nothing"):
        _ = harness.data.nothing


def test_images_keep_the_files_order(small):
    """Images, ids and categories are as the file has them; categories ascend."""
    assert len(small) == 2
    assert list(small.image_ids) == [42, 7]
    assert small.image(1) == (7, "sub/a.png", 8, 10)
    assert small.category_ids == (3, 18)
    assert small.category_names == {3: "car", 18: "dog"}


def test_annotations_are_grouped_by_image(small):
    """An image's objects come in file order, boxes as corners, ids above 2**32 whole."""
    first, second = small.annotations(0), small.annotations(1)
    assert len(first) == 2
    assert first.ids_N.tolist() == [BIG, 2]
    assert first.crowd_N.tolist() == [True, False]
    assert first.labels_N.tolist() == [3, 18]
    assert second.ids_N.tolist() == [5, 1]
    assert second.boxes_N4.tolist() == [[2, 1, 6, 5], [2.5, 1.25, 6, 5]]
    assert second.area_N.tolist() == [16, 13.5]
    assert (second.boxes_N4.dtype, second.labels_N.dtype, second.ids_N.dtype) == (np.float32, np.int64, np.int64)


def test_segmentations_draw_what_the_coco_api_draws(small):
    """Polygons, unions and run lengths of every object give the COCO API's mask."""
    api = coco_api(content())
    for index in range(len(small)):
        record, objects = small.image(index), small.annotations(index)
        for identity, shape in zip(objects.ids_N.tolist(), objects.segmentations, strict=True):
            expected = api.annToMask(api.anns[identity]).astype(bool)
            np.testing.assert_array_equal(rasterise(shape, record.height, record.width), expected)


def test_the_ground_truth_is_given_back(small):
    """The COCO dict has the file's ids, boxes, areas and masks, in the file's order."""
    given_back, original = small.coco(), content()
    api, again = coco_api(original), coco_api(given_back)
    assert [image["id"] for image in given_back["images"]] == [42, 7]
    for before, after in zip(original["annotations"], given_back["annotations"], strict=True):
        keys = ("id", "image_id", "category_id", "bbox", "area", "iscrowd")
        assert [after[key] for key in keys] == [before[key] for key in keys]
        np.testing.assert_array_equal(again.annToMask(after), api.annToMask(before))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2)), max_size=40), st.permutations(range(10)))
@settings(max_examples=50, deadline=None)
def test_grouping_equals_the_coco_api(owners, order):
    """Whatever the order of images and annotations, each image gets what the COCO API gives it."""
    data = content() | {
        "images": [{"id": 11 * i, "file_name": f"{i}", "width": 9, "height": 9} for i in order],
        "annotations": [annotation(n, 11 * i, category_id=(3, 18, 18)[c]) for n, (i, c) in enumerate(owners)],
    }
    api, index = coco_api(data), build(data, "it")
    for place, image_id in enumerate(index.image_ids):
        expected = [(record["id"], record["category_id"]) for record in api.imgToAnns[image_id]]
        found = index.annotations(place)
        assert list(zip(found.ids_N.tolist(), found.labels_N.tolist(), strict=True)) == expected


def test_a_set_without_annotations_opens(tmp_path):
    """No annotations is no fault: every image has none."""
    data = open_dataset(write(tmp_path / "set", content() | {"annotations": []}))
    assert data.annotations(0).boxes_N4.shape == (0, 4)
    assert data.annotations(1).segmentations == ()


def test_boxes_alone_are_enough(tmp_path):
    """Without segmentation and iscrowd an object has a box, no mask, and is no crowd."""
    bare = annotation(1, 7)
    del bare["segmentation"], bare["iscrowd"]
    objects = open_dataset(write(tmp_path / "set", content() | {"annotations": [bare]})).annotations(1)
    assert objects.segmentations == ((),)
    assert not objects.crowd_N[0]


def test_an_index_past_the_end_is_refused(small):
    """Places run from 0 to the length."""
    for index in (2, -1):
        with pytest.raises(IndexError, match="of 2"):
            small.annotations(index)


def test_threads_read_the_same(small):
    """Pixels and objects read by eight threads at once are those read alone."""
    expected = [small.load(index).sum() for index in range(2)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda place: small.load(place % 2).sum(), range(64))) == expected * 32


def test_images_may_lie_beside_the_file(tmp_path):
    """The images of a JSON file are in images/, in COCO's own layout, or beside it."""
    folder = tmp_path / "set"
    write(folder, content())
    reference = open_dataset(str(folder / "instances.json")).load(0)
    layout = tmp_path / "coco" / "annotations"
    layout.mkdir(parents=True)
    (folder / "instances.json").rename(layout / "instances_minival2014.json")
    (folder / "images").rename(tmp_path / "coco" / "val2014")
    official = open_dataset(str(layout / "instances_minival2014.json"))
    np.testing.assert_array_equal(official.load(0), reference)
    flat = tmp_path / "coco" / "val2014" / "x.json"
    flat.write_text(json.dumps(content()))
    np.testing.assert_array_equal(open_dataset(str(flat)).load(0), reference)


def test_the_fingerprint_is_of_the_annotations(tmp_path):
    """The fingerprint is the SHA-256 of the annotation file."""
    ref = write(tmp_path / "set", content())
    expected = hashlib.sha256((tmp_path / "set" / "instances.json").read_bytes()).hexdigest()
    assert open_dataset(ref).fingerprint() == expected


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "b.png of id 42 cannot be read: no such file"),
        (lambda path: path.write_bytes(path.read_bytes()[:60]), "b.png of id 42: broken image"),
        (
            lambda path: path.write_bytes((path.parent / "sub" / "a.png").read_bytes()),
            "has 8 x 10 pixels, .* says 12 x 9",
        ),
    ],
    ids=["missing", "truncated", "of another size"],
)
def test_a_broken_image_is_named(tmp_path, spoil, message):
    """A broken file is named with its id, and the others stay readable."""
    data = open_dataset(write(tmp_path / "set", content()))
    spoil(tmp_path / "set" / "images" / "b.png")
    with pytest.raises(DataError, match=f"(?i){message}"):
        data.load(0)
    assert data.load(1).shape == (10, 8, 3)


@pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname", "a/../../secret.png", "x\0y"])
def test_a_name_that_leaves_the_folder_is_not_opened(tmp_path, name):
    """File names cannot lead out of the image folder."""
    write(tmp_path / "set", content())
    spoilt = content()
    spoilt["images"][0]["file_name"] = name
    (tmp_path / "set" / "instances.json").write_text(json.dumps(spoilt))
    with pytest.raises(DataError, match="leads out of"):
        open_dataset(str(tmp_path / "set")).load(0)


def spoilt(**changes):
    """Return the small set with some of its lists changed."""
    return content() | changes


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"annotations": []}, "no list `images`"),
        (spoilt(categories=None), "no list `categories`"),
        (spoilt(annotations=[annotation(1, 9)]), "annotation 1 of it has no image: id 9"),
        (spoilt(annotations=[annotation(1, 7, category_id=4)]), "id 1 has category 4, which is not listed"),
        (spoilt(annotations=[annotation(1, 7, bbox=[1, 2, 3])]), "not x, y, width, height"),
        (spoilt(annotations=[annotation(1, 7, bbox=[1, 2, 3, "w"])]), r"of it with id 1 is \[1"),
        (spoilt(annotations=[annotation(1, 7, bbox=[1, 2, 3, float("nan")])]), "finite numbers"),
        (spoilt(annotations=[annotation(1, 7, bbox=[1, 2, -3, 1])]), "no negative size"),
        (spoilt(annotations=[annotation(1, 7, area=None)]), "id 1 has no `area`"),
        (spoilt(annotations=[annotation("1", 7)]), "`id` of the .* is '1'; an integer"),
        (spoilt(annotations=[annotation(2**70, 7)]), "too large"),
        (spoilt(annotations=[annotation(1, 7, segmentation=[[1, 2, 3, 4]])]), "id 1: a polygon of 4 numbers"),
        (spoilt(annotations=[annotation(1, 7, segmentation=[["a"] * 6])]), "id 1: "),
        (spoilt(annotations=[annotation(1, 7, segmentation={"size": [2, 2], "counts": [3]})]), "cover 3 pixels"),
        (spoilt(annotations=[annotation(1, 7, segmentation=[1, 2, 3, 4, 5, 6])]), "id 1: 1 is no polygon"),
        (spoilt(annotations=[annotation(1, 7, segmentation=[[0, 0, 1, 1, 2, float("inf")]])]), "id 1 holds a"),
        (spoilt(images=[{"id": 42, "file_name": "a", "width": 0, "height": 1}], annotations=[]), "42 has size 0 x 1"),
        (spoilt(categories=[{"id": 18, "name": "a"}, {"id": 18, "name": "b"}]), "an id twice"),
        (spoilt(images=[content()["images"][0]] * 2), "image id 42 stands twice"),
        (spoilt(images=[{"id": 42, "width": 1, "height": 1}], annotations=[]), "42 has no `file_name`"),
    ],
)  # fmt: skip
def test_a_broken_annotation_file_is_refused(data, message):
    """What would mislead a reader is refused in one line that names the record."""
    with pytest.raises(DataError, match=message) as caught:
        build(data, "it")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"images": [,]}', "is not JSON: expecting value at line 1, column 13"),
        (b"\xff\xfe{", "not JSON"),
        (b"[]", "holds a list"),
        (b"", "line 1, column 1"),
    ],
)
def test_a_file_that_is_no_json_is_located(tmp_path, text, message):
    """A file that cannot be parsed is named with line and column."""
    (tmp_path / "x.json").write_bytes(text)
    with pytest.raises(DataError, match=message):
        open_dataset(str(tmp_path / "x.json"))


def test_a_missing_set_says_where_it_was_looked_for(tmp_path):
    """The path that was looked for, and what would be right, are in the message."""
    with pytest.raises(DataError, match=f"no data set at {tmp_path}/instances.json; a folder with"):
        open_dataset(str(tmp_path))


def test_synthetic_sets_are_the_same_every_time():
    """A reference stands for the same pixels and objects; the size is as asked."""
    once, again = open_dataset("synthetic:64x48:5"), open_dataset("synthetic:64x48:5")
    assert len(once) == len(once.image_ids) == 5
    assert once.load(3).shape == (48, 64, 3)
    np.testing.assert_array_equal(once.load(3), again.load(3))
    assert (once.load(3) != once.load(4)).any()
    assert once.coco() == again.coco()
    assert once.fingerprint() == again.fingerprint() != open_dataset("synthetic:64x48:6").fingerprint()
    assert (len(open_dataset("synthetic")), open_dataset("synthetic").load(0).shape) == (64, (480, 640, 3))


def test_synthetic_objects_are_consistent():
    """Boxes lie in the image, and polygons fill half of each."""
    data = open_dataset("synthetic:64x48:3")
    objects = data.annotations(1)
    assert objects.boxes_N4.min() >= 0
    assert (objects.boxes_N4[:, 2:] <= [64, 48]).all()
    areas = [rasterise(shape, 48, 64).sum() for shape in objects.segmentations]
    np.testing.assert_allclose(areas, objects.area_N, rtol=0.2, atol=8)
    assert set(objects.labels_N.tolist()) <= set(data.category_ids)


@pytest.mark.parametrize("ref", ["synthetic:64", "synthetic:0x4", "synthetic:4x4:0", "synthetic:4x4:x", "synthetic:"])
def test_other_synthetic_references_are_refused(ref):
    """The form of a set in memory is said when it is not met."""
    with pytest.raises(DataError, match="WIDTHxHEIGHT:COUNT"):
        open_dataset(ref)


def test_a_fingerprint_needs_no_reading(tmp_path: Path) -> None:
    """The digest of the file is the same whether the set is opened or not, and a broken set has one too."""
    path = tmp_path / "instances.json"
    path.write_text("{ not json")
    assert fingerprint(str(path)) == hashlib.sha256(b"{ not json").hexdigest()
    assert fingerprint("synthetic:32x24:3") == open_dataset("synthetic:32x24:3").fingerprint()
