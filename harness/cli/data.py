"""`harness data make`, `check` and `convert`."""

import argparse
from pathlib import Path
from typing import Any

from harness.cli.common import OK, SOME_FAILED, command, print_text


def add_data(commands: Any) -> None:
    """Harness data make, check and convert."""
    data = commands.add_parser("data", help="generate, check and convert COCO-format data")
    actions = data.add_subparsers(required=True, metavar="ACTION")
    make = command(actions, "make", call_data_make, "generate a coco-mini set")
    make.add_argument("folder", type=Path, metavar="DIR", help="where to write it; must not exist")
    make.add_argument("--images", type=int, default=64, metavar="N", help="how many images (default: %(default)s)")
    make.add_argument(
        "--size", type=int, metavar="PX", default=640, help="longer side in pixels (default: %(default)s)"
    )
    make.add_argument("--split", choices=("train", "val"), default="train", help="no image of one is in the other")
    make.add_argument("--seed", type=int, default=0, metavar="N", help="the same seed makes the same bytes")
    make.add_argument("--faults", action="store_true", help="also plant a truncated and a missing image")
    check = command(actions, "check", call_data_check, "name every fault of a COCO-format set by file and id")
    check.add_argument("set", metavar="SET", help="a path of a COCO-format set, or a name such as coco-mini/val")
    check.add_argument("--no-decode", action="store_true", help="do not open the images")
    convert = command(actions, "convert", call_data_convert, "write a COCO-format set as TFRecord files")
    convert.add_argument("set", metavar="SRC", help="a path of a COCO-format set, or a name such as coco-mini/val")
    convert.add_argument("folder", type=Path, metavar="DST", help="where to write; must not exist")
    convert.add_argument("--shards", type=int, metavar="N", help="how many files (default: 256, or 32 of a val set)")
    convert.add_argument(
        "--split", choices=("train", "val"), help="what the files are named after (default: val if SRC's name has it)"
    )
    convert.add_argument(
        "--masks", action=argparse.BooleanOptionalAction, default=True, help="with masks, one PNG an object, or without"
    )


def call_data_make(options: argparse.Namespace) -> int:
    """Generate a set."""
    from harness.data.catalogue import parse_coco_mini
    from harness.data.coco_mini import generate

    faults = str(options.faults).lower()
    name = f"coco-mini:images={options.images},size={options.size},seed={options.seed},faults={faults}/{options.split}"
    generate(options.folder, parse_coco_mini(name))
    print(options.folder)
    return OK


def call_data_check(options: argparse.Namespace) -> int:
    """Check a set: notes and faults, one line each."""
    from harness.data.catalogue import resolve
    from harness.data.check import check

    report = check(resolve(options.set), decode=not options.no_decode)
    faults, warnings = len(report.faults), len(report.warnings)
    total = f"{report.images} images, {report.annotations} annotations: {faults} faults, {warnings} warnings"
    lines = (*report.findings, *(f"note: {note}" for note in report.notes), total)
    print_text("".join(f"{line}\n" for line in lines))
    return SOME_FAILED if report.faults else OK


def call_data_convert(options: argparse.Namespace) -> int:
    """Write a set as TFRecord files."""
    from harness.data.catalogue import resolve
    from harness.data.tfrecord_convert import convert

    split = options.split or ("val" if "val" in Path(options.set).name else "train")
    files = convert(resolve(options.set), options.folder, split, options.shards, masks=options.masks)
    print(f"{options.folder}: {files} files")
    return OK
