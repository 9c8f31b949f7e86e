"""The numbers that operations take, alike for native kernels and for their twins."""

import math
from dataclasses import dataclass
from typing import Literal

Keep = Literal["ties", "first", "none"]

LOG_SIZE_LIMIT = math.log(1000 / 16)
"""Upper bound of dw and dh before they are exponentiated."""
TINY = 1.1754943508222875e-38
"""The smallest normal float32."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When a candidate is foreground, background or neither."""

    foreground: float
    """Candidates with at least this IoU are foreground."""
    background: float
    """Candidates below this IoU are background; those between take no part."""
    strict: bool = False
    """True: foreground needs more than that IoU."""
    keep: Keep = "none"
    """Best candidates of an object that are foreground all the same, if they overlap it: `ties`, every one that ties,
    each keeping its own best object (Faster R-CNN, section 3.1.2); `first`, the first one, which learns this object."""


@dataclass(frozen=True, slots=True)
class Selection:
    """How chosen anchors become boxes."""

    inclusive: bool = False
    """x2 and y2 are the last pixel inside (width = x2 - x1 + 1), not the far edge."""
    weights: tuple[float, float] = (1.0, 1.0)
    """Weight of dx and dy, weight of dw and dh."""
    log_limit: float = LOG_SIZE_LIMIT
    """Upper bound of dw and dh."""
    min_size: float = 0.0
    """A valid box's sides reach it, in pixels."""
    ordered: bool = True
    """Far corners come no nearer than near ones by clipping: inclusive coding ends a box of less than a pixel before it
    begins."""


@dataclass(frozen=True, slots=True)
class Suppression:
    """Greedy non-maximum suppression."""

    iou: float
    """Overlap above which the worse of two boxes goes."""
    count: int
    """How many boxes are wanted."""


@dataclass(frozen=True, slots=True)
class SoftSuppression:
    """Gaussian soft-NMS (Bodla et al. 2017)."""

    sigma: float
    score_threshold: float
    """Nothing is taken whose score is not above it."""
    count: int
    """How many boxes are wanted."""


@dataclass(frozen=True, slots=True)
class Pooling:
    """How RoIs are cut into bins."""

    bins: int
    """A side."""
    ratio: int
    """Samples a side of each bin, 1 or more."""
    min_side: float
    """An RoI's sides count as at least this many pixels of its level."""


@dataclass(frozen=True, slots=True)
class Focal:
    """The focal loss (Lin et al. 2017)."""

    alpha: float
    gamma: float
    smoothing: float = 0.0
    """Moves the targets of the cross entropy, not the weight before it."""
