"""The operations in plain TensorFlow: used under XLA, where no compiler is, by option, and as an oracle in tests.

Each has a native counterpart of the same name in `native`; `kernels.Kernels` lists them.
"""

from backends.tf_impl.kernels.framework.anchors import anchors
from backends.tf_impl.kernels.framework.focal import focal_loss
from backends.tf_impl.kernels.framework.overlap import box_iou, match
from backends.tf_impl.kernels.framework.paste import paste_masks
from backends.tf_impl.kernels.framework.pooling import roi_align
from backends.tf_impl.kernels.framework.selection import select_boxes
from backends.tf_impl.kernels.framework.suppression import best_of_classes, best_of_levels, hard_nms, nms, soft_nms
from backends.tf_impl.kernels.framework.targets import polygon_targets, rle_targets

__all__ = [
    "anchors",
    "best_of_classes",
    "best_of_levels",
    "box_iou",
    "focal_loss",
    "hard_nms",
    "match",
    "nms",
    "paste_masks",
    "polygon_targets",
    "rle_targets",
    "roi_align",
    "select_boxes",
    "soft_nms",
]
