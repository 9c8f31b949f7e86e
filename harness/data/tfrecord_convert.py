"""Writing a COCO-format set as TFRecord files of the published layout."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from harness.data.dataset import open_dataset
from harness.data.loader import prefetch
from harness.data.masks import rasterise
from harness.data.records import Annotations, Dataset, ImageRecord
from harness.data.tfrecord_example import Value, encode
from harness.data.tfrecord_file import write_records
from harness.data.tfrecord_layout import (
    encode_mask,
    fractions,
    image_format,
    no_mask,
    shard_name,
    write_categories,
    written,
)
from harness.errors import DataError

PUBLISHED_SHARDS = {"train": 256, "val": 32}


def convert(ref: str, folder: Path, split: str, shards: int | None = None, *, masks: bool = True) -> int:
    """Write a set into a folder that is not there yet; it appears whole or not at all.

    Images are copied byte by byte, in the set's order. Outlines become masks of the whole image: polygons do not come
    back from the files, what they cover does. Nothing is dropped; objects keep their ids in a feature of our own.

    Args:
        ref: What `open_dataset` takes.
        folder: Where to write; must not exist.
        split: What the files' names begin with.
        shards: How many files; None: as published, 256 for train and 32 for val, but no more than images.
        masks: Write the masks; without them the files are a fraction as large.

    Returns:
        The number of files.

    Raises:
        DataError: The folder exists, the set or one of its images is broken, or the disk is full.
    """
    if folder.exists():
        raise DataError(f"{folder} exists already; a new folder is needed")
    dataset = open_dataset(ref)
    count = _shards(len(dataset), split, shards)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
            draft = Path(scratch) / "set"
            draft.mkdir()
            _write(dataset, draft, split, count, masks=masks)
            draft.rename(folder)
    except OSError as error:
        raise DataError(f"cannot write {folder}: {error.strerror}") from error
    return count


def _shards(images: int, split: str, wanted: int | None) -> int:
    if images == 0:
        raise DataError("the set has no image; nothing to convert")
    if wanted is None:
        return min(PUBLISHED_SHARDS.get(split, PUBLISHED_SHARDS["train"]), images)
    if not 1 <= wanted <= images:
        raise DataError(f"{wanted} files for {images} images; 1 to {images} are possible")
    return wanted


def _write(dataset: Dataset, folder: Path, split: str, shards: int, *, masks: bool) -> None:
    """Write the files side by side; each has a stretch of the set, so that reading them in order gives its order."""
    limits = [len(dataset) * shard // shards for shard in range(shards + 1)]

    def write(shard: int) -> None:
        indices = range(limits[shard], limits[shard + 1])
        path = folder / shard_name(split, shard, shards)
        write_records(path, (encode(dict(_features(dataset, index, masks=masks))) for index in indices))

    threads = os.cpu_count() or 1
    for _ in prefetch(range(shards), write, threads=threads, depth=2 * threads):
        pass
    write_categories(folder, dataset.category_names)


def _features(dataset: Dataset, index: int, *, masks: bool) -> Iterator[tuple[str, Value]]:
    record, data = dataset.image(index), dataset.encoded(index)
    if data is None:
        raise DataError(f"image {record.id} is made up in memory; a set of image files is needed")
    dataset.load(index)  # a broken image is found now, not in the middle of a training
    kind = image_format(data)
    if kind is None:
        raise DataError(f"image {record.file_name} of id {record.id} is neither JPEG nor PNG, which this layout needs")
    yield "image/height", np.array([record.height])
    yield "image/width", np.array([record.width])
    yield "image/filename", [record.file_name.encode()]
    yield "image/source_id", [str(record.id).encode()]
    yield "image/key/sha256", [hashlib.sha256(data).hexdigest().encode()]
    yield "image/encoded", [data]
    yield "image/format", [kind.encode()]
    objects = dataset.annotations(index)
    yield from _objects(dataset, record, objects)
    if masks:
        yield "image/object/mask", [_mask(record, objects, place) for place in range(len(objects))]


def _objects(dataset: Dataset, record: ImageRecord, objects: Annotations) -> Iterator[tuple[str, Value]]:
    sides = (
        ("xmin", 0, record.width),
        ("xmax", 2, record.width),
        ("ymin", 1, record.height),
        ("ymax", 3, record.height),
    )
    for name, column, length in sides:
        yield f"image/object/bbox/{name}", fractions(written(objects.boxes_N4[:, column]), length)
    yield "image/object/class/text", [dataset.category_names[label].encode() for label in objects.labels_N.tolist()]
    yield "image/object/class/label", objects.labels_N
    yield "image/object/is_crowd", objects.crowd_N.astype(np.int64)
    yield "image/object/area", objects.area_N.astype(np.float32)
    yield "image/object/id", objects.ids_N


def _mask(record: ImageRecord, objects: Annotations, place: int) -> bytes:
    shape = objects.segmentations[place]
    if not objects.outlined_N[place]:
        return no_mask(record.height, record.width)
    return encode_mask(rasterise(shape, record.height, record.width))
