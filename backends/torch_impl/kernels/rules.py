"""What operations are told besides tensors, in both of their forms.

Boxes are x1, y1, x2, y2; `one` is 1 where x2 and y2 are the last pixel inside, 0 where they are the far edge.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Keep = Literal["none", "ties", "first"]
Convention = Literal["legacy", "torchvision", "efficientdet"]


@dataclass(frozen=True, slots=True)
class MatchRule:
    """When a candidate is foreground or background."""

    foreground: float
    """From this IoU on a candidate is foreground."""
    background: float
    """Below this IoU it is background; between the two it takes no part."""
    keep: Keep = "none"
    """`ties`: every candidate that ties an object's best IoU is foreground too, if that is above 0, and keeps its own
    object (Faster R-CNN, section 3.1.2); `first`: each object's first best candidate is, and learns that object."""
    strict: bool = False
    """Foreground is above its threshold instead of at or above it."""
    one: float = 0.0


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a top-k found on every level of a pyramid, and what it was chosen from."""

    indices: Sequence[Tensor]
    """int64 [B, K_level]."""
    logits: Sequence[Tensor]
    """[B, K_level], of the chosen anchors."""
    deltas: Sequence[Tensor]
    """[B, N_level, 4], of all anchors."""
    anchors: Sequence[Tensor]
    """[N_level, 4]."""


@dataclass(frozen=True, slots=True)
class SelectRule:
    """How chosen anchors become boxes."""

    weights: tuple[float, float]
    """Of dx and dy, and of dw and dh."""
    log_limit: float
    """Upper bound of dw and dh before they are exponentiated."""
    min_size: float
    """A box with a side below this is not valid."""
    one: float = 0.0


@dataclass(frozen=True, slots=True)
class Candidates:
    """Boxes among which NMS chooses, in any order."""

    boxes_BK4: Tensor
    scores_BK: Tensor
    groups_BK: Tensor
    """Integers; a box suppresses others of its group alone."""
    valid_BK: Tensor | None = None
    """bool; others are never kept and suppress nothing."""


@dataclass(frozen=True, slots=True)
class NmsRule:
    """When a box is dropped, and how many stay."""

    iou: float
    """A box stays unless a better one that stays overlaps it by more than this."""
    max_keep: int
    one: float = 0.0


@dataclass(frozen=True, slots=True)
class SoftNmsRule:
    """How scores are lowered, and how many stay."""

    sigma: float
    score_threshold: float
    max_keep: int


@dataclass(frozen=True, slots=True)
class RoIs:
    """Regions of interest with the image and the level that each is read from."""

    boxes_R4: Tensor
    """In pixels of the image."""
    images_R: Tensor
    """int64."""
    levels_R: Tensor
    """int64, place of the level among the features."""


@dataclass(frozen=True, slots=True)
class PoolRule:
    """How RoIAlign reads."""

    scales: tuple[float, ...]
    """Pixels of each level per pixel of the image."""
    bins: int
    """A side."""
    ratio: int
    """Samples a side of each bin; 0: as many as the bin has pixels, rounded up."""
    aligned: bool = False
    """Shift by half a pixel, and take sides as they are; else sides count as at least one pixel of the level."""
    channels_last: bool = False
    """Memory order of the result."""

    @property
    def min_side(self) -> float:
        """What an RoI's sides count as at least, in pixels of its level."""
        return 0.0 if self.aligned else 1.0


@dataclass(frozen=True, slots=True)
class AnchorGrid:
    """Where the anchors of a pyramid stand, see kernels/include/anchors.h."""

    convention: Convention
    strides: tuple[int, ...]
    """Of each level."""
    sizes: tuple[float, ...]
    """Side of the square anchor of each level."""
    aspects: tuple[tuple[float, float], ...]
    """(1, height / width); for EfficientDet (width, height)."""
    grids: tuple[tuple[int, int], ...]
    """Rows and columns of each level."""
    steps: tuple[tuple[float, float], ...]
    """Pixels between rows and between columns of each level."""
    octaves: int = 1
    """Sizes an octave; 1 but for EfficientDet."""


@dataclass(frozen=True, slots=True)
class FocalRule:
    """The focal loss of Lin et al. 2017."""

    alpha: float = 0.25
    gamma: float = 1.5
    smoothing: float = 0.0
    """Half of it moves from the true answer to the other one."""
