"""What the three phases share: one rank's device, arithmetic, ranks and model, made from a trial."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from backends.torch_impl.device import device_name, device_of, memory_errors
from backends.torch_impl.distributed import Ranks, ranks_of
from backends.torch_impl.kernels import Kernels, kernels_of
from backends.torch_impl.maskrcnn.config import MaskRCNNConfig
from backends.torch_impl.maskrcnn.model import MaskRCNN
from backends.torch_impl.maskrcnn.options import RANDOM, Options, options_of
from backends.torch_impl.maskrcnn.weights import load_weights
from backends.torch_impl.precision import Precision, set_precision
from harness.api import Context, Trial, UnsupportedTrialError
from harness.data import label_map
from harness.kernels import Choice, KernelError, choose

PUBLISHED_SIDES = (800, 1333)
"""Shorter side, and what the longer side may reach; another `image_size` keeps their ratio."""


@dataclass(frozen=True, slots=True)
class Session:
    """One rank of one trial, ready to work."""

    trial: Trial
    context: Context
    options: Options
    device: torch.device
    precision: Precision
    ranks: Ranks
    config: MaskRCNNConfig
    model: MaskRCNN
    classes: Mapping[int, int]
    """Class of each category id of the data set."""
    kernels: Choice

    def settings(self) -> Mapping[str, str]:
        """What really runs, in words."""
        return {
            "device": device_name(self.device),
            **self.precision.settings(),
            "memory_format": "channels_last" if self.options.channels_last else "contiguous",
            "flavour": self.config.flavour,
            "norm": self.config.norm,
            "kernels": self.kernels.words,
            "weights": self.options.weights,
            "threads": str(torch.get_num_threads()),
            "loader_threads": str(self.options.loader_threads),
            "process_group": self.ranks.backend,
        }


def open_session(trial: Trial, context: Context, category_ids: Sequence[int]) -> Session:
    """Choose the device, set the precision, build the model from the trial's seed or weights and bring it there.

    Args:
        trial: What to run.
        context: Which rank this is.
        category_ids: Of the data set.

    Raises:
        UnsupportedTrialError: the device, the precision or an option cannot be had.
        DeviceOutOfMemoryError: the model does not fit.
    """
    if trial.xla:
        raise UnsupportedTrialError("xla is true; torch_maskrcnn runs without XLA alone")
    options = options_of(trial)
    if options.cpu_threads is not None:
        torch.set_num_threads(options.cpu_threads)
    device = device_of(trial, context)
    precision = set_precision(trial, device, options.half)
    kernels = _choose(options, device)
    classes = label_map(category_ids, options.labels)
    config = config_of(trial, options, 1 + max(classes.values(), default=1))
    with memory_errors():
        model = _build(trial, options, config, kernels_of(kernels)).to(device)
    ranks = ranks_of(trial, context, device)
    return Session(trial, context, options, device, precision, ranks, config, model, classes, kernels)


def _choose(options: Options, device: torch.device) -> Choice:
    """The kernels that a trial runs on, built if they are not there.

    Raises:
        UnsupportedTrialError: native ones cannot be had, and the trial takes no others.
    """
    target: Literal["cpu", "cuda"] = "cuda" if device.type == "cuda" else "cpu"
    try:
        return choose(options.kernels, target, strict=options.strict_kernels)
    except KernelError as error:
        raise UnsupportedTrialError(str(error)) from error


def config_of(trial: Trial, options: Options, num_classes: int) -> MaskRCNNConfig:
    """The model's numbers: the flavour's, changed by the options and by the trial's image size.

    Raises:
        UnsupportedTrialError: a combination that the model refuses.
    """
    overrides: dict[str, Any] = {"norm": options.norm}
    given = {
        "proposals_per": options.proposals_per,
        "roi_samples": options.rois_per_image,
        "norm_eps": options.norm_eps,
    }
    overrides |= {name: value for name, value in given.items() if value is not None}
    if trial.image_size:
        shorter, longer = PUBLISHED_SIDES
        overrides |= {"shorter_side": trial.image_size, "longer_side": trial.image_size * longer // shorter}
    try:
        return MaskRCNNConfig.preset(
            options.flavour,
            num_classes=num_classes,
            backbone=options.backbone,
            fpn_channels=options.fpn_channels,
            **overrides,
        )
    except ValueError as error:
        raise UnsupportedTrialError(str(error)) from error


def _build(trial: Trial, options: Options, config: MaskRCNNConfig, kernels: Kernels) -> MaskRCNN:
    """The model on the CPU: the same weights on every rank, since all start from one seed or one file."""
    torch.manual_seed(trial.seed)
    model = MaskRCNN(config, kernels)
    if options.weights != RANDOM:
        load_weights(model, Path(options.weights), part=options.weights_part)
    return in_channels_last(model) if options.channels_last else model


def in_channels_last(model: MaskRCNN) -> MaskRCNN:
    """Keep weights in NHWC order; 1×1 kernels have both orders at once and stay as they are.

    They keep the strides that oneDNN's gradients have: gradients of other strides than their weights would be copied,
    with a warning, when ranks average them.
    """
    for parameter in model.parameters():
        if parameter.dim() == 4 and parameter.shape[2:] != (1, 1):
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return model
