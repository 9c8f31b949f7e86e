"""Checking one image file against its record."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from harness.data.files import image_path
from harness.data.findings import Finding
from harness.data.jpeg import decode as decode_image
from harness.data.jpeg import read_header
from harness.errors import DataError

TRAITS = {"L": "in gray", "1": "in gray", "CMYK": "in CMYK"}


class ImageFacts(NamedTuple):
    """What is wrong with an image, and what is unusual but right."""

    findings: tuple[Finding, ...] = ()
    traits: tuple[str, ...] = ()


def examine(image: Mapping[str, Any], folder: Path, *, decode: bool) -> ImageFacts:
    """Read an image's head, and its pixels if asked; a name that leads out of the folder is never opened."""
    where = f"{image['file_name']}, image {image['id']}"
    try:
        path = image_path(folder, image["file_name"])
        header = read_header(path)
        if decode:
            decode_image(path.read_bytes())
    except FileNotFoundError:
        return _fault(where, f"is missing in {folder}")
    except OSError as error:
        return _fault(where, f"cannot be read: {error.strerror or error}")
    except DataError as error:
        return _fault(where, str(error))
    if (header.width, header.height) != (image["width"], image["height"]):
        listed = f"{image['width']} x {image['height']}"
        return _fault(where, f"has {header.width} x {header.height} pixels, the annotation file says {listed}")
    traits = {
        TRAITS.get(header.mode, ""): header.mode in TRAITS,
        "with an EXIF rotation (ignored: boxes are in stored order)": header.orientation != 1,
        "in progressive JPEG": header.progressive,
    }
    return ImageFacts(traits=tuple(trait for trait, true in traits.items() if true))


def _fault(where: str, what: str) -> ImageFacts:
    return ImageFacts((Finding("fault", where, what),))
