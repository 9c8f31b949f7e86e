"""The tf.data pipeline: which pixels reach the model, in which order, and what it says of broken files."""

import subprocess
import sys
import threading
from collections import Counter
from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from backends.tf_impl.data import ROW, Inputs, Pipeline, _decoded
from harness.api import UnsupportedTrialError
from harness.data import (
    CocoMini,
    FixedCanvas,
    OwnCanvas,
    Resizing,
    Share,
    flip_image,
    flipped,
    generate,
    open_dataset,
    pad_to,
    plain_size,
    rasterise_all,
    resize,
)
from harness.data.tfrecord_convert import convert
from harness.errors import DataError

pytestmark = pytest.mark.tf
OWN = {method: OwnCanvas(Resizing(80, 133, "floor", method, 32)) for method in ("opencv", "pillow")}
JITTER = FixedCanvas(96, 96, jitter=(0.1, 2.0))


ALONE = Share(0, 1, 3)


def pipeline(dataset, framing=OWN["opencv"], share=ALONE, **changes):
    """A pipeline with two threads."""
    return Pipeline(dataset, framing, share, **({"threads": 2, "depth": 2} | changes))


def learnable(dataset):
    """Places of the images that have an object with an outline that is no crowd."""
    objects = map(dataset.annotations, range(len(dataset)))
    return [place for place, found in enumerate(objects) if (found.outlined_N & ~found.crowd_N).any()]


def told(index, frame, mirrored, canvas):
    """A target of what the pipeline says of an image."""
    return {
        "canvas": np.array(canvas),
        "ids": np.int64(frame.image_id),
        "mirrored": np.bool_(mirrored),
        "place": np.int32(index),
    }


def train(source, count, seed=5, **changes):
    """All micro-batches of the first steps."""
    dataset = open_dataset(source)
    with closing(pipeline(dataset, **changes).train_batches(learnable(dataset), told, seed)) as batches:
        return [batch.payload for batch in islice(batches, count)]


@pytest.fixture(scope="module")
def records(mini, tmp_path_factory):
    """The train and val set of `mini` as TFRecord files."""
    folder = tmp_path_factory.mktemp("records")
    for source, split in zip(mini, ("train", "val"), strict=True):
        convert(source, folder / split, split, 3)
    return str(folder / "train"), str(folder / "val")


@pytest.fixture(scope="module")
def torchs(mini, tmp_path_factory):
    """What the torch backend is given, from a process of its own."""
    path = tmp_path_factory.mktemp("torch") / "inputs.npz"
    script = Path(__file__).with_name("torch_inputs.py")
    subprocess.run([sys.executable, str(script), *mini, str(path)], check=True, timeout=300)
    with np.load(path) as found:
        return dict(found)


def numbered(name, inputs, ids):
    """One batch in the form of torch_inputs.py."""
    arrays = {"images": inputs.images_BHW3.numpy(), "sizes": inputs.sizes_B2.numpy(), "ids": np.array(ids)}
    return {f"{name}/{key}": value for key, value in arrays.items()}


@pytest.mark.parametrize("source", ["json", "tfrecord"])
@pytest.mark.parametrize("method", ["opencv", "pillow"])
def test_both_frameworks_see_the_same_bytes(mini, records, torchs, source, method):
    """Training and evaluation batches equal the torch backend's to the bit, from files and from TFRecord alike."""
    train_set, val_set = mini if source == "json" else records
    found = {}
    for step, parts in enumerate(train(train_set, 6, framing=OWN[method], share=Share(1, 2, 3, 2))):
        for part, inputs in enumerate(parts):
            assert inputs.targets["ids"].numpy().tolist() == [frame.image_id for frame in inputs.frames]
            found |= numbered(f"{method}/train/{step}/{part}", inputs, inputs.targets["ids"].numpy())
    evaluation = pipeline(open_dataset(val_set), OWN[method], Share(1, 2, 3))
    for step, batch in enumerate(evaluation.inference_batches(endless=False, full=False)):
        found |= numbered(f"{method}/eval/{step}/0", batch.payload, [frame.image_id for frame in batch.payload.frames])
    expected = {name: value for name, value in torchs.items() if name.startswith(method)}
    assert len(expected) > 40
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    assert found[f"{method}/train/0/0/images"].dtype == np.uint8


