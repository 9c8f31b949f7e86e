"""TFRecord files of the published layout, without a framework: written, read back, damaged."""

import json
import re
import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from coco_sets import content, write
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from harness.cli import main
from harness.data import CocoMini, fingerprint, generate, open_dataset, rasterise_all, resolve
from harness.data.check import check
from harness.data.tfrecord_convert import convert
from harness.data.tfrecord_example import Span, decode, encode
from harness.data.tfrecord_file import RecordFile, masked, write_records
from harness.data.tfrecord_layout import decode_mask, encode_mask, fractions, pixels, written
from harness.errors import DataError


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """A coco-mini set of 20 images, and the same in three TFRecord files."""
    folder = tmp_path_factory.mktemp("records")
    generate(folder / "coco", CocoMini(images=20, size=96))
    assert convert(str(folder / "coco"), folder / "records", "train", 3) == 3
    return folder / "coco", folder / "records"


def test_a_converted_set_reads_back_equal(sets):
    """Images byte by byte, boxes, ids, crowds, areas, masks to the bit, categories and order come back."""
    before, after = (open_dataset(str(path)) for path in sets)
    assert list(after.image_ids) == list(before.image_ids)
    assert after.category_names == before.category_names
    outlined = 0
    for index in range(len(before)):
        record = before.image(index)
        assert after.image(index) == record
        assert after.encoded(index) == before.encoded(index)
        np.testing.assert_array_equal(after.load(index), before.load(index))
        found, expected = after.annotations(index), before.annotations(index)
        for name in ("boxes_N4", "labels_N", "crowd_N", "ids_N", "outlined_N"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
            assert getattr(found, name).dtype == getattr(expected, name).dtype
        np.testing.assert_array_equal(found.area_N, expected.area_N.astype(np.float32))
        drawn = [rasterise_all(objects.segmentations, record.height, record.width) for objects in (found, expected)]
        np.testing.assert_array_equal(*drawn)
        outlined += int(found.outlined_N.sum())
    assert outlined > 20


def test_the_ground_truth_of_a_converted_set_scores_the_same(sets):
    """Image, category, box, crowd and area of every annotation stand in the COCO dict as in the original."""
    before, after = (open_dataset(str(path)).coco() for path in sets)
    keys = ("id", "image_id", "category_id", "bbox", "area", "iscrowd")
    expected = {entry["id"]: [entry[key] for key in keys] for entry in before["annotations"]}
    found = {entry["id"]: [entry[key] for key in keys] for entry in after["annotations"]}
    assert found.keys() == expected.keys()
    for key, entry in found.items():
        assert entry[:3] == expected[key][:3]
        np.testing.assert_allclose(entry[3], expected[key][3], rtol=0, atol=1e-6)
        assert entry[4:] == [np.float32(expected[key][4]), expected[key][5]]
    assert all(isinstance(entry["segmentation"], dict) for entry in after["annotations"])
    assert after["categories"] == before["categories"]


def test_files_are_named_and_filled_as_published(sets):
    """Names count up to the number of files, and each record has the published features."""
    names = sorted(path.name for path in sets[1].iterdir())
    assert names == ["categories.json", *(f"train-0000{shard}-of-00003" for shard in range(3))]
    file = RecordFile(sets[1] / names[1])
    features = decode(file.view(*file.span(0)))
    sides = {f"bbox/{side}" for side in ("xmin", "xmax", "ymin", "ymax")}
    objects = sides | {"class/text", "class/label", "is_crowd", "area", "mask", "id"}
    image = {"height", "width", "filename", "source_id", "key/sha256", "encoded", "format"}
    assert set(features) == {f"image/{name}" for name in image} | {f"image/object/{name}" for name in objects}
    assert all(features[f"image/object/{side}"].min() >= 0 for side in sides)
    assert all(features[f"image/object/{side}"].max() <= 1 for side in sides)


def test_masks_are_left_out_when_not_wanted(sets, tmp_path):
    """Without masks the objects have boxes and no outlines."""
    convert(str(sets[0]), tmp_path / "set", "val", masks=False)
    dataset = open_dataset(str(tmp_path / "set"))
    assert len(list((tmp_path / "set").glob("val-*-of-00020"))) == 20
    found = [dataset.annotations(index) for index in range(len(dataset))]
    assert sum(len(objects) for objects in found) > 20
    assert not any(objects.outlined_N.any() for objects in found)
    assert all(shape == () for objects in found for shape in objects.segmentations)


def test_an_object_without_outline_stays_one(tmp_path):
    """Among objects with masks, one that the file gives no segmentation reads back without."""
    data = content()
    data["annotations"][0]["segmentation"] = []
    convert(write(tmp_path / "coco", data), tmp_path / "records", "train", 1)
    dataset = open_dataset(str(tmp_path / "records"))
    found = [dataset.annotations(index).outlined_N.tolist() for index in range(2)]
    assert found == [[True, True], [False, True]]
    assert dataset.annotations(1).segmentations[0] == ()
    assert dataset.coco()["annotations"][2]["segmentation"] == []


def test_converting_again_gives_the_same_set(sets, tmp_path):
    """A set in TFRecord files converts like any other, to the same bytes."""
    convert(str(sets[1]), tmp_path / "again", "train", 3)
    for path in sets[1].iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_set_is_named_by_folder_split_pattern_or_file(sets, tmp_path):
    """A folder of one split, a split in a folder of two, a pattern, and one file each open what they name."""
    folder = tmp_path / "both"
    folder.mkdir()
    for source in sets[1].iterdir():
        (folder / source.name).write_bytes(source.read_bytes())
        (folder / source.name.replace("train", "val")).write_bytes(source.read_bytes())
    sizes = {
        ref: len(open_dataset(resolve(str(ref))))
        for ref in (sets[1], folder / "train", folder / "val-*", folder / "val-00000-of-00003")
    }
    assert list(sizes.values()) == [20, 20, 20, 6]
    with pytest.raises(DataError, match=f"several series .*: {folder}/train, {folder}/val"):
        open_dataset(str(folder))
    assert fingerprint(str(folder / "val")) == open_dataset(str(sets[1])).fingerprint()
    assert fingerprint(str(folder / "val-00000-of-00003")) != fingerprint(str(sets[1]))


def test_a_missing_file_is_named(sets, tmp_path):
    """A series with a gap is no set."""
    for source in sets[1].iterdir():
        if source.name != "train-00001-of-00003":
            (tmp_path / source.name).write_bytes(source.read_bytes())
    with pytest.raises(DataError, match=r"1 of 3 files are missing, the first .*train-00001-of-00003"):
        open_dataset(str(tmp_path))


def one_file(folder: Path, name: str = "train-00000-of-00001") -> Path:
    """The small set in one file."""
    convert(write(folder / "coco", content()), folder / "records", "train", 1)
    return folder / "records" / name


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-1], "record 1 of .*train-00000-of-00001 is cut off: "),
        (lambda data: data + b"123", "record 2 of .* is cut off after 3 bytes"),
        (lambda data: b"\1" + data[1:], "record 0 of .* wrong checksum of its length"),
        (lambda data: b"\x1f\x8b" + data, "a TFRecord file, not compressed, is needed"),
    ],
    ids=["last byte gone", "bytes behind", "length changed", "compressed"],
)
def test_a_file_that_is_cut_or_overwritten_is_named(tmp_path, damage, message):
    """Damage between records is found on opening, with file and record."""
    path = one_file(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(str(tmp_path / "records"))
    assert "\n" not in str(caught.value)


def drawn(dataset):
    """What reads an image's first mask."""
    return lambda index: dataset.annotations(index).segmentations[0]


def test_a_damaged_record_is_named_and_the_others_stay_readable(tmp_path, capsys):
    """One flipped bit inside of a record is found when its image or a mask is read, and by `data check`."""
    path = one_file(tmp_path)
    data = bytearray(path.read_bytes())
    place = data.rindex(b"IDAT") + 6
    data[place] ^= 16
    path.write_bytes(data)
    dataset = open_dataset(str(path))
    for read in (dataset.load, dataset.encoded, drawn(dataset), lambda _: dataset.coco()):
        with pytest.raises(DataError, match=r"record 1 of .*train-00000-of-00001 has a wrong checksum"):
            read(1)
    assert dataset.load(0).shape == (9, 12, 3)
    assert len(check(str(path)).faults) == 1
    assert main(["data", "check", str(path)]) == 1
    assert "record 1 of" in capsys.readouterr().out


def image_features(**changes):
    """The features of a record with one object, some changed or taken away."""
    png = encode_mask(np.ones((4, 6), dtype=np.bool_))
    features = {
        "image/height": np.array([4]),
        "image/width": np.array([6]),
        "image/source_id": [b"12"],
        "image/encoded": [png],
        **{f"image/object/bbox/{side}": np.array([value], np.float32) for side, value in SIDES.items()},
        "image/object/class/label": np.array([18]),
    }
    return {name: value for name, value in (features | changes).items() if value is not None}


SIDES = {"xmin": 0.5, "xmax": 1.0, "ymin": 0.25, "ymax": 0.75}


def opened(folder, features):
    """A file of these records, opened as a set."""
    path = folder / "foreign.tfrecord"
    write_records(path, [encode(one) for one in features])
    return open_dataset(str(path))


def test_a_file_of_another_writer_needs_the_least_features(tmp_path):
    """Without ids, areas, crowds, names and masks a record still opens; categories are those that occur."""
    dataset = opened(tmp_path, [image_features(), image_features(**{"image/source_id": [b"7"]})])
    objects = dataset.annotations(1)
    assert objects.boxes_N4.tolist() == [[3, 1, 6, 3]]
    assert (objects.area_N.tolist(), objects.ids_N.tolist(), objects.crowd_N.tolist()) == ([6], [2], [False])
    assert dataset.category_names == {18: "18"}
    assert dataset.load(0).tolist() == np.ones((4, 6, 3)).tolist()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image/height": None}, "record 0 of .* has 0 numbers as image/height; 1 needed"),
        ({"image/height": [b"4"]}, "has bytes as image/height; numbers are needed"),
        ({"image/height": np.array([0])}, "has an image of 6 x 0"),
        ({"image/source_id": [b"photo"]}, "has 'photo' as image/source_id; the image's id"),
        ({"image/source_id": np.array([4])}, "has numbers as image/source_id"),
        ({"image/encoded": None}, "has 0 files as image/encoded"),
        ({"image/object/bbox/xmin": np.zeros(2, np.float32)}, "has 2 numbers as image/object/bbox/xmin; 1 needed"),
        ({"image/object/mask": [b"", b""]}, "has 2 masks of 1 objects"),
        ({"image/object/class/text": [b"a", b"b"]}, "has 2 names of 1 objects' classes"),
    ],
)
def test_a_record_of_another_layout_is_refused(tmp_path, changes, message):
    """What is missing or of another kind is named with file and record, in one line."""
    with pytest.raises(DataError, match=message) as caught:
        opened(tmp_path, [image_features(**changes)])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image/object/mask": [b"no png"]}, "image 12 in record 0 of .*: a mask is no PNG file"),
        ({"image/object/mask": [encode_mask(np.ones((2, 2), np.bool_))]}, "a mask has 2 x 2 pixels, the image 6 x 4"),
    ],
)
def test_a_broken_mask_is_named(tmp_path, changes, message):
    """A mask that cannot be read, or of another size, is found when it is asked for."""
    objects = opened(tmp_path, [image_features(**changes)]).annotations(0)
    assert objects.outlined_N.tolist() == [True]
    with pytest.raises(DataError, match=message):
        objects.segmentations[0]


