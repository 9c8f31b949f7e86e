"""The options that a matrix may set for PyTorch Mask R-CNN, and their typed form; imports no framework."""

from dataclasses import dataclass
from typing import Any, Literal

from harness.api import Option, Trial, UnsupportedTrialError

Flavour = Literal["nvidia", "torchvision"]
Half = Literal["auto", "fp16", "bf16"]

RANDOM = "random"
"""Untrained weights have a name, so that a table says which figures are theirs."""

OPTIONS = (
    Option(
        name="flavour",
        type="str",
        default="nvidia",
        choices=("nvidia", "torchvision"),
        help="whose boxes, anchors, samplers and losses: the published NVIDIA system's or torchvision's",
    ),
    Option(
        name="backbone",
        type="str",
        default="resnet50",
        choices=("resnet10", "resnet18", "resnet34", "resnet50", "resnet101"),
        help="the residual network under the feature pyramid",
    ),
    Option(name="fpn_channels", type="int", default=256, minimum=8, help="channels of every level of the pyramid"),
    Option(
        name="norm",
        type="str",
        default="frozen",
        choices=("frozen", "batch"),
        help="frozen: statistics and affine come from the weights and never change; batch: live batch normalisation, "
        "which training from random weights needs",
    ),
    Option(
        name="proposals_per",
        type="str",
        default=None,
        choices=("batch", "image"),
        phases=("train",),
        help="what the training limit on proposals counts over: this rank's batch (nvidia, published) or each image; "
        "null: as the flavour was published",
    ),
    Option(
        name="rois_per_image",
        type="int",
        default=None,
        minimum=1,
        phases=("train",),
        help="RoIs that the heads are trained on, sampled from the proposals of each image; null: 512, as published",
    ),
    Option(
        name="weights",
        type="str",
        default=RANDOM,
        help="safetensors or .pth file with torchvision's names; random: from the trial's seed, untrained",
    ),
    Option(
        name="weights_part",
        type="str",
        default="model",
        choices=("model", "trunk"),
        help="what the file of weights holds: the whole model, or a torchvision ResNet for the trunk",
    ),
    Option(
        name="norm_eps",
        type="float",
        default=None,
        minimum=0.0,
        help="added to the variance in the norm; null: the flavour's; torchvision's COCO weights want 0",
    ),
    Option(
        name="labels",
        type="str",
        default="contiguous",
        choices=("contiguous", "ids"),
        help="contiguous: the sorted category ids become classes 1 to K (nvidia, 81 outputs on COCO); "
        "ids: a category's id is its class (torchvision's weights, 91 outputs on COCO)",
    ),
    Option(
        name="channels_last",
        type="bool",
        default=True,
        help="keep activations and weights in NHWC order, which tensor cores and oneDNN prefer",
    ),
    Option(
        name="half",
        type="str",
        default="auto",
        choices=("auto", "fp16", "bf16"),
        help="half type of precision amp; auto: fp16 with loss scaling on GPUs, bf16 on the CPU",
    ),
    Option(
        name="kernels",
        type="str",
        default="native",
        choices=("native", "framework"),
        help="what computes overlaps, matching, NMS, RoIAlign and masks: the harness's own kernels, compiled at first "
        "use, or torch and torchvision; without a compiler native becomes framework, and the result says so",
    ),
    Option(
        name="strict_kernels",
        type="bool",
        default=False,
        help="a trial that cannot have the kernels it asks for is unsupported, instead of running on others",
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
    Option(
        name="optimizer",
        type="str",
        default="sgd",
        choices=("sgd", "adamw"),
        phases=("train",),
        help="sgd: momentum 0.9, as published; adamw: for short runs from random weights",
    ),
    Option(
        name="learning_rate",
        type="float",
        default=None,
        minimum=0.0,
        phases=("train",),
        help="null: sgd takes the published 0.04 per 32 images of the effective batch, adamw 0.001",
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
        name="lr_warmup_factor",
        type="float",
        default=None,
        minimum=0.0,
        maximum=1.0,
        phases=("train",),
        help="fraction of the learning rate at the first update; null: published for the effective batch size",
    ),
    Option(
        name="lr_steps",
        type="str",
        default=None,
        phases=("train",),
        help="updates after which the learning rate drops tenfold, as '33000,44000', or '' for never; "
        "null: published for the effective batch size (adamw: never)",
    ),
    Option(
        name="weight_decay",
        type="float",
        default=None,
        minimum=0.0,
        phases=("train",),
        help="on weights, not on biases; null: 0.0001 for sgd, 0.01 for adamw",
    ),
)


@dataclass(frozen=True, slots=True)
class Options:
    """The options of one trial with the defaults filled in; `OPTIONS` documents each."""

    flavour: Flavour
    backbone: str
    fpn_channels: int
    norm: Literal["frozen", "batch"]
    proposals_per: Literal["batch", "image"] | None
    rois_per_image: int | None
    weights: str
    weights_part: Literal["model", "trunk"]
    norm_eps: float | None
    labels: Literal["contiguous", "ids"]
    channels_last: bool
    half: Half
    kernels: Literal["native", "framework"]
    strict_kernels: bool
    cpu_threads: int | None
    loader_threads: int
    prefetch_batches: int
    optimizer: Literal["sgd", "adamw"]
    learning_rate: float | None
    lr_warmup_steps: int | None
    lr_warmup_factor: float | None
    lr_steps: str | None
    weight_decay: float | None


def options_of(trial: Trial) -> Options:
    """Fill the defaults into a trial's options.

    Raises:
        UnsupportedTrialError: an option is not this backend's, or not one of its choices.
    """
    known = {option.name: option for option in OPTIONS}
    values: dict[str, Any] = {name: option.default for name, option in known.items()}
    for name, value in trial.options.items():
        if name not in known:
            raise UnsupportedTrialError(f"option {name!r} is not known to torch_maskrcnn; it has {', '.join(known)}")
        choices = known[name].choices
        if choices and value is not None and value not in choices:
            raise UnsupportedTrialError(
                f"option {name} is {value!r}; it would be one of {', '.join(map(str, choices))}"
            )
        values[name] = known[name].default if value is None else value
    return Options(**values)