@pytest.fixture(scope="module")
def forms(tmp_path_factory):
    """A set with gray, progressive, EXIF-rotated and subsampled JPEGs, large enough to cut windows out of."""
    folder = tmp_path_factory.mktemp("forms") / "set"
    generate(folder, CocoMini(images=16, size=160))
    return open_dataset(str(folder))


def test_decoded_windows_are_those_of_the_whole_image(forms):
    """TensorFlow's accurate decoding of any window has the pixels that `harness.data.decode` has there, to the bit."""
    compared = 0
    decoded = tf.function(_decoded, input_signature=(tf.TensorSpec((), tf.string), tf.TensorSpec((ROW,), tf.int64)))
    for index in range(len(forms)):
        data, whole = forms.encoded(index), forms.load(index)
        if plain_size(data) is None:
            continue
        random, (height, width) = np.random.default_rng(index), whole.shape[:2]
        tops, lefts = random.integers(0, (height, width), (12, 2)).T.tolist()
        for top, left in zip([0, *tops], [0, *lefts], strict=True):
            rows = int(random.integers(1, height - top + 1)) if top or left else height
            columns = int(random.integers(1, width - left + 1)) if top or left else width
            row = np.array([0, top, left, rows, columns, 0, 0, 0, 0, 0, height, width])
            expected = whole[top : top + rows, left : left + columns]
            np.testing.assert_array_equal(decoded(data, row).numpy(), expected)
            compared += 1
    assert compared > 150


@pytest.mark.parametrize("framing", [OWN["opencv"], JITTER, FixedCanvas(64, 128, oriented=True)], ids=str)
def test_every_image_stands_where_its_frame_says(forms, framing):
    """Each place of a batch is the frame's window of the image, resized, mirrored, top left on black."""
    seen = Counter()
    for parts in (part for payload in train_parts(forms, framing) for part in payload):
        canvas = framing.canvas(parts.frames)
        assert parts.images_BHW3.shape[1:3] == canvas
        assert {tuple(told) for told in parts.targets["canvas"].numpy().tolist()} == {canvas}
        for place, frame in enumerate(parts.frames):
            top, left, height, width = frame.region
            index, mirrored = (parts.targets[key][place].numpy() for key in ("place", "mirrored"))
            window = np.ascontiguousarray(forms.load(int(index))[top : top + height, left : left + width])
            expected = resize(window, *frame.size, framing.method)
            expected = pad_to(flip_image(expected) if mirrored else expected, *canvas)
            np.testing.assert_array_equal(parts.images_BHW3[place].numpy(), expected)
            assert parts.sizes_B2[place].numpy().tolist() == list(frame.size)
            seen[bool(mirrored), frame.window is not None] += 1
    assert {mirrored for mirrored, _ in seen} == {True, False}
    assert {cut for _, cut in seen} == ({True, False} if framing is JITTER else {False})


def train_parts(dataset, framing, count=8):
    """Payloads of the first training steps."""
    with closing(pipeline(dataset, framing).train_batches(learnable(dataset), told, 2)) as batches:
        return [batch.payload for batch in islice(batches, count)]


def test_an_image_is_the_same_however_the_work_is_shared(mini):
    """With jitter, batch size, ranks and threads change nothing about what an image of an epoch looks like."""
    alone = {
        (int(ids), int(step)): image.numpy()
        for step, payload in enumerate(train(mini[0], 2, framing=JITTER, share=Share(0, 1, 8), threads=1))
        for inputs in payload
        for image, ids in zip(inputs.images_BHW3, inputs.targets["ids"], strict=True)
    }
    shared = {
        (int(ids), int(step)): image.numpy()
        for rank in (0, 1)
        for step, payload in enumerate(train(mini[0], 2, framing=JITTER, share=Share(rank, 2, 2, 2)))
        for inputs in payload
        for image, ids in zip(inputs.images_BHW3, inputs.targets["ids"], strict=True)
    }
    assert len(alone) == 16
    assert shared.keys() == alone.keys()
    for key, image in alone.items():
        np.testing.assert_array_equal(shared[key], image)


