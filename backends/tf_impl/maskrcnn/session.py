"""What the three phases share: one rank's machine, numbers and model, made from a trial."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from backends.tf_impl.device import memory_errors
from backends.tf_impl.maskrcnn.config import MaskRCNNConfig
from backends.tf_impl.maskrcnn.model import MaskRCNN
from backends.tf_impl.maskrcnn.options import Options, options_of
from backends.tf_impl.maskrcnn.weights import load_weights
from backends.tf_impl.options import RANDOM
from backends.tf_impl.session import Machine, RankSession, machine_of
from harness.api import Context, Trial, UnsupportedTrialError
from harness.data import label_map, published_canvas

PUBLISHED_SIDES = (800, 1333)
"""Shorter side, and what the longer side may reach; another `image_size` keeps their ratio."""
WEIGHT_DECAY = 1e-4


class Session(RankSession[Options, MaskRCNNConfig, MaskRCNN]):
    """One rank of one trial, ready to work."""

    __slots__ = ()

    def settings(self) -> Mapping[str, str]:
        """What really runs, in words."""
        return {
            **super().settings(),
            "flavour": self.config.flavour,
            "norm": self.config.norm,
            "canvas": canvas_in_words(self.config),
        }


def canvas_in_words(config: MaskRCNNConfig) -> str:
    """The frame that images are padded to."""
    height, width = config.canvas_size
    words = {
        "batch": f"own, a multiple of {config.size_divisible}",
        "fixed": f"{height} x {width}",
        "oriented": f"{height} x {width} or {width} x {height}",
    }
    return words[config.canvas]


def open_session(trial: Trial, context: Context, category_ids: Sequence[int]) -> Session:
    """Choose the device, set the precision, and build the model from the trial's seed or weights.

    Args:
        trial: What to run.
        context: Which rank this is.
        category_ids: Of the data set.

    Raises:
        UnsupportedTrialError: the device, the precision or an option cannot be had.
        DeviceOutOfMemoryError: the model does not fit.
    """
    options = options_of(trial)
    machine = machine_of(trial, context, options)
    classes = label_map(category_ids, options.labels)
    config = config_of(trial, options, 1 + max(classes.values(), default=1))
    with memory_errors():
        model = _build(trial, options, config, machine)
    return Session(trial, context, options, machine, config, model, classes)


def config_of(trial: Trial, options: Options, num_classes: int) -> MaskRCNNConfig:
    """The model's numbers: the flavour's, changed by the options and by the trial's image size.

    Raises:
        UnsupportedTrialError: a combination that the model refuses.
    """
    given = {
        "roi_samples": options.rois_per_image,
        "norm_eps": options.norm_eps,
        "canvas": {"own": "batch"}.get(options.canvas or "", options.canvas),
    }
    overrides: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    overrides |= {"norm": options.norm, **_sides(trial), **_penalty(options)}
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


def _sides(trial: Trial) -> dict[str, Any]:
    if not trial.image_size:
        return {}
    shorter, longer = PUBLISHED_SIDES
    return {
        "shorter_side": trial.image_size,
        "longer_side": trial.image_size * longer // shorter,
        "canvas_size": published_canvas(trial.image_size),
    }


def _penalty(options: Options) -> dict[str, float]:
    """The published system has its decay among the losses; everywhere else the solver decays weights itself."""
    if options.flavour == "torchvision" or options.optimizer != "sgd":
        return {"l2_weight": 0.0}
    return {"l2_weight": WEIGHT_DECAY if options.weight_decay is None else options.weight_decay}


def _build(trial: Trial, options: Options, config: MaskRCNNConfig, machine: Machine) -> MaskRCNN:
    """The model: the same weights on every rank, since all start from one seed or one file."""
    model = MaskRCNN(config, machine.precision.compute, machine.kernels)
    model.initialise(trial.seed)
    if options.weights != RANDOM:
        load_weights(model, Path(options.weights), part=options.weights_part)
    return model
