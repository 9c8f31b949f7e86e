"""Every number and choice of the model, documented where it is declared."""

from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, Literal, get_args

Flavour = Literal["nvidia", "torchvision"]
Backbone = Literal["resnet10", "resnet18", "resnet34", "resnet50", "resnet101"]
Norm = Literal["frozen", "batch"]
Canvas = Literal["batch", "fixed", "oriented"]
Anchors = Literal["centred", "rounded"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskRCNNConfig:
    """One Mask R-CNN; `preset` fills it as one of the two published systems does."""

    flavour: Flavour
    """Whose arithmetic: NVIDIA's TensorFlow Mask R-CNN, or torchvision's `maskrcnn_resnet50_fpn`."""
    num_classes: int
    """Classes with the background, which is class 0: 91 for COCO in both published systems."""

    backbone: Backbone = "resnet50"
    """Trunk; resnet10 has one block of two 3×3 convolutions a stage and is meant for quick runs."""
    norm: Norm = "frozen"
    """`frozen`: statistics and affine are constants; `batch`: live batch norm, needed to train from scratch."""
    norm_eps: float = 1e-5
    """Added to the variance. NVIDIA: 1e-4. torchvision sets 0 for its COCO weights, 1e-5 otherwise."""
    norm_momentum: float = 0.9
    """Share of the running statistics that a step of live batch norm keeps. NVIDIA: 0.997."""
    trainable_layers: int = 3
    """Stages that train, from the last: 3 freezes stem and layer1, 5 trains the whole trunk."""
    stride_in_1x1: bool = False
    """Where a bottleneck strides: first 1×1 convolution (Detectron weights) or the 3×3 (torchvision, NVIDIA)."""
    stem_pool: Literal["symmetric", "same"] = "symmetric"
    """Padding of the stem's 3×3 pooling: one pixel around, or TensorFlow's, at the bottom and right (NVIDIA)."""
    fpn_channels: int = 256
    """Channels of every pyramid level."""
    head_channels: int = 256
    """Channels of the mask head's convolutions."""
    box_head_dim: int = 1024
    """Width of the box head's two fully connected layers."""

    pixel_scale: float = 1 / 255
    """Multiplies the 0–255 values of the RGB input before the mean is subtracted."""
    pixel_mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Mean by channel after scaling."""
    pixel_std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Standard deviation by channel after scaling."""
    canvas: Canvas = "batch"
    """Frame that images are padded to: `batch`, what the images of a batch need; `fixed`, `canvas_size` for every
    image; `oriented`, `canvas_size`, turned for portrait images. NVIDIA published `fixed`, which shrinks a portrait
    image to 832 rows; its preset here is `oriented`."""
    canvas_size: tuple[int, int] = (832, 1344)
    """Height and width of `fixed` and `oriented` frames; an image is scaled to fit."""
    shorter_side: int = 800
    """With `batch`, images are resized so that the shorter side has this many pixels ..."""
    longer_side: int = 1333
    """... unless the longer side would then exceed this."""
    size_divisible: int = 32
    """Frames are zero-padded at the bottom and right to a multiple of this, itself a multiple of 32."""

    inclusive_coding: bool = False
    """True: offsets are coded, and decoded boxes clipped, as if width = x2 - x1 + 1. Areas, overlaps and RoIs are of
    edges all the same, as NVIDIA published it."""
    inclusive_rpn_targets: bool = False
    """The same for what the RPN learns. NVIDIA published False here beside `inclusive_coding`, so that a perfect RPN
    decodes to boxes slightly off; set `inclusive_coding` to False to mend it."""
    anchors: Anchors = "rounded"
    """`rounded`: half sides rounded, about multiples of the stride (torchvision); `centred`: about cell centres."""
    anchor_sizes: tuple[int, ...] = (32, 64, 128, 256, 512)
    """Side of the square anchor of each level P2..P6."""
    anchor_aspects: tuple[tuple[float, float], ...] = ((2**0.5, 0.5**0.5), (1.0, 1.0), (0.5**0.5, 2**0.5))
    """Width and height of each anchor over the side."""

    rpn_fg_iou: float = 0.7
    """An anchor with at least this IoU is foreground."""
    rpn_bg_iou: float = 0.3
    """An anchor below this IoU is background; those between are ignored."""
    rpn_keep_best: Literal["ties", "first"] = "ties"
    """An object's best anchors are foreground too, if they overlap it: `ties`, all that tie, each for its own best
    object; `first`, one anchor, for this object (NVIDIA)."""
    rpn_samples: int = 256
    """Anchors sampled from each image."""
    rpn_positive_fraction: float = 0.5
    """At most this fraction of them is foreground."""
    rpn_pre_nms_train: int = 2000
    """Proposals of each level that enter NMS in training. NVIDIA's batched path ran NMS over all anchors, on the host;
    its other path and both presets take the best of each level first."""
    rpn_pre_nms_test: int = 1000
    """The same at inference."""
    rpn_post_nms_train: int = 2000
    """Proposals kept of each image after NMS in training."""
    rpn_post_nms_test: int = 1000
    """The same at inference."""
    rpn_nms_iou: float = 0.7
    """IoU above which the lower scored of two proposals of a level is dropped."""
    rpn_min_size: float = 1e-3
    """Proposals with a side below this are dropped before NMS."""
    rpn_loss: Literal["sampled", "matched"] = "sampled"
    """Box loss of the RPN: `sampled`, smooth L1 of the sampled foreground anchors over all sampled ones; `matched`,
    Huber of all foreground anchors, by level over its number of non-zero targets (NVIDIA)."""

    roi_fg_iou: float = 0.5
    """A proposal with at least this IoU is foreground, any below is background."""
    roi_fg_strict: bool = False
    """True: foreground needs more than `roi_fg_iou`; a proposal at just that takes no part (NVIDIA)."""
    roi_samples: int = 512
    """RoIs sampled from each image."""
    roi_positive_fraction: float = 0.25
    """At most this fraction of them is foreground."""
    box_weights: tuple[float, float] = (10.0, 5.0)
    """Weight of dx and dy, weight of dw and dh in the box head; the RPN has 1 and 1."""
    box_loss: Literal["smooth_l1", "huber"] = "smooth_l1"
    """`smooth_l1`, beta 1/9, over the sampled RoIs; `huber`, delta 1, over the foreground RoIs' offsets (NVIDIA)."""
    l2_weight: float = 0.0
    """L2 loss of the trained kernels, half their squares; where it is set, the solver must not decay weights too."""
    level_eps: float = 1e-6
    """Level of an RoI: floor(4 + log2(√area / 224) + eps)."""
    roi_levels: int = 4
    """Pyramid levels that RoIs are pooled from, P2 on. NVIDIA: 5."""
    sampling_ratio: int = 2
    """RoIAlign samples a side of each bin; no half-pixel shift in either flavour. NVIDIA: 1."""
    roi_min_side: float = 1.0
    """An RoI's sides count as at least this many pixels of its level. NVIDIA: 0."""
    box_pool: int = 7
    """Bins a side for the box head."""
    mask_pool: int = 14
    """Bins a side for the mask head, whose output has twice as many."""
    mask_target: Literal["bitmap", "crop"] = "bitmap"
    """How the mask head's targets are given, see `targets`: bitmaps averaged under each RoI, or crops (NVIDIA)."""

    score_threshold: float = 0.05
    """Detections must score above this. NVIDIA: 0."""
    detection_nms_iou: float = 0.5
    """IoU above which the lower scored of two detections of a class is dropped."""
    detection_min_size: float = 1e-2
    """Detections with a side below this are dropped."""
    detections: int = 100
    """Detections kept of each image."""
    mask_threshold: float = 0.5
    """A pasted mask covers the pixels whose probability is above this."""

    def __post_init__(self) -> None:
        """Refuse values outside the documented choices."""
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                msg = f"{name} is {getattr(self, name)!r}; choose one of {', '.join(choices)}"
                raise ValueError(msg)
        if self.num_classes < 2:
            raise ValueError(f"num_classes is {self.num_classes}; the background and one class make at least 2")
        if not 0 <= self.trainable_layers <= 5:
            raise ValueError(f"trainable_layers is {self.trainable_layers}; the trunk has 0 to 5")
        if self.size_divisible % 32:
            raise ValueError(f"size_divisible is {self.size_divisible}; the pyramid needs a multiple of 32")

    @property
    def mask_size(self) -> int:
        """Pixels a side of a predicted mask."""
        return 2 * self.mask_pool

    @property
    def mask_rois(self) -> int:
        """RoIs of each image that the mask head trains on: as many as may be foreground."""
        return int(self.roi_samples * self.roi_positive_fraction)

    @classmethod
    def preset(
        cls, flavour: str, *, num_classes: int, backbone: str = "resnet50", fpn_channels: int = 256, **overrides: Any
    ) -> "MaskRCNNConfig":
        """Fill in one published system; heads scale with the pyramid's width unless `overrides` says otherwise.

        Raises:
            ValueError: for an unknown flavour, field or choice.
        """
        if flavour not in get_args(Flavour):
            raise ValueError(f"flavour is {flavour!r}; choose one of {', '.join(get_args(Flavour))}")
        _refuse_unknown(overrides)
        values: dict[str, Any] = {"flavour": flavour, "num_classes": num_classes, "backbone": backbone}
        values |= {"fpn_channels": fpn_channels, "head_channels": fpn_channels, "box_head_dim": 4 * fpn_channels}
        if flavour == "nvidia":
            values |= _NVIDIA
        if overrides.get("norm") == "batch":
            values |= {"trainable_layers": 5}
        return cls(**(values | overrides))


_CHOICES: dict[str, tuple[str, ...]] = {
    "flavour": get_args(Flavour),
    "backbone": get_args(Backbone),
    "norm": get_args(Norm),
    "canvas": get_args(Canvas),
    "anchors": get_args(Anchors),
    "stem_pool": ("symmetric", "same"),
    "rpn_keep_best": ("ties", "first"),
    "rpn_loss": ("sampled", "matched"),
    "box_loss": ("smooth_l1", "huber"),
    "mask_target": ("bitmap", "crop"),
}

# NVIDIA DeepLearningExamples, TensorFlow2/Segmentation/MaskRCNN; the rest equals torchvision's.
_NVIDIA: dict[str, Any] = {
    "norm_eps": 1e-4,
    "norm_momentum": 0.997,
    "stem_pool": "same",
    "canvas": "oriented",
    "size_divisible": 64,
    "inclusive_coding": True,
    "anchors": "centred",
    "anchor_aspects": ((1.0, 1.0), (1.4, 0.7), (0.7, 1.4)),
    "rpn_keep_best": "first",
    "rpn_post_nms_train": 1000,
    "rpn_min_size": 0.0,
    "rpn_loss": "matched",
    "roi_fg_strict": True,
    "box_loss": "huber",
    "l2_weight": 1e-4,
    "level_eps": 0.0,
    "roi_levels": 5,
    "sampling_ratio": 1,
    "roi_min_side": 0.0,
    "mask_target": "crop",
    "score_threshold": 0.0,
    "detection_min_size": 0.0,
}


def _refuse_unknown(overrides: dict[str, Any]) -> None:
    known = [field.name for field in fields(MaskRCNNConfig)]
    for name in overrides:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; near: {near[0]}" if near else ""
            raise ValueError(f"unknown option {name!r}{hint}")