def test_an_epoch_has_every_image_once_and_mirrors_by_chance(mini):
    """Over the epochs each learnable image comes once an epoch, in another order, mirrored as its draw says."""
    dataset = open_dataset(mini[0])
    usable = learnable(dataset)
    framing = FixedCanvas(32, 32)
    share = Share(0, 1, 2)
    steps = len(usable) // 2
    payloads = train(mini[0], 2 * steps, framing=framing, share=share)
    drawn = [int(ids) for (inputs,) in payloads for ids in inputs.targets["ids"]]
    first, second = drawn[: 2 * steps], drawn[2 * steps :]
    assert max(Counter(first).values()) == 1
    assert set(first) <= {dataset.image(index).id for index in usable}
    assert first != second
    expected = [flipped(5, 0, image) for image in first]
    assert [bool(flip) for (inputs,) in payloads[:steps] for flip in inputs.targets["mirrored"]] == expected


@pytest.mark.parametrize("world_size", [1, 3])
@pytest.mark.parametrize("framing", [OWN["opencv"], FixedCanvas(64, 64)], ids=str)
def test_evaluation_sees_every_image_once_in_full_batches(mini, framing, world_size):
    """All ranks together see each image once; batches keep their shape, black images fill the last of each group."""
    dataset = open_dataset(mini[1])
    seen, shapes = Counter(), set()
    for rank in range(world_size):
        for batch in pipeline(dataset, framing, Share(rank, world_size, 4)).inference_batches(endless=False):
            inputs = batch.payload
            seen.update(frame.image_id for frame in inputs.frames)
            assert (batch.images, inputs.images_BHW3.shape[0], inputs.sizes_B2.shape) == (len(inputs.frames), 4, (4, 2))
            assert not inputs.images_BHW3[batch.images :].numpy().any()
            assert (inputs.sizes_B2[batch.images :].numpy() == inputs.images_BHW3.shape[1:3]).all()
            shapes.add(tuple(inputs.images_BHW3.shape))
    assert seen == Counter(dataset.image_ids)
    assert len(shapes) == (1 if isinstance(framing, FixedCanvas) else len(shapes))


def test_inference_goes_on_without_end(mini):
    """More batches come than the shard has images, and closing leaves no thread of ours."""
    dataset = open_dataset(mini[1])
    with closing(pipeline(dataset).inference_batches(endless=True)) as batches:
        assert sum(batch.images for batch in islice(batches, 20)) > len(dataset)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_synthetic_sets_come_through_the_same_door():
    """A set in memory has no files to decode, and its pixels arrive as they are."""
    dataset = open_dataset("synthetic:64x64:5")
    (batch, *_) = pipeline(dataset, FixedCanvas(64, 64), Share(0, 1, 5)).inference_batches(endless=False)
    assert isinstance(batch.payload, Inputs)
    for place in range(5):
        np.testing.assert_array_equal(batch.payload.images_BHW3[place].numpy(), dataset.load(place))


def test_a_broken_image_is_named(tmp_path):
    """A truncated and a missing file end the loop with the error that names file and id."""
    generate(tmp_path / "set", CocoMini(images=16, size=64, faults=True))
    dataset = open_dataset(str(tmp_path / "set"))
    found = []
    for place, words in ((13, "broken JPEG"), (15, "cannot be read")):
        batches = pipeline(dataset, share=Share(place, 16, 1)).inference_batches(endless=False)
        with pytest.raises(DataError, match=f"of id {dataset.image(place).id}.*{words}") as caught:
            list(batches)
        found.append(str(caught.value))
    assert all("\n" not in line for line in found)


def test_a_damaged_record_is_named(mini, tmp_path):
    """A flipped bit in a TFRecord file ends the loop with file and record."""
    convert(mini[1], tmp_path / "set", "val", 1)
    path = tmp_path / "set" / "val-00000-of-00001"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"record \d+ of .*val-00000-of-00001 has a wrong checksum"):
        list(pipeline(open_dataset(str(path)), FixedCanvas(64, 64)).inference_batches(endless=False))


