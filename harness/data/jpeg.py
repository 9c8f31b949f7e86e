"""Image files to RGB pixels, in stored order: EXIF rotation is ignored, as COCO's boxes ignore it.

The decoder is chosen by format: simplejpeg for gray and colour JPEG, Pillow for CMYK and everything else. Both give the
pixels of Pillow's `convert("RGB")`.
"""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from harness.errors import DataError

SIMPLE_COLOURS = frozenset({"Gray", "YCbCr", "RGB"})
ORIENTATION = 0x112  # the EXIF tag
JPEG_START = b"\xff\xd8\xff"
BROKEN = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # what Pillow raises on spoilt files
HARMLESS = "extraneous bytes before marker"  # libjpeg skipped stuffing between segments; no pixel is lost


def decode(data: bytes) -> NDArray[np.uint8]:
    """Return the pixels, uint8 [H, W, 3].

    Raises:
        DataError: The bytes are truncated, corrupt, or no image of 8 bits a channel.
    """
    if data.startswith(JPEG_START) and _colours(data) in SIMPLE_COLOURS:
        return _decode_jpeg(data)
    return _decode_other(data)


def plain_size(data: bytes) -> tuple[int, int] | None:
    """Return height and width of a JPEG that every libjpeg decodes to the same RGB; None for CMYK and other formats."""
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    return (int(height), int(width)) if colours in SIMPLE_COLOURS else None


def _colours(data: bytes) -> str | None:
    """Return the colour space of a JPEG; None if its head is rare or broken: Pillow tells which."""
    try:
        return str(simplejpeg.decode_jpeg_header(data)[2])
    except ValueError:
        return None


def _decode_jpeg(data: bytes) -> NDArray[np.uint8]:
    try:
        return _simplejpeg(data, strict=True)
    except ValueError as error:
        if HARMLESS not in str(error):
            raise DataError(f"broken JPEG: {error}") from error
    return _simplejpeg(data, strict=False)


def _simplejpeg(data: bytes, *, strict: bool) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, colorspace="RGB", strict=strict)
    return pixels


def _decode_other(data: bytes) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.mode.startswith(("I", "F")):
                raise DataError(f"pixels of mode {image.mode}; 8 bits a channel are needed")
            return np.array(image.convert("RGB"))
    except UnidentifiedImageError as error:
        raise DataError("not an image file") from error
    except BROKEN as error:
        raise DataError(f"broken image: {error}") from error


class Header(NamedTuple):
    """What the head of an image file says, without decoding it."""

    width: int
    height: int
    mode: str
    progressive: bool
    orientation: int
    """The EXIF orientation, 1 where there is none."""


def read_header(path: Path) -> Header:
    """Read size, colour mode and EXIF orientation.

    Raises:
        DataError: The file is no image, or its head is broken.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        try:
            return _header(Image.open(file))
        except UnidentifiedImageError as error:
            raise DataError("not an image file") from error
        except BROKEN as error:
            raise DataError(f"broken image: {error}") from error


def _header(image: Image.Image) -> Header:
    orientation = image.getexif().get(ORIENTATION, 1)
    return Header(image.width, image.height, image.mode, bool(image.info.get("progressive")), orientation)
