"""What operations over the levels of a pyramid take and give.

Shapes: B images, N anchors of a level, K chosen ones, of a level or of all.
"""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf


class Level(NamedTuple):
    """What was chosen of a level's anchors."""

    indices_BK: tf.Tensor
    """Which anchors, best first, int32 or int64."""
    logits_BK: tf.Tensor
    """Their logits, of any float type."""
    deltas_BN4: tf.Tensor
    """dx, dy, dw, dh of every anchor of the level, of any float type."""
    anchors_N4: tf.Tensor
    """float32."""


class Selected(NamedTuple):
    """Decoded boxes of all levels, the levels one after the other."""

    boxes_BK4: tf.Tensor
    """float32; of any value where not valid."""
    scores_BK: tf.Tensor
    """Sigmoid of the logits, float32."""
    valid_BK: tf.Tensor
    """bool."""


class Grid(NamedTuple):
    """Where the anchors of a level stand."""

    rows: int
    columns: int
    steps: tuple[float, float]
    """Pixels between rows and between columns."""
    cell: Sequence[Sequence[float]]
    """The anchors of position (0, 0), x1, y1, x2, y2; every level has as many."""
