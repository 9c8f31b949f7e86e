"""The published TFRecord layout: what each image's Example holds, how files are named, and how boxes are rounded.

Features: `image/{height,width,filename,source_id,key/sha256,encoded,format}` and, an entry for each object,
`image/object/{bbox/xmin,xmax,ymin,ymax,class/text,class/label,is_crowd,area,mask}`; box sides are fractions of the
image, masks PNG files of the whole image with ones inside. Source: NVIDIA's TensorFlow Mask R-CNN and EfficientDet,
after the COCO converters of TensorFlow's model garden. One feature is ours, `image/object/id`; readers pass over
features that they do not know.
"""

import glob
import json
import re
import struct
import zlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError

SHARD_NAME = re.compile(r"(.+)-(\d{5})-of-(\d{5})")
CATEGORY_FILE = "categories.json"
DIGITS = 6
PNG_UP = 2
JPEG_START, PNG_START = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"


def shard_name(split: str, shard: int, shards: int) -> str:
    """The published name of a file, as `train-00000-of-00256`."""
    return f"{split}-{shard:05d}-of-{shards:05d}"


def find_shards(ref: str) -> list[Path]:
    """The TFRecord files that a reference stands for, in order; none where it stands for something else.

    A reference is a folder of the shards of one split, `FOLDER/train` for one of several, a pattern, or a file.

    Raises:
        DataError: Shards are missing, or the folder has those of several splits.
    """
    path = Path(ref).expanduser()
    if path.is_file():
        return [path] if SHARD_NAME.fullmatch(path.name) or path.suffix in (".tfrecord", ".tfrecords") else []
    if path.is_dir():
        return _complete(path, "*")
    if glob.has_magic(path.name) and path.parent.is_dir():
        return sorted(found for found in path.parent.glob(path.name) if SHARD_NAME.fullmatch(found.name))
    return _complete(path.parent, glob.escape(path.name)) if path.parent.is_dir() else []


def _complete(folder: Path, split: str) -> list[Path]:
    matches = [SHARD_NAME.fullmatch(path.name) for path in sorted(folder.glob(f"{split}-?????-of-?????"))]
    found = [match for match in matches if match is not None]
    series = sorted({(match[1], int(match[3])) for match in found})
    if not series:
        return []
    if len(series) > 1:
        choices = ", ".join(f"{folder}/{name}" for name, _ in series)
        raise DataError(f"{folder} holds several series of TFRecord files; one of them is needed: {choices}")
    ((name, count),) = series
    there = {int(match[2]) for match in found}
    missing = sorted(set(range(count)) - there)
    if missing:
        raise DataError(
            f"{len(missing)} of {count} files are missing, the first {folder / shard_name(name, missing[0], count)}"
        )
    return [folder / match[0] for match in found]


def write_categories(folder: Path, categories: Mapping[int, str]) -> None:
    """Put the categories beside the shards, which name only those that occur."""
    records = [{"id": key, "name": name} for key, name in categories.items()]
    (folder / CATEGORY_FILE).write_text(json.dumps(records, ensure_ascii=False, indent=1), encoding="utf-8")


def read_categories(folder: Path) -> list[Any] | None:
    """The categories beside the shards, or None.

    Raises:
        DataError: The file is no list in JSON.
    """
    path = folder / CATEGORY_FILE
    if not path.is_file():
        return None
    try:
        records = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    if not isinstance(records, list):
        raise DataError(f"{path} holds a {type(records).__name__}; a list of categories is needed")
    return records


def image_format(data: bytes) -> str | None:
    """What `image/format` says of a file; None for formats that TensorFlow's readers of this layout do not know."""
    return "jpeg" if data.startswith(JPEG_START) else "png" if data.startswith(PNG_START) else None


def encode_mask(mask_HW: NDArray[np.bool_]) -> bytes:
    """A mask as PNG of 8 bits gray, ones inside, as the published converter has it.

    Each row is stored as its difference to the row above (PNG's filter 2), nearly all zeros in a mask; a general
    encoder that weighs its filters takes ten times as long.
    """
    height, width = mask_HW.shape
    filtered = np.full((height, width + 1), PNG_UP, dtype=np.uint8)
    filtered[0, 1:] = mask_HW[0]
    filtered[1:, 1:] = mask_HW[1:].view(np.uint8) - mask_HW[:-1].view(np.uint8)
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        PNG_START + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(filtered.tobytes(), 1)) + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return b"".join((struct.pack(">I", len(data)), kind, data, struct.pack(">I", zlib.crc32(kind + data))))


def decode_mask(data: memoryview, height: int, width: int) -> NDArray[np.bool_]:
    """The mask of a PNG, bool [height, width].

    Raises:
        DataError: It is no PNG, or of another size.
    """
    code = np.frombuffer(data, dtype=np.uint8)
    pixels_HW = cv2.imdecode(code, cv2.IMREAD_GRAYSCALE) if code.size else None
    if pixels_HW is None:
        raise DataError("a mask is no PNG file")
    if pixels_HW.shape != (height, width):
        raise DataError(f"a mask has {pixels_HW.shape[1]} x {pixels_HW.shape[0]} pixels, the image {width} x {height}")
    return np.asarray(pixels_HW > 0)


@lru_cache(maxsize=1024)
def no_mask(height: int, width: int) -> bytes:
    """What stands for an object without an outline, since every object needs an entry: a mask without a pixel."""
    return encode_mask(np.zeros((height, width), dtype=np.bool_))


def written(values_N: NDArray[np.float32]) -> NDArray[np.float64]:
    """The shortest decimals that these numbers stand for: what the annotation file has, before it was rounded."""
    return np.array([float(str(value)) for value in values_N], dtype=np.float64)


def fractions(values_N: NDArray[np.float64], side: int) -> NDArray[np.float32]:
    """Places in pixels as fractions of the image's side."""
    return (values_N / side).astype(np.float32)


def pixels(fractions_N: NDArray[np.float32], side: int) -> NDArray[np.float64]:
    """The shortest decimals that have these fractions of a side, in pixels.

    A fraction in float32 stands for an interval of some 0.00004 pixels. Annotations are written with a few digits, so
    the shortest decimal in the interval is what was written; where none has DIGITS digits, the middle is taken.
    """
    exact_N = fractions_N.astype(np.float64) * side
    found_N = exact_N.copy()
    for digits in range(DIGITS, -1, -1):
        short_N = exact_N.round(digits)
        found_N = np.where(fractions(short_N, side) == fractions_N, short_N, found_N)
    return found_N
