"""The operations on native kernels: the same functions as `framework` has, see there for arguments and results.

`load` comes first. Nothing here has a gradient but `roi_align` and `focal_loss`; half types are raised to float32.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from backends.tf_impl.kernels.building import Device, gpu_kernels, operations
from backends.tf_impl.kernels.levels import Grid, Level, Selected
from backends.tf_impl.kernels.outlines import Outlines, Runs, Target
from backends.tf_impl.kernels.rules import Focal, Pooling, Selection, SoftSuppression, Suppression, Thresholds

Gradient = Callable[..., Any]

for _name in ("BoxIou", "Match", "SelectBoxes", "Nms", "SoftNms", "PasteMasks", "PolygonTargets", "RleTargets"):
    tf.no_gradient(f"Harness{_name}")


def load(device: Device) -> None:
    """Build and load the operations, with kernels for the CPU and, for `cuda`, for GPUs too.

    Raises:
        KernelError: they cannot be built or loaded; the message is one line.
    """
    operations()
    if device == "cuda":
        gpu_kernels()


def _constants(*tensors: tf.Tensor) -> list[tf.Tensor]:
    """As float32, and without a gradient."""
    return [tf.stop_gradient(tf.cast(tensor, tf.float32)) for tensor in tensors]


def _one(inclusive: bool) -> float:
    return 1.0 if inclusive else 0.0


def anchors(grids: Sequence[Grid]) -> tf.Tensor:
    """The anchors of a pyramid, float32 [N, 4]."""
    return operations().harness_anchors(
        cells=[_digits(number) for grid in grids for cell in grid.cell for number in cell],
        grids=[size for grid in grids for size in (grid.rows, grid.columns)],
        steps=[_digits(step) for grid in grids for step in grid.steps],
    )


def _digits(number: float) -> str:
    """A number that reads back as itself; float attributes of TensorFlow are single."""
    return repr(float(number))


def box_iou(left_M4: tf.Tensor, right_N4: tf.Tensor, *, inclusive: bool = False) -> tf.Tensor:
    """Intersection over union of every pair, float32 [M, N]."""
    return operations().harness_box_iou(*_constants(left_M4, right_N4), one=_one(inclusive))


def match(
    objects_BM4: tf.Tensor, present_BM: tf.Tensor, candidates: tf.Tensor, rules: Thresholds, *, inclusive: bool = False
) -> tuple[tf.Tensor, tf.Tensor]:
    """Object and state of each candidate, int32 [B, N] each; overlaps are never stored."""
    objects_BM4, candidates = _constants(objects_BM4, candidates)
    object_BN, state_BN = operations().harness_match(
        objects_BM4,
        present_BM,
        candidates,
        one=_one(inclusive),
        foreground=rules.foreground,
        background=rules.background,
        strict=rules.strict,
        keep=rules.keep,
    )
    return object_BN, tf.cast(state_BN, tf.int32)


def select_boxes(levels: Sequence[Level], sizes_B2: tf.Tensor, rules: Selection) -> Selected:
    """Gather, decode and clip chosen anchors, and sieve them by size; all levels and images at once."""
    return Selected(
        *operations().harness_select_boxes(
            indices=[level.indices_BK for level in levels],
            logits=_constants(*(level.logits_BK for level in levels)),
            deltas=_constants(*(level.deltas_BN4 for level in levels)),
            anchors=_constants(*(level.anchors_N4 for level in levels)),
            sizes=tf.cast(sizes_B2, tf.float32),
            one=_one(rules.inclusive),
            weight_xy=rules.weights[0],
            weight_wh=rules.weights[1],
            log_limit=rules.log_limit,
            min_size=rules.min_size,
            ordered=rules.ordered,
        )
    )


def nms(
    boxes_BK4: tf.Tensor, groups_BK: tf.Tensor | None, valid_BK: tf.Tensor | None, rules: Suppression
) -> tuple[tf.Tensor, tf.Tensor]:
    """Places of the first boxes that greedy NMS inside each group keeps, int32 [B, D], and their number, int32 [B]."""
    (boxes_BK4,) = _constants(boxes_BK4)
    kept_BD, count_B = operations().harness_nms(
        boxes_BK4,
        [] if groups_BK is None else [groups_BK],
        [] if valid_BK is None else [valid_BK],
        one=0.0,
        iou=rules.iou,
        max_keep=rules.count,
    )
    return kept_BD, count_B


def best_of_levels(
    boxes_BK4: tf.Tensor, scores_BK: tf.Tensor, valid_BK: tf.Tensor, lengths: Sequence[int], rules: Suppression
) -> tf.Tensor:
    """Places of the best boxes after NMS inside each level, int32 [B, min(D, K)], -1 behind them.

    One walk through all levels by falling score, which ends when enough boxes have stayed.
    """
    level_K = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    order_BK = tf.math.top_k(tf.where(valid_BK, tf.stop_gradient(scores_BK), -1.0), sum(lengths)).indices
    few = Suppression(rules.iou, min(rules.count, sum(lengths)))
    kept_BD, _ = nms(
        tf.gather(boxes_BK4, order_BK, batch_dims=1),
        tf.gather(level_K, order_BK),
        tf.gather(valid_BK, order_BK, batch_dims=1),
        few,
    )
    return _taken(kept_BD, order_BK, empty=-1)


def best_of_classes(boxes_BRC4: tf.Tensor, scores_BRC: tf.Tensor, rules: Suppression) -> tuple[tf.Tensor, tf.Tensor]:
    """Scores and places among R·C of the best boxes after NMS inside each class, [B, D] each, 0 in empty slots."""
    shape = tf.shape(scores_BRC)
    batch, count, classes = shape[0], shape[1] * shape[2], shape[2]
    top = tf.math.top_k(tf.reshape(tf.stop_gradient(scores_BRC), (batch, count)), count)
    boxes_BN4 = tf.gather(tf.reshape(boxes_BRC4, (batch, count, 4)), top.indices, batch_dims=1)
    kept_BD, _ = nms(boxes_BN4, top.indices % classes, top.values > 0, rules)
    return _taken(kept_BD, top.values), _taken(kept_BD, top.indices)


def _taken(kept_BD: tf.Tensor, rows_BK: tf.Tensor, empty: int = 0) -> tf.Tensor:
    """What stands at the places that NMS keeps, and `empty` in empty slots."""
    kept_BD = tf.cast(kept_BD, tf.int64)  # TensorFlow compares int32 on the host, even that of a GPU
    taken_BD = tf.gather(rows_BK, tf.maximum(kept_BD, 0), batch_dims=1)
    return tf.where(kept_BD < 0, tf.cast(empty, rows_BK.dtype), taken_BD)


def hard_nms(
    boxes_BK4: tf.Tensor, scores_BK: tf.Tensor, classes_BK: tf.Tensor, rules: Suppression, score_threshold: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Places and scores of the best boxes after NMS inside each class, [B, D] each, 0 in empty slots."""
    (scores_BK,) = _constants(scores_BK)
    kept_BD, _ = nms(boxes_BK4, classes_BK, scores_BK > score_threshold, rules)
    places_BD = tf.cast(tf.maximum(tf.cast(kept_BD, tf.int64), 0), tf.int32)
    return places_BD, _taken(kept_BD, scores_BK)


