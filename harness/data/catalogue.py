"""Names of data sets, and where each lives.

    synthetic, synthetic:WIDTHxHEIGHT:COUNT       made up in memory, nothing to learn
    coco-mini/train, coco-mini/val                generated on first use
    coco-mini:images=64,size=128,seed=3/train     the same with other settings: images, size, seed, faults
    coco2017/train, coco2017/val                  the data folder's coco2017/, in COCO's own layout
    coco2014/train, coco2014/valminusminival, coco2014/minival
    anything that is there on disk                a path, see harness.data.files and harness.data.tfrecord_layout

The data folder is HARNESS_DATA_DIR, or else ~/.cache/detection-harness.
"""

import difflib
import fcntl
import os
import re
from pathlib import Path

from pydantic import ValidationError

from harness.data.coco_mini import VERSION, CocoMini, generate
from harness.data.synthetic import is_synthetic, parse_synthetic
from harness.data.tfrecord_layout import find_shards
from harness.errors import DataError

DEFAULT_IMAGES = {"train": 256, "val": 64}
DEFAULT_SIZE = 128
SETTINGS = ("images", "size", "seed", "faults")
COCO = {
    "coco2017/train": "instances_train2017.json",
    "coco2017/val": "instances_val2017.json",
    "coco2014/train": "instances_train2014.json",
    "coco2014/valminusminival": "instances_valminusminival2014.json",
    "coco2014/minival": "instances_minival2014.json",
}
NAMES = ("synthetic", "coco-mini/train", "coco-mini/val", *COCO)


def data_folder() -> Path:
    """Return the folder of HARNESS_DATA_DIR, or the user's cache."""
    return Path(os.environ.get("HARNESS_DATA_DIR") or "~/.cache/detection-harness").expanduser().absolute()


def resolve(name: str, folder: Path | None = None) -> str:
    """Return what `open_dataset` takes for a name of the catalogue or a path; generates coco-mini on first use.

    Raises:
        DataError: The name is unknown, or the data are not where they are looked for.
    """
    if is_synthetic(name):
        parse_synthetic(name)
        return name
    folder = folder.absolute() if folder else data_folder()
    if name.startswith("coco-mini"):
        return str(_coco_mini(name, folder))
    if name in COCO:
        return str(_coco(name, folder))
    path = Path(name).expanduser().absolute()  # a worker may stand in another folder
    if path.exists() or find_shards(str(path)):
        return str(path)
    near = difflib.get_close_matches(name, NAMES, n=2)
    hint = f"near: {', '.join(near)}" if near else f"known: {', '.join(NAMES)}"
    raise DataError(f"{name!r} is neither a data set's name nor a path that exists; {hint}")


def _coco(name: str, folder: Path) -> Path:
    path = folder / name.split("/", maxsplit=1)[0] / "annotations" / COCO[name]
    if not path.is_file():
        raise DataError(f"{name} is not there: {path} is missing; put COCO there or set HARNESS_DATA_DIR")
    return path


def parse_coco_mini(name: str) -> CocoMini:
    """Read the settings in a name such as `coco-mini:images=64,size=128/val`.

    Raises:
        DataError: The name has another form, or a setting is unknown or out of range.
    """
    match = re.fullmatch(r"coco-mini(?::([^/]*))?/(train|val)", name)
    if match is None:
        raise DataError(
            f"{name!r} is no coco-mini set; coco-mini[:images=N,size=N,seed=N,faults=true]/train|val is needed"
        )
    given = {key: value for key, _, value in (pair.partition("=") for pair in (match[1] or "").split(",") if pair)}
    unknown = given.keys() - SETTINGS
    if unknown:
        raise DataError(f"{min(unknown)!r} in {name!r} is no setting; {', '.join(SETTINGS)} are")
    try:
        defaults = {"images": DEFAULT_IMAGES[match[2]], "size": DEFAULT_SIZE, "split": match[2]}
        return CocoMini.model_validate(defaults | given)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise DataError(f"{key!r} in {name!r}: {first['msg'].lower()}") from error


def _coco_mini(name: str, folder: Path) -> Path:
    settings = parse_coco_mini(name)
    faults = "-faults" if settings.faults else ""
    label = f"coco-mini-v{VERSION}-{settings.split}-{settings.images}x{settings.size}-seed{settings.seed}{faults}"
    target = folder / label
    if not target.is_dir():
        _generate_once(target, settings)
    return target


def _generate_once(target: Path, settings: CocoMini) -> None:
    """Generate under a lock, so that of several processes one works and the others wait."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with (target.parent / f".{target.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not target.is_dir():
                generate(target, settings)
    except OSError as error:
        raise DataError(f"cannot write {target}: {error.strerror}") from error
