"""Checking a COCO-format set: every fault by file and id, without stopping at the first."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from harness.data.check_annotation import annotation_findings
from harness.data.check_image import ImageFacts, examine
from harness.data.files import Location, locate, read_json
from harness.data.findings import Finding, Report
from harness.data.loader import prefetch
from harness.data.synthetic import is_synthetic
from harness.data.tfrecord_check import check_records
from harness.data.tfrecord_layout import find_shards
from harness.errors import DataError

LISTS = ("images", "annotations", "categories")
REQUIRED: Mapping[str, Mapping[str, type | tuple[type, ...]]] = {
    "images": {"id": int, "file_name": str, "width": int, "height": int},
    "annotations": {"id": int, "image_id": int, "category_id": int, "bbox": list, "area": (int, float)},
    "categories": {"id": int, "name": str},
}
Record = Mapping[str, Any]


def check(ref: str, decode: bool = True, threads: int = 2) -> Report:
    """Check a set on disk.

    Args:
        ref: What `open_dataset` takes.
        decode: Decode every image; without it only the heads of the files are read.
        threads: How many images are read at once.

    Raises:
        DataError: The set cannot be opened at all: nothing there, no JSON, or no COCO instances file.
    """
    if is_synthetic(ref):
        raise DataError(f"{ref} is made up in memory; a set on disk is needed for a check")
    if shards := find_shards(ref):
        return check_records(shards, decode=decode, threads=threads)
    location = locate(ref)
    content = read_json(location.annotations)
    for key in LISTS:
        if not isinstance(content.get(key), list):
            raise DataError(f"{location.annotations} has no list `{key}`; a COCO instances file is needed")
    name = location.annotations.name
    sound = {key: [record for record in content[key] if not _missing(record, key)] for key in LISTS}
    facts = list(_examined(sound["images"], location, decode, threads))
    findings = [
        *(finding for key in LISTS for finding in _shape_findings(content[key], key, name)),
        *(finding for key in LISTS for finding in _duplicates(sound[key], key, name)),
        *_shared_files(sound["images"], name),
        *(finding for fact in facts for finding in fact.findings),
        *_annotations(sound, name),
    ]
    images, annotations, categories = (len(content[key]) for key in LISTS)
    return Report(images, annotations, categories, tuple(findings), tuple(_notes(sound, facts)))


def _missing(record: Any, key: str) -> list[str]:
    if not isinstance(record, dict):
        return [f"is a {type(record).__name__}, an object is needed"]
    wrong = []
    for field, kind in REQUIRED[key].items():
        value = record.get(field)
        if value is None:
            wrong.append(f"`{field}` is missing")
        elif not isinstance(value, kind) or isinstance(value, bool):
            wrong.append(f"`{field}` is {value!r:.40}, of the wrong type")
    return wrong


def _shape_findings(records: list[Any], key: str, name: str) -> Iterator[Finding]:
    for place, record in enumerate(records):
        label = record.get("id") if isinstance(record, dict) else None
        where = f"{name}, {key}[{place}]" if label is None else f"{name}, {key}[{place}] with id {label}"
        yield from (Finding("fault", where, text) for text in _missing(record, key))


def _duplicates(records: list[Record], key: str, name: str) -> Iterator[Finding]:
    for identity, count in Counter(record["id"] for record in records).items():
        if count > 1:
            yield Finding("fault", f"{name}, {key}", f"id {identity} stands {count} times, ids must be unique")


def _shared_files(images: list[Record], name: str) -> Iterator[Finding]:
    for file_name, count in Counter(image["file_name"] for image in images).items():
        if count > 1:
            yield Finding("warning", f"{name}, images", f"file {file_name!r} stands {count} times")


def _examined(images: list[Record], location: Location, decode: bool, threads: int) -> Iterable[ImageFacts]:
    def one(image: Record) -> ImageFacts:
        return examine(image, location.images, decode=decode)

    return prefetch(images, one, threads=threads, depth=4 * threads)


def _annotations(sound: Mapping[str, list[Record]], name: str) -> Iterator[Finding]:
    images = {image["id"]: image for image in sound["images"]}
    categories = {category["id"] for category in sound["categories"]}
    for annotation in sound["annotations"]:
        where = f"{name}, annotation {annotation['id']}"
        image = images.get(annotation["image_id"])
        if image is None:
            yield Finding("fault", where, f"belongs to image {annotation['image_id']}, which is not listed")
        if annotation["category_id"] not in categories:
            yield Finding("fault", where, f"has category {annotation['category_id']}, which is not listed")
        if image is not None:
            yield from annotation_findings(annotation, image, f"{where} of image {image['id']}")


def _notes(sound: Mapping[str, list[Record]], facts: Iterable[ImageFacts]) -> Iterator[str]:
    traits = Counter(trait for fact in facts for trait in fact.traits)
    annotated = {annotation["image_id"] for annotation in sound["annotations"]}
    traits["without annotations"] = sum(image["id"] not in annotated for image in sound["images"])
    yield from (_counted(count, "image", trait) for trait, count in sorted(traits.items()) if count)
    large = sum(annotation["id"] >= 2**32 for annotation in sound["annotations"])
    crowds = sum(bool(annotation.get("iscrowd")) for annotation in sound["annotations"])
    runs = sum(isinstance(annotation.get("segmentation"), dict) for annotation in sound["annotations"])
    counts = {"with ids above 2**32": large, "of crowds": crowds, "in run lengths": runs}
    yield from (_counted(count, "annotation", trait) for trait, count in counts.items() if count)


def _counted(count: int, noun: str, trait: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'} {trait}"
