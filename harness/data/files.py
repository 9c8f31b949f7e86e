"""Where a COCO-format set keeps its files, and how its JSON is read."""

import gc
import json
import os
import re
from array import array
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import DataError

ANNOTATION_FILE = "instances.json"
IMAGE_FOLDER = "images"
MINIVAL = re.compile("(valminus)?minival")  # the usual halves of COCO 2014's val, whose images lie in val2014


class Location(NamedTuple):
    """The two parts of a set."""

    annotations: Path
    images: Path


def locate(ref: str) -> Location:
    """Find the parts of a set: a folder of `instances.json` and `images/`, or the path of a JSON file.

    The images of a JSON file lie in `images/` beside it, in COCO's own layout in the folder that is named after the
    file (`annotations/instances_val2017.json` and `val2017/`), or else in the file's folder.

    Raises:
        DataError: There is no such file or folder.
    """
    path = Path(ref).expanduser()
    annotations = path / ANNOTATION_FILE if path.is_dir() else path
    if not annotations.is_file():
        wanted = f"a folder with {ANNOTATION_FILE}, a JSON file, or a name of the catalogue"
        raise DataError(f"no data set at {annotations}; {wanted} is needed")
    folder = annotations.parent
    official = folder.parent / MINIVAL.sub("val", annotations.stem.removeprefix("instances_"))
    choices = [folder / IMAGE_FOLDER, official] if folder.name == "annotations" else [folder / IMAGE_FOLDER]
    return Location(annotations, next((choice for choice in choices if choice.is_dir()), folder))


def image_path(folder: Path, file_name: str) -> Path:
    """Return the path of an image; names may hold subfolders but not leave the folder.

    Raises:
        DataError: The name leads out of the folder or cannot be a file's name.
    """
    root = os.path.normpath(folder)
    path = os.path.normpath(os.path.join(root, file_name))  # noqa: PTH118 - pathlib would keep the dots
    if "\0" in file_name or not path.startswith(os.path.join(root, "")):  # noqa: PTH118
        raise DataError(f"file name {file_name!r} leads out of {folder}; a name inside the folder is needed")
    return Path(path)


@contextmanager
def without_collection() -> Iterator[None]:
    """Stop looking for cycles: among millions of new objects without one it takes as long as the work itself."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _compact(record: dict[str, Any]) -> dict[str, Any]:
    """Pack polygons while the file is being read; as Python floats those of COCO would take gigabytes."""
    polygons = record.get("segmentation")
    if isinstance(polygons, list):
        with suppress(TypeError):  # not numbers: left as they are, for the reader to name
            record["segmentation"] = [array("d", polygon) for polygon in polygons]
    return record


def read_json(path: Path) -> dict[str, Any]:
    """Read an annotation file; polygons come as arrays of doubles.

    Raises:
        DataError: It cannot be read, is not JSON, or is no object at its top.
    """
    try:
        with without_collection():
            content = json.loads(path.read_bytes(), object_hook=_compact)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path} is not JSON: {error.msg.lower()} at line {error.lineno}, column {error.colno}"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not JSON: byte {error.start} is not UTF-8") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds a {type(content).__name__}; an object with images and annotations is needed")
    return content
