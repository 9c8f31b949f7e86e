"""Every number and choice of the model, documented where it is declared."""

from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, Literal, get_args

Flavour = Literal["nvidia", "torchvision"]
Backbone = Literal["resnet10", "resnet18", "resnet34", "resnet50", "resnet101"]
Norm = Literal["frozen", "batch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskRCNNConfig:
    """One Mask R-CNN; `preset` fills it as one of the two published systems does."""

    flavour: Flavour
    """Whose arithmetic: NVIDIA's PyTorch Mask R-CNN, or torchvision's `maskrcnn_resnet50_fpn`."""
    num_classes: int
    """Classes with the background, which is class 0: 81 for COCO in `nvidia`, 91 in torchvision's weights."""

    backbone: Backbone = "resnet50"
    """Trunk; resnet10 has one BasicBlock a stage and is meant for quick runs."""
    norm: Norm = "frozen"
    """`frozen`: statistics and affine are constants; `batch`: live batch norm, needed to train from scratch."""
    norm_eps: float = 1e-5
    """Added to the variance. NVIDIA: 0 when frozen. torchvision sets 0 for its COCO weights, 1e-5 otherwise."""
    trainable_layers: int = 3
    """Stages that train, from the last: 3 freezes stem and layer1, 5 trains the whole trunk."""
    stride_in_1x1: bool = False
    """Where a bottleneck strides: first 1×1 convolution (Detectron weights) or the 3×3 (torchvision)."""
    fpn_channels: int = 256
    """Channels of every pyramid level."""
    head_channels: int = 256
    """Channels of the mask head's convolutions."""
    box_head_dim: int = 1024
    """Width of the box head's two fully connected layers."""

    channel_order: Literal["rgb", "bgr"] = "rgb"
    """Order of the channels that the trunk sees; images always come in as RGB."""
    pixel_scale: float = 1 / 255
    """Multiplies the 0–255 values before the mean is subtracted."""
    pixel_mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Mean by channel, in the order and scale that the trunk sees."""
    pixel_std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Standard deviation by channel, in the order and scale that the trunk sees."""
    shorter_side: int = 800
    """Images are resized so that the shorter side has this many pixels ..."""
    longer_side: int = 1333
    """... unless the longer side would then exceed this."""
    size_rule: Literal["floor", "detectron"] = "floor"
    """How the two limits become a size, see `data.Resizing`."""
    resize: Literal["pillow", "opencv"] = "opencv"
    """Bilinear on uint8, as `harness.data.resize` names it: `pillow` antialiases, `opencv` does not."""
    size_divisible: int = 32
    """Batches are zero-padded at the bottom and right to a multiple of this."""

    inclusive_boxes: bool = False
    """True: x2 and y2 are the last pixel inside, so width = x2 - x1 + 1 everywhere (the legacy convention)."""
    anchor_sizes: tuple[int, ...] = (32, 64, 128, 256, 512)
    """Side of the square anchor of each level P2..P6."""
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Height over width."""
    straddle_rule: bool = False
    """True: anchors that cross the border of the image's valid area take no part in the RPN's losses."""

    rpn_fg_iou: float = 0.7
    """An anchor with at least this IoU is foreground; so is any that ties an object's best IoU, if above 0."""
    rpn_bg_iou: float = 0.3
    """An anchor below this IoU is background; those between are ignored."""
    rpn_samples: int = 256
    """Anchors sampled from each image."""
    rpn_positive_fraction: float = 0.5
    """At most this fraction of them is foreground."""
    rpn_pre_nms_train: int = 2000
    """Proposals of each level that enter NMS in training."""
    rpn_pre_nms_test: int = 1000
    """The same at inference."""
    rpn_post_nms_train: int = 2000
    """Proposals kept after NMS in training: of each image, or of the whole local batch by `proposals_per`."""
    rpn_post_nms_test: int = 1000
    """Proposals kept of each image at inference."""
    proposals_per: Literal["batch", "image"] = "image"
    """`batch`: the best of the rank's whole batch, a quirk of the published system that makes the result depend on
    how images are grouped; `image`: independent of the batch."""
    rpn_nms_iou: float = 0.7
    """IoU above which the lower scored of two proposals of a level is dropped."""
    rpn_min_size: float = 1e-3
    """Proposals with a side below this are dropped before NMS."""

    roi_fg_iou: float = 0.5
    """A proposal with at least this IoU is foreground, any other background."""
    roi_samples: int = 512
    """RoIs sampled from each image."""
    roi_positive_fraction: float = 0.25
    """At most this fraction of them is foreground."""
    box_weights: tuple[float, float] = (10.0, 5.0)
    """Weight of dx and dy, weight of dw and dh in the box head; the RPN has 1 and 1."""
    box_loss_beta: float = 1 / 9
    """Where the box head's smooth L1 turns linear; the RPN's is 1/9 in both flavours."""
    level_eps_inside: bool = False
    """Level of an RoI: floor(4 + log2(√area / 224 + 1e-6)) if true, floor(4 + log2(√area / 224) + 1e-6) if not."""
    sampling_ratio: int = 2
    """RoIAlign samples a side of each bin; no half-pixel shift in either flavour."""
    box_pool: int = 7
    """Bins a side for the box head."""
    mask_pool: int = 14
    """Bins a side for the mask head, whose output has twice as many."""

    score_threshold: float = 0.05
    """Detections must score above this."""
    detection_nms_iou: float = 0.5
    """IoU above which the lower scored of two detections of a class is dropped."""
    detection_min_size: float = 1e-2
    """Detections with a side below this are dropped."""
    detections: int = 100
    """Detections kept of each image."""
    keep_ties: bool = False
    """True: detections that tie the last kept score stay too, so that there may be more than `detections`."""
    mask_threshold: float = 0.5
    """A pasted mask covers the pixels whose probability is above this."""

    def __post_init__(self) -> None:
        """Refuse values outside the documented choices."""
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                msg = f"{name} is {getattr(self, name)!r}; choose one of {', '.join(choices)}"
                raise ValueError(msg)
        if self.num_classes < 2:
            msg = f"num_classes is {self.num_classes}; the background and one class make at least 2"
            raise ValueError(msg)
        if not 0 <= self.trainable_layers <= 5:
            msg = f"trainable_layers is {self.trainable_layers}; the trunk has 0 to 5"
            raise ValueError(msg)

    @property
    def mask_size(self) -> int:
        """Pixels a side of a predicted mask."""
        return 2 * self.mask_pool

    @classmethod
    def preset(
        cls, flavour: str, *, num_classes: int, backbone: str = "resnet50", fpn_channels: int = 256, **overrides: Any
    ) -> "MaskRCNNConfig":
        """Fill in one published system; heads scale with the pyramid's width unless `overrides` says otherwise.

        Raises:
            ValueError: for an unknown flavour, field or choice.
        """
        if flavour not in get_args(Flavour):
            msg = f"flavour is {flavour!r}; choose one of {', '.join(get_args(Flavour))}"
            raise ValueError(msg)
        _refuse_unknown(overrides)
        values: dict[str, Any] = {"flavour": flavour, "num_classes": num_classes, "backbone": backbone}
        values |= {"fpn_channels": fpn_channels, "head_channels": fpn_channels, "box_head_dim": 4 * fpn_channels}
        if flavour == "nvidia":
            values |= _NVIDIA
        if overrides.get("norm") == "batch":
            values |= {"trainable_layers": 5, "norm_eps": 1e-5}
        if flavour == "nvidia" and overrides.get("proposals_per") == "image":
            values["rpn_post_nms_train"] = 1000  # the published 4000 a batch, shared by its 4 images
        return cls(**(values | overrides))


_CHOICES: dict[str, tuple[str, ...]] = {
    "flavour": get_args(Flavour),
    "backbone": get_args(Backbone),
    "norm": get_args(Norm),
    "channel_order": ("rgb", "bgr"),
    "size_rule": ("floor", "detectron"),
    "resize": ("pillow", "opencv"),
    "proposals_per": ("batch", "image"),
}

# NVIDIA DeepLearningExamples, PyTorch/Segmentation/MaskRCNN, e2e_mask_rcnn_R_50_FPN_1x; the rest equals torchvision's.
_NVIDIA: dict[str, Any] = {
    "norm_eps": 0.0,
    "stride_in_1x1": True,
    "channel_order": "bgr",
    "pixel_scale": 1.0,
    "pixel_mean": (102.9801, 115.9465, 122.7717),
    "pixel_std": (1.0, 1.0, 1.0),
    "size_rule": "detectron",
    "resize": "pillow",
    "inclusive_boxes": True,
    "straddle_rule": True,
    "rpn_post_nms_train": 4000,
    "proposals_per": "batch",
    "rpn_min_size": 0.0,
    "box_loss_beta": 1.0,
    "level_eps_inside": True,
    "detection_min_size": 0.0,
    "keep_ties": True,
}


def _refuse_unknown(overrides: dict[str, Any]) -> None:
    known = [field.name for field in fields(MaskRCNNConfig)]
    for name in overrides:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; near: {near[0]}" if near else ""
            msg = f"unknown option {name!r}{hint}"
            raise ValueError(msg)
