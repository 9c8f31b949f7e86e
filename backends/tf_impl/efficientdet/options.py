"""The options that a matrix may set for EfficientDet, and their typed form; imports no framework."""

from dataclasses import dataclass
from typing import Literal

from backends.tf_impl.efficientdet.config import VARIANTS
from backends.tf_impl.options import MACHINE, RANDOM, MachineOptions, read_options
from harness.api import Option, Trial, UnsupportedTrialError

_MODEL = (
    Option(
        name="variant",
        type="str",
        default="d0",
        choices=VARIANTS,
        help="the compound scaling; lite0: D0 on the backbone without squeeze and excitation and with ReLU6",
    ),
    Option(
        name="labels",
        type="str",
        default="contiguous",
        choices=("contiguous", "ids"),
        help="contiguous: the sorted category ids become classes 1 to K (80 outputs on COCO); "
        "ids: a category's id is its class (90 outputs on COCO, as google/automl's weights have them)",
    ),
    Option(
        name="num_classes",
        type="int",
        default=None,
        minimum=1,
        help="outputs of the class head for each anchor; null: as many as the labels need; published by NVIDIA: 91",
    ),
    Option(
        name="norm",
        type="str",
        default="batch",
        choices=("batch", "frozen"),
        help="batch: live batch normalisation, as published; frozen: statistics and affine never change",
    ),
    Option(
        name="norm_momentum",
        type="float",
        default=0.99,
        minimum=0.0,
        maximum=1.0,
        phases=("train",),
        help="what running statistics keep at each update, as published; short runs need less, such as 0.9, or they "
        "are evaluated with the statistics that they began with",
    ),
    Option(
        name="double_normalisation",
        type="bool",
        default=False,
        help="published quirk: the backbone normalises the pixels again that the loader has normalised already",
    ),
    Option(
        name="unrectified_fusion",
        type="bool",
        default=False,
        help="published quirk: fusion weights of the pyramid may become negative, since no ReLU stands before them",
    ),
    Option(
        name="weights",
        type="str",
        default=RANDOM,
        help="safetensors or .pth file with effdet's names; random: from the trial's seed, untrained",
    ),
    Option(
        name="weights_part",
        type="str",
        default="model",
        choices=("model", "backbone"),
        help="what the file of weights holds: the whole model, or an EfficientNet for the backbone",
    ),
)

_DETECTION = (
    Option(
        name="nms",
        type="str",
        default="hard",
        choices=("hard", "soft"),
        help="hard: boxes that overlap a better one of their class by more than half go; "
        "soft: they lose score by a Gaussian of their overlap, as google/automl's do",
    ),
    Option(
        name="score_threshold",
        type="float",
        default=0.001,
        minimum=0.0,
        maximum=1.0,
        help="detections below it are dropped; published: 0.001 for evaluation, 0.4 for the inference benchmark",
    ),
    Option(name="max_detections", type="int", default=100, minimum=1, help="detections kept in each image"),
)

_AUGMENTATION = (
    Option(
        name="scale_min",
        type="float",
        default=0.1,
        minimum=0.01,
        phases=("train",),
        help="smallest factor of the scale jitter on the canvas; published: 0.1",
    ),
    Option(
        name="scale_max",
        type="float",
        default=2.0,
        minimum=0.01,
        phases=("train",),
        help="largest factor of the scale jitter on the canvas; published: 2.0",
    ),
    Option(
        name="flip",
        type="bool",
        default=True,
        phases=("train",),
        help="mirror every other image left to right",
    ),
)

_SOLVER = (
    Option(
        name="optimizer",
        type="str",
        default="sgd",
        choices=("sgd", "adamw"),
        phases=("train",),
        help="sgd: with momentum, as published; adamw: for short runs",
    ),
    Option(
        name="learning_rate",
        type="float",
        default=None,
        minimum=0.0,
        phases=("train",),
        help="null: sgd takes the published rate of the effective batch size, elsewhere the 2.2 per 1,600 images of "
        "eight A100s; adamw 0.003",
    ),
    Option(
        name="momentum",
        type="float",
        default=None,
        minimum=0.0,
        maximum=1.0,
        phases=("train",),
        help="of sgd; null: published for the effective batch size (0.93 on eight A100s)",
    ),
    Option(
        name="lr_warmup_steps",
        type="int",
        default=None,
        minimum=0,
        phases=("train",),
        help="updates of linear learning-rate warm-up; null: published for the effective batch size (adamw: 0)",
    ),
    Option(
        name="lr_total_steps",
        type="int",
        default=None,
        minimum=0,
        phases=("train",),
        help="updates after which the cosine reaches 0; 0: the rate does not fall; "
        "null: published for the effective batch size (adamw: 0)",
    ),
    Option(
        name="weight_decay",
        type="float",
        default=None,
        minimum=0.0,
        phases=("train",),
        help="null: 0.00004 for sgd, as an L2 loss on kernels; 0.01 for adamw, decoupled",
    ),
    Option(
        name="ema_decay",
        type="float",
        default=None,
        minimum=0.0,
        maximum=1.0,
        phases=("train",),
        help="of the moving average of all variables that is evaluated and saved; 0: none; "
        "null: published for the effective batch size (0.999 on eight A100s)",
    ),
    Option(
        name="clip_norm",
        type="float",
        default=10.0,
        minimum=0.0,
        phases=("train",),
        help="each tensor's gradient is cut to this norm, and then all of them together; 0: not",
    ),
    Option(
        name="label_smoothing",
        type="float",
        default=0.0,
        minimum=0.0,
        maximum=1.0,
        phases=("train",),
        help="of the focal loss' targets",
    ),
    Option(
        name="box_loss_weight",
        type="float",
        default=50.0,
        minimum=0.0,
        phases=("train",),
        help="of the box loss beside the class loss",
    ),
)

OPTIONS = _MODEL + _DETECTION + MACHINE + _AUGMENTATION + _SOLVER


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(MachineOptions):
    """The options of one trial with the defaults filled in; `OPTIONS` documents each."""

    variant: str
    num_classes: int | None
    norm: Literal["batch", "frozen"]
    norm_momentum: float
    double_normalisation: bool
    unrectified_fusion: bool
    weights_part: Literal["model", "backbone"]
    nms: Literal["hard", "soft"]
    score_threshold: float
    max_detections: int
    scale_min: float
    scale_max: float
    flip: bool
    optimizer: Literal["sgd", "adamw"]
    learning_rate: float | None
    momentum: float | None
    lr_warmup_steps: int | None
    lr_total_steps: int | None
    weight_decay: float | None
    ema_decay: float | None
    clip_norm: float
    label_smoothing: float
    box_loss_weight: float


def options_of(trial: Trial) -> Options:
    """Fill the defaults into a trial's options.

    Raises:
        UnsupportedTrialError: an option is not this backend's, not one of its choices, or contradicts another.
    """
    found = read_options(trial, "tf_efficientdet_d0", OPTIONS, Options)
    if found.scale_min > found.scale_max:
        raise UnsupportedTrialError(
            f"scale_min is {found.scale_min:g} and scale_max {found.scale_max:g}; the least would not be above"
        )
    return found
