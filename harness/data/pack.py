"""A parsed annotation file into an index, with every inconsistency that would mislead a reader refused."""

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.index import Index, PackedPolygons
from harness.data.masks import MIN_COORDINATES
from harness.data.rle import Rle, parse_rle
from harness.errors import DataError

Records = Sequence[Mapping[str, Any]]


def build(content: Mapping[str, Any], name: str) -> Index:
    """Pack the content of an annotation file.

    A missing `iscrowd` means no crowd, a missing `segmentation` means none; all else must be there.

    Args:
        content: The file's top object.
        name: What messages call the file.

    Raises:
        DataError: A key is missing or of the wrong type, an image id stands twice, or an annotation belongs to an
            image or category that is not listed.
    """
    images, annotations = _records(content, "images", name), _records(content, "annotations", name)
    image_ids = _integers(images, "id", f"image of {name}")
    owner_A = _owners(annotations, image_ids, name)
    order = np.argsort(owner_A, kind="stable")
    what = f"annotation of {name}"
    polygons, run_lengths = _segmentations(annotations, what)
    categories = _categories(content, name)
    return Index(
        image_ids=tuple(image_ids.tolist()),
        file_names=_file_names(images, name),
        sizes_I2=_sizes(images, f"image of {name}"),
        first=np.searchsorted(owner_A[order], np.arange(len(images) + 1)),
        order_A=order,
        ids_A=_integers(annotations, "id", what),
        labels_A=_labels(annotations, categories, what),
        boxes_A4=_boxes(annotations, what),
        area_A=_column(annotations, "area", what, np.float64),
        crowd_A=np.array([bool(record.get("iscrowd", 0)) for record in annotations], dtype=np.bool_),
        polygons=polygons,
        run_lengths=run_lengths,
        categories=categories,
    )


def _records(content: Mapping[str, Any], key: str, name: str) -> Records:
    records = content.get(key)
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise DataError(f"{name} has no list `{key}` of objects; a COCO instances file is needed")
    return records


def _column(records: Records, key: str, what: str, kind: type) -> NDArray[Any]:
    """Return one key of all records as an array; the first record that lacks it or has another type is named."""
    values = [record.get(key) for record in records]
    try:
        column = np.array(values)
        if not values or column.dtype.kind in ("iu" if kind is np.int64 else "iuf"):
            return column.astype(kind)
    except (ValueError, OverflowError):
        pass  # lists of unequal length: the culprit is looked for below
    for record, value in zip(records, values, strict=True):
        _blame(record, key, value, what, kind)
    raise DataError(f"`{key}` of the {what} is of mixed or too large numbers")


def _blame(record: Mapping[str, Any], key: str, value: object, what: str, kind: type) -> None:
    label = f"{what} with id {record.get('id')}"
    if value is None:
        raise DataError(f"the {label} has no `{key}`")
    wanted = int if kind is np.int64 else (int, float)
    numbers = value if isinstance(value, list) else [value]
    if not all(isinstance(number, wanted) for number in numbers) or isinstance(value, bool):
        needed = "an integer" if kind is np.int64 else "numbers"
        raise DataError(f"`{key}` of the {label} is {value!r:.60}; {needed} is needed")


def _integers(records: Records, key: str, what: str) -> NDArray[np.int64]:
    column = _column(records, key, what, np.int64)
    if column.ndim != 1:
        raise DataError(f"`{key}` of the {what} is a list; an integer is needed")
    return column


def _file_names(images: Records, name: str) -> tuple[str, ...]:
    names = tuple(image.get("file_name") for image in images)
    for image, file_name in zip(images, names, strict=True):
        if not isinstance(file_name, str):
            raise DataError(f"the image of {name} with id {image['id']} has no `file_name`")
    return names  # type: ignore[return-value]  # the loop has seen each


def _sizes(images: Records, what: str) -> NDArray[np.int64]:
    sizes_I2 = np.stack([_integers(images, key, what) for key in ("width", "height")], axis=1)
    if (sizes_I2 < 1).any():
        place = int(np.flatnonzero((sizes_I2 < 1).any(axis=1))[0])
        width, height = sizes_I2[place].tolist()
        raise DataError(f"the {what} with id {images[place]['id']} has size {width} x {height}; above zero is needed")
    return sizes_I2