def soft_nms(
    boxes_BK4: tf.Tensor, scores_BK: tf.Tensor, classes_BK: tf.Tensor, rules: SoftSuppression
) -> tuple[tf.Tensor, tf.Tensor]:
    """Places and lowered scores by gaussian soft-NMS inside each class, [B, D] each, 0 in empty slots."""
    boxes_BK4, scores_BK = _constants(boxes_BK4, scores_BK)
    kept_BD, scores_BD = operations().harness_soft_nms(
        boxes_BK4,
        scores_BK,
        classes_BK,
        sigma=rules.sigma,
        score_threshold=rules.score_threshold,
        max_keep=rules.count,
    )
    return kept_BD, scores_BD


def roi_align(features: Sequence[tf.Tensor], rois_BR4: tf.Tensor, levels_BR: tf.Tensor, pooling: Pooling) -> tf.Tensor:
    """Pool each RoI from its own level, [B·R, bins, bins, C]; float64 where the features are, float32 otherwise."""
    dtype = _computed(features[0].dtype)
    shape = tf.shape(levels_BR)
    regions = (
        tf.stop_gradient(tf.cast(tf.reshape(rois_BR4, (-1, 4)), dtype)),
        tf.repeat(tf.range(shape[0]), shape[1]),
        tf.reshape(levels_BR, (-1,)),
    )
    attributes = {
        "scales": [_digits(1 / (4 << level)) for level in range(len(features))],
        "bins": pooling.bins,
        "ratio": pooling.ratio,
        "aligned": False,
        "min_side": _digits(pooling.min_side),
    }

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def pooled(*levels: tf.Tensor) -> tuple[tf.Tensor, Gradient]:
        shapes = [tf.shape(level) for level in levels]

        def gradient(upstream: tf.Tensor) -> list[tf.Tensor]:
            # only shapes are kept of the features, and nothing of what a half type was raised to
            return operations().harness_roi_align_grad(shapes, *regions, upstream, **attributes)

        return operations().harness_roi_align(levels, *regions, **attributes), gradient

    return pooled(*(tf.cast(level, dtype) for level in features))


