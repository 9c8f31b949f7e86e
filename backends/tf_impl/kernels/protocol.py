"""What both kinds of kernels can do.

Shapes: B images, M objects, N candidates or anchors, K boxes of an image, D wanted ones, R RoIs, C classes or channels.
"""

from collections.abc import Sequence
from typing import Protocol

import tensorflow as tf

from backends.tf_impl.kernels.levels import Grid, Level, Selected
from backends.tf_impl.kernels.outlines import Outlines, Runs, Target
from backends.tf_impl.kernels.rules import Focal, Pooling, Selection, SoftSuppression, Suppression, Thresholds


class Kernels(Protocol):
    """What `framework` and `native` both have; `framework` documents arguments and results."""

    def anchors(self, grids: Sequence[Grid]) -> tf.Tensor:
        """The anchors of a pyramid, float32 [N, 4]."""

    def box_iou(self, left_M4: tf.Tensor, right_N4: tf.Tensor, *, inclusive: bool = False) -> tf.Tensor:
        """Intersection over union of every pair, float32 [M, N]."""

    def match(
        self,
        objects_BM4: tf.Tensor,
        present_BM: tf.Tensor,
        candidates: tf.Tensor,
        rules: Thresholds,
        *,
        inclusive: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Object and state of each candidate, int32 [B, N] each."""

    def select_boxes(self, levels: Sequence[Level], sizes_B2: tf.Tensor, rules: Selection) -> Selected:
        """Gather, decode and clip chosen anchors, and sieve them by size."""

    def nms(
        self, boxes_BK4: tf.Tensor, groups_BK: tf.Tensor | None, valid_BK: tf.Tensor | None, rules: Suppression
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Places of the first boxes that greedy NMS inside each group keeps, int32 [B, D], and their number."""

    def best_of_levels(
        self,
        boxes_BK4: tf.Tensor,
        scores_BK: tf.Tensor,
        valid_BK: tf.Tensor,
        lengths: Sequence[int],
        rules: Suppression,
    ) -> tf.Tensor:
        """Places of the best boxes after NMS inside each level, int32 [B, min(D, K)], -1 behind them."""

    def best_of_classes(
        self, boxes_BRC4: tf.Tensor, scores_BRC: tf.Tensor, rules: Suppression
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores and places among R·C of the best boxes after NMS inside each class, [B, D] each, 0 if empty."""

    def hard_nms(
        self,
        boxes_BK4: tf.Tensor,
        scores_BK: tf.Tensor,
        classes_BK: tf.Tensor,
        rules: Suppression,
        score_threshold: float,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Places and scores of the best boxes after NMS inside each class, [B, D] each, 0 if empty."""

    def soft_nms(
        self, boxes_BK4: tf.Tensor, scores_BK: tf.Tensor, classes_BK: tf.Tensor, rules: SoftSuppression
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Places and lowered scores by gaussian soft-NMS inside each class, [B, D] each, 0 if empty."""

    def roi_align(
        self, features: Sequence[tf.Tensor], rois_BR4: tf.Tensor, levels_BR: tf.Tensor, pooling: Pooling
    ) -> tf.Tensor:
        """Pool each RoI from its own level, float32 [B·R, bins, bins, C]; differentiable by the features."""

    def paste_masks(
        self, masks_NSS: tf.Tensor, boxes_N4: tf.Tensor, height: int, width: int, *, threshold: float = 0.5
    ) -> tf.Tensor:
        """Stretch each mask over its box in an image and cut at the threshold, bool [N, height, width]."""

    def focal_loss(self, logits_NK: tf.Tensor, classes_N: tf.Tensor, rules: Focal) -> tf.Tensor:
        """The focal loss summed, a float32 scalar; differentiable by the logits."""

    def polygon_targets(
        self, outlines: Outlines, object_R: tf.Tensor, boxes_R4: tf.Tensor, target: Target
    ) -> tf.Tensor:
        """Each object cut to its RoI, stretched to the target, drawn by COCO's rule, uint8 [R, side, side]."""

    def rle_targets(self, runs: Runs, object_R: tf.Tensor, boxes_R4: tf.Tensor, target: Target) -> tf.Tensor:
        """The object's pixel under the centre of each target pixel, uint8 [R, side, side]."""