def test_bytes_that_are_no_example_are_refused(tmp_path):
    """A sound record of something else is told from a damaged one."""
    write_records(tmp_path / "x.tfrecord", [b"\x0a\xff\x01"])
    with pytest.raises(DataError, match=r"record 0 of .*x\.tfrecord is no tf\.train\.Example: "):
        open_dataset(str(tmp_path / "x.tfrecord"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["coco", "records"], "records exists already; a new folder is needed"),
        (["coco", "new", "--shards", "9"], "9 files for 2 images; 1 to 2 are possible"),
        (["broken", "new"], "image .*b.png of id 42 cannot be read"),
        (["gif", "new"], "image b.gif of id 42 is neither JPEG nor PNG"),
        (["synthetic:8x8:2", "new"], "image 1 is made up in memory; a set of image files is needed"),
    ],
)
def test_what_cannot_be_converted_is_said_in_a_line(tmp_path, capsys, arguments, message):
    """The command refuses with the code of bad input, one line, and leaves nothing behind."""
    one_file(tmp_path)
    write(tmp_path / "broken", content())
    (tmp_path / "broken" / "images" / "b.png").unlink()
    data = json.loads(json.dumps(content()).replace("b.png", "b.gif"))
    write(tmp_path / "gif", data)
    before = sorted(path.name for path in tmp_path.iterdir())
    source = arguments[0] if ":" in arguments[0] else str(tmp_path / arguments[0])
    assert main(["data", "convert", source, str(tmp_path / arguments[1]), *arguments[2:]]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line), line
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_the_command_names_files_after_the_source(tmp_path, capsys):
    """A source with val in its name becomes val files, any other train files."""
    source = write(tmp_path / "my-val", content())
    assert main(["data", "convert", source, str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out'}: 2 files\n"
    assert sorted(path.name for path in (tmp_path / "out").glob("val*")) == ["val-00000-of-00002", "val-00001-of-00002"]


NAMES = st.text(max_size=12)
VALUES = st.one_of(
    st.lists(st.binary(max_size=300), max_size=4),
    st.lists(st.floats(width=32, allow_nan=False), max_size=5).map(lambda values: np.array(values, np.float32)),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5).map(lambda values: np.array(values, np.int64)),
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_examples_come_back(features):
    """Bytes, floats and integers of any size and sign are read as they were written."""
    data = memoryview(encode(features))
    found = decode(data)
    assert found.keys() == features.keys()
    for name, value in features.items():
        if isinstance(value, list):
            assert [bytes(data[slice(*span)]) for span in found[name]] == value
        elif len(value):
            np.testing.assert_array_equal(found[name], value)
            assert found[name].dtype == value.dtype


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 200), st.integers(0, 255))
def test_spoilt_examples_are_refused_or_read(noise, place, byte):
    """Whatever the bytes, reading ends with features inside of the data or with ValueError."""
    sound = bytearray(encode({"image/height": np.array([4, -1]), "name": [b"abc"], "area": np.ones(2, np.float32)}))
    sound[place % len(sound)] = byte
    for data in (noise, bytes(sound)):
        try:
            found = decode(memoryview(data))
        except ValueError:
            continue
        spans = [span for value in found.values() if isinstance(value, list) for span in value]
        assert all(isinstance(span, Span) and 0 <= span.start <= span.stop <= len(data) for span in spans)


