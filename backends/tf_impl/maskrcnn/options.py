"""The options that a matrix may set for TensorFlow Mask R-CNN, and their typed form; imports no framework."""

from dataclasses import dataclass
from typing import Literal

from backends.tf_impl.options import MACHINE, RANDOM, MachineOptions, read_options
from harness.api import Option, Trial

Flavour = Literal["nvidia", "torchvision"]
Canvas = Literal["oriented", "fixed", "own"]

OPTIONS = (
    Option(
        name="flavour",
        type="str",
        default="nvidia",
        choices=("nvidia", "torchvision"),
        help="whose boxes, anchors, samplers and losses: those of NVIDIA's TensorFlow system, or torchvision's, which "
        "torch_maskrcnn has too",
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
        help="safetensors or .pth file with torchvision's names, in the layout of either framework; random: from the "
        "trial's seed, untrained",
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
        help="contiguous: the sorted category ids become classes 1 to K (81 outputs on COCO); "
        "ids: a category's id is its class (both published systems, 91 outputs on COCO)",
    ),
    Option(
        name="canvas",
        type="str",
        default=None,
        choices=("oriented", "fixed", "own"),
        help="frame that images are padded to: oriented, one for wide and one for tall images (832x1344 and 1344x832 "
        "at the published size); fixed: the wide one for every image, as published; own: each its resized size, "
        "rounded up, which compiles once for each; null: oriented for nvidia, own for torchvision",
    ),
    *MACHINE,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(MachineOptions):
    """The options of one trial with the defaults filled in; `OPTIONS` documents each."""

    flavour: Flavour
    backbone: str
    fpn_channels: int
    norm: Literal["frozen", "batch"]
    rois_per_image: int | None
    weights_part: Literal["model", "trunk"]
    norm_eps: float | None
    canvas: Canvas | None
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
    return read_options(trial, "tf_maskrcnn", OPTIONS, Options)
