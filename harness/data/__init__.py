"""COCO-format data without a framework: reading, checking, generating, decoding, rasterising.

Names are loaded when they are first used, so that importing this room imports neither numpy nor a decoder. No module
may have the name of something exported here, for one would hide the other: `check` is imported from its own module.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.data.catalogue import resolve
    from harness.data.coco_mini import CocoMini, generate
    from harness.data.dataset import fingerprint, open_dataset
    from harness.data.geometry import flip_boxes, flip_image, pad_to, resize, shorter_side_size
    from harness.data.jpeg import decode
    from harness.data.loader import epoch_order, grouped_batches, prefetch, shard
    from harness.data.masks import Segmentation, crop_targets, flip_polygons, rasterise, rasterise_all
    from harness.data.records import Annotations, Dataset, ImageRecord
    from harness.data.rle import Rle

_MODULES = {
    "catalogue": ("resolve",),
    "coco_mini": ("CocoMini", "generate"),
    "dataset": ("fingerprint", "open_dataset"),
    "jpeg": ("decode",),
    "loader": ("epoch_order", "grouped_batches", "prefetch", "shard"),
    "masks": ("Segmentation", "crop_targets", "flip_polygons", "rasterise", "rasterise_all"),
    "records": ("Annotations", "Dataset", "ImageRecord"),
    "geometry": ("flip_boxes", "flip_image", "pad_to", "resize", "shorter_side_size"),
    "rle": ("Rle",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Annotations",
    "CocoMini",
    "Dataset",
    "ImageRecord",
    "Rle",
    "Segmentation",
    "crop_targets",
    "decode",
    "epoch_order",
    "fingerprint",
    "flip_boxes",
    "flip_image",
    "flip_polygons",
    "generate",
    "grouped_batches",
    "open_dataset",
    "pad_to",
    "prefetch",
    "rasterise",
    "rasterise_all",
    "resize",
    "resolve",
    "shard",
    "shorter_side_size",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
