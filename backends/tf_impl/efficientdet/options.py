"""The options that a matrix may set for EfficientDet, and their typed form; imports no framework."""

from dataclasses import dataclass
from typing import Any, Literal

from backends.tf_impl.efficientdet.config import VARIANTS
from harness.api import Option, Trial, UnsupportedTrialError

RANDOM = "random"
"""Untrained weights have a name, so that a table says which figures are theirs."""

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

_MACHINE = (
    Option(
        name="half",
        type="str",
        default="auto",
        choices=("auto", "fp16", "bf16"),
        help="half type of precision amp; auto: fp16 with loss scaling on GPUs, bf16 on the CPU",
    ),
    Option(
        name="cpu_threads",
        type="int",
        default=None,
        minimum=1,
        help="threads that each rank computes with on the CPU; null: the cores shared by the ranks. Set it where ranks "
        "on the CPU are compared with each other, so that one rank has no more than each of two",
    ),
    Option(
        name="loader_threads",
        type="int",
        default=2,
        minimum=1,
        help="threads of each rank that decode and resize images",
    ),
    Option(
        name="prefetch_batches",
        type="int",
        default=2,
        minimum=1,
        help="batches of each rank that are made ahead of the device",
    ),
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

OPTIONS = _MODEL + _DETECTION + _MACHINE + _AUGMENTATION + _SOLVER


@dataclass(frozen=True, slots=True)
class Options:
    """The options of one trial with the defaults filled in; `OPTIONS` documents each."""

    variant: str
    labels: Literal["contiguous", "ids"]
    num_classes: int | None
    norm: Literal["batch", "frozen"]
    norm_momentum: float
    double_normalisation: bool
    unrectified_fusion: bool
    weights: str
    weights_part: Literal["model", "backbone"]
    nms: Literal["hard", "soft"]
    score_threshold: float
    max_detections: int
    half: Literal["auto", "fp16", "bf16"]
    cpu_threads: int | None
    loader_threads: int
    prefetch_batches: int
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
    known = {option.name: option for option in OPTIONS}
    values: dict[str, Any] = {name: option.default for name, option in known.items()}
    for name, value in trial.options.items():
        if name not in known:
            raise UnsupportedTrialError(
                f"option {name!r} is not known to tf_efficientdet_d0; it has {', '.join(known)}"
            )
        choices = known[name].choices
        if choices and value is not None and value not in choices:
            raise UnsupportedTrialError(
                f"option {name} is {value!r}; it would be one of {', '.join(map(str, choices))}"
            )
        values[name] = known[name].default if value is None else value
    options = Options(**values)
    if options.scale_min > options.scale_max:
        raise UnsupportedTrialError(
            f"scale_min is {options.scale_min:g} and scale_max {options.scale_max:g}; the least would not be above"
        )
    return options
