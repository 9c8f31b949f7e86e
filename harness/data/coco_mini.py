"""coco-mini: a generated COCO-format set, learnable in minutes, with every oddity that COCO files have.

Each image says in `coco_mini_kinds` what is odd about it. The same settings give the same bytes.
"""

import io
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from harness.data.files import ANNOTATION_FILE, IMAGE_FOLDER
from harness.data.scenes import Scene, draw
from harness.data.shapes import KINDS
from harness.errors import DataError

VERSION = 1  # of the content; another number where the same settings give other bytes
SPLITS = ("train", "val")
FIRST_CROWD_ID = 900_100_000_000  # above 2**32, as those of COCO's crowds are
ASPECTS = ((4, 3), (3, 4), (3, 2), (1, 1))
ODD_NAMES = (
    "with space",
    "日本語-図",
    "naïve_été",
    "emoji-😀",
    "UPPER.JPG.x",
    "dots..dots",
    "quote'd",
    "100%",
    "#hash",
    "sub/dir/x",
    "-dash",
)
CYCLE = 16  # what is odd about an image depends on its place in a cycle, so that small sets have nearly everything
FORMS: Mapping[int, str] = {1: "gray", 3: "cmyk", 5: "progressive", 7: "exif"}
ODD_NAME, EMPTY, CROWDED, TRUNCATED, MISSING = 9, 11, (2, 10), 13, 15


class CocoMini(BaseModel):
    """The settings of one generated set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int = Field(256, ge=1, le=100_000, description="number of images")
    size: int = Field(640, ge=32, le=4096, description="longer side in pixels")
    seed: int = Field(0, ge=0, description="another seed, another set")
    split: Literal["train", "val"] = Field("train", description="no image of one split is in the other")
    faults: bool = Field(False, description="break some files: one of 16 is truncated, one is missing")


def generate(folder: Path, settings: CocoMini) -> None:
    """Write a set into a folder that is not there yet; it appears whole or not at all.

    Raises:
        DataError: The folder exists already, or cannot be written.
    """
    if folder.exists():
        raise DataError(f"{folder} exists already; a new folder is needed")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
            draft = Path(scratch) / "set"
            _write(draft, settings)
            draft.rename(folder)
    except OSError as error:
        raise DataError(f"cannot write {folder}: {error.strerror}") from error


def _write(folder: Path, settings: CocoMini) -> None:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    (folder / IMAGE_FOLDER).mkdir(parents=True)
    for place in range(settings.images):
        random = np.random.default_rng([VERSION, settings.seed, SPLITS.index(settings.split), place])
        oddity = place % CYCLE
        width, height = _frame(random, settings.size)
        scene = draw(random, width, height, empty=oddity == EMPTY, crowd=oddity in CROWDED)
        record = _record(settings, place, scene)
        annotations.extend(_numbered(scene, record["id"], len(annotations)))
        _save(folder / IMAGE_FOLDER / record["file_name"], _jpeg(random, scene, FORMS.get(oddity)), record)
        images.append(record)
    content = {
        "info": {"description": "coco-mini (generated)", "version": str(VERSION), **settings.model_dump()},
        "licenses": [{"id": 1, "name": "CC0-1.0", "url": ""}],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": kind.id, "name": kind.name, "supercategory": "shape"} for kind in KINDS],
    }
    (folder / ANNOTATION_FILE).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _frame(random: np.random.Generator, longer: int) -> tuple[int, int]:
    """Return width and height; landscape is the most frequent, as in COCO."""
    across, down = ASPECTS[int(random.choice(len(ASPECTS), p=(0.45, 0.25, 0.2, 0.1)))]
    scale = longer / max(across, down)
    return round(across * scale), round(down * scale)


def _record(settings: CocoMini, place: int, scene: Scene) -> dict[str, Any]:
    oddity, cycle = place % CYCLE, place // CYCLE
    height, width = scene.pixels.shape[:2]
    base = 139 if settings.split == "train" else 10_000_139
    name = f"{place:012d}"
    if oddity == ODD_NAME:
        name = f"{ODD_NAMES[cycle % len(ODD_NAMES)]}-{place:06d}"
    return {
        "id": base + 7 * place + cycle % 5,  # with gaps
        "file_name": f"{name}.jpg",
        "width": width,
        "height": height,
        "license": 1,
        "coco_mini_kinds": _kinds(oddity, scene, faults=settings.faults),
    }


def _kinds(oddity: int, scene: Scene, *, faults: bool) -> list[str]:
    kinds = {FORMS.get(oddity)} | {"odd_name" if oddity == ODD_NAME else None}
    kinds |= {_form(annotation) for annotation in scene.annotations} or {"empty"}
    kinds |= {"big_id" for annotation in scene.annotations if annotation["iscrowd"]}
    if faults:
        kinds |= {{TRUNCATED: "truncated", MISSING: "missing"}.get(oddity)}
    return sorted(kind for kind in kinds if kind)


def _form(annotation: Mapping[str, Any]) -> str:
    if annotation["iscrowd"]:
        return "crowd"
    if isinstance(annotation["segmentation"], dict):
        return "rle"
    return "polygon" if len(annotation["segmentation"]) == 1 else "multi_polygon"


def _numbered(scene: Scene, image_id: int, count: int) -> list[dict[str, Any]]:
    return [
        {"id": (FIRST_CROWD_ID if annotation["iscrowd"] else 1) + count + place, "image_id": image_id, **annotation}
        for place, annotation in enumerate(scene.annotations)
    ]


def _jpeg(random: np.random.Generator, scene: Scene, form: str | None) -> bytes:
    image, options = Image.fromarray(scene.pixels), {}
    quality, subsampling = int(random.integers(80, 96)), int(random.choice((0, 2, 2, 2)))
    if form in ("gray", "cmyk"):
        image = image.convert("L" if form == "gray" else "CMYK")
    if form == "exif":
        exif = Image.Exif()
        exif[0x112] = int(random.choice((3, 6, 8)))  # annotations stay in stored pixel order
        options["exif"] = exif
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling=subsampling, progressive=form == "progressive", **options)
    return buffer.getvalue()


def _save(path: Path, data: bytes, record: Mapping[str, Any]) -> None:
    kinds = record["coco_mini_kinds"]
    path.parent.mkdir(parents=True, exist_ok=True)
    if "missing" not in kinds:
        path.write_bytes(data[: len(data) * 3 // 5] if "truncated" in kinds else data)