def _computed(dtype: tf.DType) -> tf.DType:
    return tf.float64 if dtype == tf.float64 else tf.float32


def paste_masks(
    masks_NSS: tf.Tensor, boxes_N4: tf.Tensor, height: int, width: int, *, threshold: float = 0.5
) -> tf.Tensor:
    """Stretch each mask over its box in an image and cut at the threshold, bool [N, height, width]."""
    return operations().harness_paste_masks(*_constants(masks_NSS, boxes_N4), (height, width), threshold=threshold)


def polygon_targets(outlines: Outlines, object_R: tf.Tensor, boxes_R4: tf.Tensor, target: Target) -> tf.Tensor:
    """Each object cut to its RoI, stretched to the target, drawn by COCO's rule, uint8 [R, side, side]."""
    return operations().harness_polygon_targets(*outlines, object_R, boxes_R4, **_sides(target))


def rle_targets(runs: Runs, object_R: tf.Tensor, boxes_R4: tf.Tensor, target: Target) -> tf.Tensor:
    """The object's pixel under the centre of each target pixel, uint8 [R, side, side]."""
    return operations().harness_rle_targets(*runs, object_R, boxes_R4, **_sides(target))


def _sides(target: Target) -> dict[str, Any]:
    return {"height": target.side, "width": target.side, "min_side": _digits(target.min_side)}


def focal_loss(logits_NK: tf.Tensor, classes_N: tf.Tensor, rules: Focal) -> tf.Tensor:
    """The focal loss summed, a scalar; float64 where the logits are, float32 otherwise."""
    classes_N = tf.reshape(classes_N, (-1,))
    attributes = {
        "alpha": _digits(rules.alpha),
        "gamma": _digits(rules.gamma),
        "smoothing": _digits(rules.smoothing),
    }

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def total(logits: tf.Tensor) -> tuple[tf.Tensor, Gradient]:
        def raised() -> tf.Tensor:
            return tf.cast(tf.reshape(logits, (-1, logits.shape[-1])), _computed(logits.dtype))

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            # the logits are raised anew, so that nothing of this size is kept between the passes
            slope_NK = operations().harness_focal_loss_grad(raised(), classes_N, upstream, **attributes)
            return tf.cast(tf.reshape(slope_NK, tf.shape(logits)), logits.dtype)

        return operations().harness_focal_loss(raised(), classes_N, **attributes), gradient

    return total(logits_NK)