def test_nothing_to_learn_or_to_infer_is_declined(mini):
    """No usable image, and a rank without images that would loop for ever, are declined with the reason."""
    dataset = open_dataset(mini[1])
    with pytest.raises(UnsupportedTrialError, match="none of the 17 training images"):
        next(pipeline(dataset).train_batches([], told, 0))
    with pytest.raises(UnsupportedTrialError, match="17 val images leave none for rank 20"):
        next(pipeline(dataset, share=Share(20, 32, 1)).inference_batches(endless=True))


FEATURES = {
    "image/height": tf.io.FixedLenFeature((), tf.int64),
    "image/width": tf.io.FixedLenFeature((), tf.int64),
    "image/source_id": tf.io.FixedLenFeature((), tf.string),
    "image/encoded": tf.io.FixedLenFeature((), tf.string),
    "image/format": tf.io.FixedLenFeature((), tf.string),
    "image/object/class/label": tf.io.VarLenFeature(tf.int64),
    "image/object/class/text": tf.io.VarLenFeature(tf.string),
    "image/object/is_crowd": tf.io.VarLenFeature(tf.int64),
    "image/object/area": tf.io.VarLenFeature(tf.float32),
    "image/object/mask": tf.io.VarLenFeature(tf.string),
    **{f"image/object/bbox/{side}": tf.io.VarLenFeature(tf.float32) for side in ("xmin", "xmax", "ymin", "ymax")},
}


def test_tensorflow_reads_our_records(mini, records):
    """TFRecordDataset and parse_example find every published feature as the annotation file has it."""
    dataset = open_dataset(mini[0])
    paths = sorted(str(path) for path in Path(records[0]).glob("train-*"))
    found = list(tf.data.TFRecordDataset(paths))
    assert len(found) == len(dataset)
    for index, data in enumerate(found):
        parsed = tf.io.parse_single_example(data, FEATURES).items()
        one = {name: tf.sparse.to_dense(v) if isinstance(v, tf.SparseTensor) else v for name, v in parsed}
        record, objects = dataset.image(index), dataset.annotations(index)
        assert (int(one["image/height"]), int(one["image/width"])) == (record.height, record.width)
        assert one["image/source_id"].numpy() == str(record.id).encode()
        assert one["image/encoded"].numpy() == dataset.encoded(index)
        assert one["image/format"].numpy() == b"jpeg"
        np.testing.assert_array_equal(one["image/object/class/label"], objects.labels_N)
        names = [dataset.category_names[label].encode() for label in objects.labels_N.tolist()]
        assert one["image/object/class/text"].numpy().tolist() == names
        np.testing.assert_array_equal(one["image/object/is_crowd"], objects.crowd_N)
        np.testing.assert_array_equal(one["image/object/area"], objects.area_N.astype(np.float32))
        sides = [one[f"image/object/bbox/{side}"].numpy() for side in ("xmin", "ymin", "xmax", "ymax")]
        scale = (record.width, record.height) * 2
        np.testing.assert_allclose(np.stack(sides, axis=1) * scale, objects.boxes_N4, rtol=0, atol=2e-5)
        masks = [tf.io.decode_png(mask, channels=1)[:, :, 0].numpy() for mask in one["image/object/mask"]]
        expected = rasterise_all(objects.segmentations, record.height, record.width)
        np.testing.assert_array_equal(np.stack(masks) if masks else expected, expected)


def test_we_read_what_tensorflow_writes(records, tmp_path):
    """Records that TensorFlow's own protobuf and writer made open as the same set."""
    paths = sorted(str(path) for path in Path(records[0]).glob("train-*"))
    path = tmp_path / "theirs.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for data in tf.data.TFRecordDataset(paths):
            writer.write(tf.train.Example.FromString(data.numpy()).SerializeToString())
    (tmp_path / "categories.json").write_bytes((Path(records[0]) / "categories.json").read_bytes())
    ours, theirs = open_dataset(records[0]), open_dataset(str(path))
    assert theirs.coco() == ours.coco()
    assert [theirs.encoded(index) for index in range(len(ours))] == [ours.encoded(index) for index in range(len(ours))]