def _owners(annotations: Records, image_ids: NDArray[np.int64], name: str) -> NDArray[np.int64]:
    """Return the place of each annotation's image."""
    order = np.argsort(image_ids, kind="stable")
    ascending = image_ids[order]
    twice = ascending[1:][ascending[1:] == ascending[:-1]]
    if twice.size:
        raise DataError(f"image id {twice[0]} stands twice in {name}; ids must be unique")
    owner_ids = _integers(annotations, "image_id", f"annotation of {name}")
    place = np.searchsorted(ascending, owner_ids)
    found = np.append(ascending, -1)[place] == owner_ids if ascending.size else np.zeros(owner_ids.size, dtype=np.bool_)
    found &= place < ascending.size
    if not found.all():
        lost = int(np.flatnonzero(~found)[0])
        raise DataError(
            f"annotation {annotations[lost].get('id')} of {name} has no image: id {owner_ids[lost]} is not listed"
        )
    return order[place].astype(np.int64)


def _categories(content: Mapping[str, Any], name: str) -> dict[int, str]:
    records = _records(content, "categories", name)
    ids = _integers(records, "id", f"category of {name}").tolist()
    names = [record.get("name") for record in records]
    if len(set(ids)) < len(ids) or not all(isinstance(label, str) for label in names):
        raise DataError(f"the categories of {name} have an id twice or lack a `name`")
    return dict(sorted(zip(ids, map(str, names), strict=True)))


def _labels(annotations: Records, categories: Mapping[int, str], what: str) -> NDArray[np.int64]:
    labels_A = _integers(annotations, "category_id", what)
    known = np.isin(labels_A, np.array(list(categories), dtype=np.int64))
    if not known.all():
        place = int(np.flatnonzero(~known)[0])
        label = f"{what} with id {annotations[place].get('id')}"
        raise DataError(f"the {label} has category {labels_A[place]}, which is not listed")
    return labels_A


def _boxes(annotations: Records, what: str) -> NDArray[np.float64]:
    boxes_A4 = _column(annotations, "bbox", what, np.float64)
    if not annotations:
        return boxes_A4.reshape(0, 4)
    if boxes_A4.ndim != 2 or boxes_A4.shape[1] != 4:
        raise DataError(f"`bbox` of the {what} is not x, y, width, height")
    bad = ~np.isfinite(boxes_A4).all(axis=1) | (boxes_A4[:, 2:] < 0).any(axis=1)
    if bad.any():
        place = int(np.flatnonzero(bad)[0])
        label = f"{what} with id {annotations[place]['id']}"
        raise DataError(
            f"`bbox` of the {label} is {boxes_A4[place].tolist()}; finite numbers and no negative size are needed"
        )
    return boxes_A4


def _segmentations(annotations: Records, what: str) -> tuple[PackedPolygons, dict[int, Rle]]:
    coordinates, lengths, first = array("d"), list[int](), [0]
    run_lengths: dict[int, Rle] = {}
    for place, record in enumerate(annotations):
        raw = record.get("segmentation") or ()
        try:
            if isinstance(raw, dict):
                run_lengths[place] = parse_rle(raw)
            else:
                lengths.extend(_append(coordinates, polygon) for polygon in raw)
        except (DataError, TypeError) as error:
            label = f"{what} with id {record.get('id')}"
            raise DataError(f"`segmentation` of the {label}: {error}") from error
        first.append(len(lengths))
    start = np.cumsum([0, *lengths], dtype=np.int64)
    polygons = PackedPolygons(np.array(coordinates), start, np.array(first, dtype=np.int64))
    _refuse_infinite(polygons, annotations, what)
    return polygons, run_lengths


def _refuse_infinite(polygons: PackedPolygons, annotations: Records, what: str) -> None:
    bad = np.flatnonzero(~np.isfinite(polygons.coordinates))
    if bad.size:
        polygon = np.searchsorted(polygons.start, bad[0], side="right") - 1
        owner = int(np.searchsorted(polygons.first, polygon, side="right") - 1)
        label = f"{what} with id {annotations[owner].get('id')}"
        raise DataError(f"`segmentation` of the {label} holds a number that is not finite")


def _append(coordinates: "array[float]", polygon: Any) -> int:
    if not isinstance(polygon, list | array):
        raise DataError(f"{polygon!r:.40} is no polygon; a list of lists of numbers is needed")
    if len(polygon) < MIN_COORDINATES or len(polygon) % 2:
        raise DataError(f"a polygon of {len(polygon)} numbers; an even number, 6 or more, is needed")
    coordinates.extend(polygon)
    return len(polygon)
