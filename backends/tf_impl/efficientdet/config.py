"""Every number and choice of the model, documented where it is declared; imports no framework."""

from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, Literal

Norm = Literal["batch", "frozen"]
NMS = Literal["hard", "soft"]
Fusion = Literal["weighted", "sum"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EfficientDetConfig:
    """One EfficientDet (Tan et al. 2020); `preset` fills it as the paper's table does."""

    width: float
    """Multiplies the channels of EfficientNet-B0; results are rounded to multiples of 8."""
    depth: float
    """Multiplies the blocks of each of its stages, rounded up."""
    image_size: int
    """Side of the square canvas, a multiple of 128; the model takes any height and width that are."""
    fpn_channels: int
    """Channels of every pyramid level and of the heads."""
    fpn_cells: int
    """BiFPN cells, one after the other."""
    head_depth: int
    """Separable convolutions of each head before its prediction."""
    lite: bool = False
    """Backbone without squeeze and excitation and with ReLU6, as EfficientNet-Lite has it; pyramid and heads stay."""
    fusion: Fusion = "weighted"
    """`weighted`: fast normalised fusion with a learnt weight for each input of a node; `sum`: plain sums (D6, D7)."""
    num_classes: int = 90
    """Outputs of the class head for each anchor. There is no background output: class k is output k - 1."""

    norm: Norm = "batch"
    """`batch`: live batch normalisation, not synchronised over ranks; `frozen`: statistics and affine are constants."""
    norm_eps: float = 1e-3
    """Added to the variance."""
    norm_momentum: float = 0.99
    """What the running statistics keep at each step."""
    fusion_eps: float = 1e-4
    """Added to the sum of a node's fusion weights."""

    pixel_mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Mean of each RGB channel, of pixels in 0..1."""
    pixel_std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Standard deviation of each RGB channel, of pixels in 0..1."""

    double_normalisation: bool = False
    """Quirk of NVIDIA's system: the backbone subtracts the mean and divides by the deviation a second time."""
    unrectified_fusion: bool = False
    """Quirk of NVIDIA's system: no ReLU on the fusion weights, so that their sum may reach 0."""

    anchor_scale: float = 4.0
    """Side of a level's smallest square anchor over its stride."""
    octaves: int = 3
    """Anchor sizes of a level, a factor of 2^(1 / octaves) apart."""
    aspects: tuple[tuple[float, float], ...] = ((1.0, 1.0), (1.4, 0.7), (0.7, 1.4))
    """Width and height of an anchor over its side."""

    match_iou: float = 0.5
    """An anchor with at least this IoU is foreground, and so is an object's best anchor; any other is background."""
    focal_alpha: float = 0.25
    """Weight of the foreground in the focal loss; the background has 1 - alpha."""
    focal_gamma: float = 1.5
    """Exponent of the focal loss' modulator."""
    label_smoothing: float = 0.0
    """Moves the targets of the cross entropy from 0 and 1 towards 0.5; the modulator keeps the hard targets."""
    huber_delta: float = 0.1
    """Where the box loss turns linear."""
    box_loss_weight: float = 50.0
    """Of the box loss beside the class loss."""
    weight_decay: float = 4e-5
    """Half of it times the sum of squares of all kernels is a loss; 0 leaves it out."""

    candidates: int = 5000
    """Best (anchor, class) pairs of all levels that enter NMS."""
    nms: NMS = "hard"
    """`hard`: what overlaps a better box of its class goes; `soft`: it loses score by a gaussian of the overlap."""
    nms_iou: float = 0.5
    """Overlap above which hard NMS drops the lower scored box."""
    nms_sigma: float = 0.5
    """Soft NMS multiplies scores by exp(-IoU² / sigma)."""
    score_threshold: float = 0.001
    """Detections must score above this, in soft NMS with the score that is left. effdet's hard NMS has none."""
    max_detections: int = 100
    """Detections kept of each image."""

    @property
    def anchors_per_cell(self) -> int:
        """Anchors of one position."""
        return self.octaves * len(self.aspects)

    @classmethod
    def preset(cls, variant: str = "d0", **overrides: Any) -> "EfficientDetConfig":
        """One of `VARIANTS`, with fields replaced.

        Raises:
            ValueError: for an unknown variant, field or choice.
        """
        if variant not in PRESETS:
            msg = f"variant is {variant!r}; choose one of {', '.join(PRESETS)}"
            raise ValueError(msg)
        _refuse_unknown(overrides)
        config = cls(**(PRESETS[variant] | overrides))
        _refuse_choices(config)
        return config


def _scaled(backbone: int, image_size: int, fpn: tuple[int, int, int], **more: Any) -> dict[str, Any]:
    width, depth = _EFFICIENTNET[backbone]
    channels, cells, head = fpn
    sizes = {"fpn_channels": channels, "fpn_cells": cells, "head_depth": head, "image_size": image_size}
    return {"width": width, "depth": depth} | sizes | more


# EfficientNet-B0 to B6, width and depth (Tan and Le 2019)
_EFFICIENTNET = ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8), (1.6, 2.2), (1.8, 2.6))

PRESETS: dict[str, dict[str, Any]] = {
    "d0": _scaled(0, 512, (64, 3, 3)),
    "d1": _scaled(1, 640, (88, 4, 3)),
    "d2": _scaled(2, 768, (112, 5, 3)),
    "d3": _scaled(3, 896, (160, 6, 4)),
    "d4": _scaled(4, 1024, (224, 7, 4)),
    "d5": _scaled(5, 1280, (288, 7, 4)),
    "d6": _scaled(6, 1280, (384, 8, 5), fusion="sum"),
    "d7": _scaled(6, 1536, (384, 8, 5), fusion="sum", anchor_scale=5.0),
    # D0 on EfficientNet-Lite0, whose ImageNet weights were trained on pixels in -1..1
    "lite0": _scaled(0, 512, (64, 3, 3), lite=True, pixel_mean=(0.5, 0.5, 0.5), pixel_std=(0.5, 0.5, 0.5)),
}
"""Compound scaling: backbone, image size, pyramid and heads of each variant."""

VARIANTS = tuple(PRESETS)

_CHOICES: dict[str, tuple[str, ...]] = {
    "fusion": ("weighted", "sum"),
    "norm": ("batch", "frozen"),
    "nms": ("hard", "soft"),
}


def _refuse_unknown(overrides: dict[str, Any]) -> None:
    known = [field.name for field in fields(EfficientDetConfig)]
    for name in overrides:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; near: {near[0]}" if near else ""
            msg = f"unknown field {name!r} of EfficientDetConfig{hint}"
            raise ValueError(msg)


def _refuse_choices(config: EfficientDetConfig) -> None:
    for name, choices in _CHOICES.items():
        if (value := getattr(config, name)) not in choices:
            msg = f"{name} is {value!r}; choose one of {', '.join(choices)}"
            raise ValueError(msg)
    if config.image_size < 128 or config.image_size % 128:
        msg = f"image_size is {config.image_size}; a multiple of 128 is needed, the stride of the coarsest level"
        raise ValueError(msg)
