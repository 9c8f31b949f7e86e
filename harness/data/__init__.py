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
    from harness.data.frames import Frame, Resizing, Size, common_canvas, fitted, inverse_label_map, label_map
    from harness.data.framing import FixedCanvas, Framing, OwnCanvas, published_canvas
    from harness.data.geometry import flip_boxes, flip_image, pad_to, resize, resize_into, shorter_side_size
    from harness.data.jpeg import decode, plain_size
    from harness.data.loader import epoch_order, grouped_batches, prefetch, shard
    from harness.data.masks import Segmentation, crop_targets, flip_polygons, rasterise, rasterise_all
    from harness.data.probes import probe_boxes
    from harness.data.records import Annotations, Dataset, ImageRecord
    from harness.data.rle import Rle
    from harness.data.steps import Draw, Share, flipped, image_stream, shuffled_steps

_MODULES = {
    "catalogue": ("resolve",),
    "coco_mini": ("CocoMini", "generate"),
    "dataset": ("fingerprint", "open_dataset"),
    "jpeg": ("decode", "plain_size"),
    "loader": ("epoch_order", "grouped_batches", "prefetch", "shard"),
    "masks": ("Segmentation", "crop_targets", "flip_polygons", "rasterise", "rasterise_all"),
    "probes": ("probe_boxes",),
    "records": ("Annotations", "Dataset", "ImageRecord"),
    "frames": ("Frame", "Resizing", "Size", "common_canvas", "fitted", "inverse_label_map", "label_map"),
    "framing": ("FixedCanvas", "Framing", "OwnCanvas", "published_canvas"),
    "geometry": ("flip_boxes", "flip_image", "pad_to", "resize", "resize_into", "shorter_side_size"),
    "rle": ("Rle",),
    "steps": ("Draw", "Share", "flipped", "image_stream", "shuffled_steps"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Annotations",
    "CocoMini",
    "Dataset",
    "Draw",
    "FixedCanvas",
    "Frame",
    "Framing",
    "ImageRecord",
    "OwnCanvas",
    "Resizing",
    "Rle",
    "Segmentation",
    "Share",
    "Size",
    "common_canvas",
    "crop_targets",
    "decode",
    "epoch_order",
    "fingerprint",
    "fitted",
    "flip_boxes",
    "flip_image",
    "flip_polygons",
    "flipped",
    "generate",
    "grouped_batches",
    "image_stream",
    "inverse_label_map",
    "label_map",
    "open_dataset",
    "pad_to",
    "plain_size",
    "prefetch",
    "probe_boxes",
    "published_canvas",
    "rasterise",
    "rasterise_all",
    "resize",
    "resize_into",
    "resolve",
    "shard",
    "shorter_side_size",
    "shuffled_steps",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
