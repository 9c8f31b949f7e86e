import json

import pytest
from coco_sets import BIG, annotation, content, write

from harness.data import CocoMini, generate
from harness.data.check import check
from harness.errors import DataError


def checked(folder, **changes):
    """Check the small set with some of its lists changed."""
    data = content() | changes
    write(folder / "set", content())
    (folder / "set" / "instances.json").write_text(json.dumps(data))
    return check(str(folder / "set"))


def only(found):
    """Return the one finding as a line."""
    assert len(found) == 1, [str(finding) for finding in found]
    return str(found[0])


def test_a_sound_set_has_no_fault(tmp_path):
    """A sound set has counts and notes, and no finding."""
    report = checked(tmp_path)
    assert report.findings == ()
    assert (report.images, report.annotations, report.categories) == (2, 4, 2)
    assert report.notes == (
        "1 annotation with ids above 2**32",
        "1 annotation of crowds",
        "1 annotation in run lengths",
    )


def test_a_generated_set_has_no_fault(tmp_path):
    """coco-mini is sound; its oddities are notes."""
    generate(tmp_path / "set", CocoMini(images=16, size=96))
    report = check(str(tmp_path / "set"))
    assert report.findings == ()
    text = " ".join(report.notes)
    assert all(word in text for word in ("gray", "CMYK", "EXIF", "progressive", "2**32", "without annotations"))


def test_broken_files_are_named(tmp_path):
    """Truncated and missing files are faults with name and id, and nothing else is."""
    generate(tmp_path / "set", CocoMini(images=16, size=96, faults=True))
    images = json.loads((tmp_path / "set" / "instances.json").read_text())["images"]
    expected = {f"{image['file_name']}, image {image['id']}" for image in (images[13], images[15])}
    report = check(str(tmp_path / "set"))
    assert {fault.where for fault in report.faults} == expected
    assert report.warnings == ()
    without_decoding = check(str(tmp_path / "set"), decode=False)
    assert only(without_decoding.faults).endswith("images")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bbox": [2, 1, 0, 4]}, "bbox has size 0 x 4"),
        ({"bbox": [2, 1, 4, 4.5], "area": float("inf")}, "area is inf"),
        ({"bbox": [2, 1, 4, float("nan")]}, "four finite numbers"),
        ({"bbox": [2, 1, 4]}, "four finite numbers"),
        ({"bbox": [5, 1, 9, 4]}, "stands out of the image of 8 x 10"),
        ({"bbox": [-3, 1, 4, 4]}, "stands out of the image of 8 x 10"),
        ({"segmentation": [[1, 2, 3, 4]]}, "a polygon has 4 numbers"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "a polygon has 7 numbers"),
        ({"segmentation": [[]]}, "a polygon has 0 numbers"),
        ({"segmentation": {"size": [8, 10], "counts": [80]}}, "run lengths are of 10 x 8 pixels, the image of 8 x 10"),
        ({"segmentation": {"size": [10, 8], "counts": [79]}}, "cover 79 pixels, the size 10 x 8 has 80"),
        ({"segmentation": {"size": [10, 8], "counts": "?"}}, "run length"),
        ({"image_id": 8}, "belongs to image 8, which is not listed"),
        ({"category_id": 4}, "has category 4, which is not listed"),
        ({"bbox": None}, "`bbox` is missing"),
        ({"area": "16"}, "`area` is '16', of the wrong type"),
    ],
)
def test_a_faulty_annotation_is_named(tmp_path, changes, message):
    """Each fault of an annotation is one line with file, id and what would be right."""
    fault = only(checked(tmp_path, annotations=[annotation(77, 7) | changes]).faults)
    assert message in fault
    assert "instances.json" in fault
    assert "77" in fault


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"area": 30}, "area is 30, its segmentation covers 16 pixels"),
        ({"iscrowd": 1}, "is a crowd of polygons"),
        ({"segmentation": []}, "has no segmentation"),
        ({"segmentation": [[3, 3, 3, 3, 3, 3]], "area": 0}, "covers no pixel"),
    ],
)
def test_doubts_are_warnings(tmp_path, changes, message):
    """What is unusual and perhaps wrong is a warning, no fault."""
    report = checked(tmp_path, annotations=[annotation(77, 7) | changes])
    assert report.faults == ()
    assert message in only(report.warnings)


def test_a_box_may_be_rounded_over_the_edge(tmp_path):
    """A box within a pixel of the image's edge is no fault."""
    assert checked(tmp_path, annotations=[annotation(1, 7, bbox=[-0.4, 0, 8.9, 10.2])]).findings == ()


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
def test_ids_that_stand_twice_are_faults(tmp_path, key):
    """A repeated id is named with its count."""
    records = content()[key]
    report = checked(tmp_path, **{key: [*records, records[0]]})
    identity = {"images": 42, "annotations": 5, "categories": 18}[key]
    assert f"instances.json, {key}: id {identity} stands 2 times" in only(report.faults)


@pytest.mark.parametrize("name", ["../instances.json", "/etc/hostname"])
def test_a_name_that_leaves_the_folder_is_a_fault(tmp_path, name, monkeypatch):
    """Such a file is reported and never opened."""
    opened = []
    monkeypatch.setattr("harness.data.check_image.read_header", opened.append)
    images = [content()["images"][0] | {"file_name": name}]
    assert "leads out of" in only(checked(tmp_path, images=images, annotations=[]).faults)
    assert opened == []


def test_a_wrong_size_is_a_fault(tmp_path):
    """Sizes in the annotation file are those on disk."""
    images = [content()["images"][0] | {"width": 9, "height": 12}]
    assert "has 12 x 9 pixels, the annotation file says 9 x 12" in only(
        checked(tmp_path, images=images, annotations=[]).faults
    )


def test_all_faults_are_found_at_once(tmp_path):
    """A check goes on after the first fault."""
    broken = [annotation(1, 7, bbox=[0, 0, 0, 0]), annotation(BIG, 9), 5, annotation(3, 7, category_id=None)]
    report = checked(tmp_path, annotations=broken)
    text = "\n".join(str(fault) for fault in report.faults)
    assert len(report.faults) == 4
    assert "annotations[2]: is a int" in text
    assert "annotations[3] with id 3: `category_id` is missing" in text


@pytest.mark.parametrize(("text", "message"), [("{", "line 1, column 2"), ('{"images": []}', "no list `annotations`")])
def test_what_cannot_be_opened_is_an_error(tmp_path, text, message):
    """No JSON, or no instances file, is a DataError instead of a report."""
    (tmp_path / "instances.json").write_text(text)
    with pytest.raises(DataError, match=message):
        check(str(tmp_path))
    with pytest.raises(DataError, match="made up in memory"):
        check("synthetic")