def test_numbers_may_be_written_one_by_one():
    """Lists that are not packed, as other writers may have them, and unknown fields are read."""

    def field(number, data):
        return bytes([number << 3 | 2, len(data)]) + data

    floats = field(2, bytes([1 << 3 | 5]) + struct.pack("<f", 1.5) + bytes([1 << 3 | 5]) + struct.pack("<f", -2))
    integers = field(3, bytes([8, 5, 8, 7]) + bytes([2 << 3 | 0, 9]))
    entries = field(1, field(1, b"f") + field(2, floats)) + field(1, field(1, b"i") + field(2, integers))
    found = decode(memoryview(field(1, entries)))
    assert (found["f"].tolist(), found["i"].tolist()) == ([1.5, -2], [5, 7])


def test_checksums_are_the_published_ones():
    """CRC-32C of the standard's check value, masked as TensorFlow masks it."""
    crc = 0xE3069283
    expected = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    assert masked(b"123456789") == expected


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 5000), st.integers(0, 10**6), st.integers(0, 3))
def test_decimals_survive_their_fractions(side, number, digits):
    """A place in pixels with up to three digits comes back as written from its fraction in float32."""
    place = min(number / 10**digits, float(side))
    if round(place * 1000) > 2**23:
        return
    (found,) = pixels(fractions(np.array([place]), side), side)
    if side < 3000:
        assert found == place
    assert np.float32(found / side) == np.float32(place / side)
    assert written(np.array([place], np.float32)).astype(np.float32)[0] == np.float32(place)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32))
def test_masks_come_back_and_pillow_reads_them(height, width, seed):
    """Masks are PNG files of ones and zeros to any reader."""
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    data = encode_mask(mask.copy(order="F"))
    np.testing.assert_array_equal(decode_mask(memoryview(data), height, width), mask)
    with Image.open(BytesIO(data)) as picture:
        assert (picture.format, picture.mode) == ("PNG", "L")
        np.testing.assert_array_equal(np.asarray(picture), mask)
