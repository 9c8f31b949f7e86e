"""What the three phases share: one rank's machine, numbers and model, made from a trial."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from backends.tf_impl.device import memory_errors
from backends.tf_impl.efficientdet.config import EfficientDetConfig
from backends.tf_impl.efficientdet.model import EfficientDet
from backends.tf_impl.efficientdet.options import Options, options_of
from backends.tf_impl.efficientdet.recipe import l2_decay
from backends.tf_impl.efficientdet.weights import load_weights
from backends.tf_impl.options import RANDOM
from backends.tf_impl.session import Machine, RankSession, machine_of
from harness.api import Context, Trial, UnsupportedTrialError
from harness.data import label_map


class Session(RankSession[Options, EfficientDetConfig, EfficientDet]):
    """One rank of one trial, ready to work."""

    __slots__ = ()

    def settings(self) -> Mapping[str, str]:
        """What really runs, in words."""
        return {
            **super().settings(),
            "variant": self.options.variant,
            "canvas": f"{self.config.image_size} x {self.config.image_size}",
            "classes": str(self.config.num_classes),
            "norm": self.config.norm,
            "nms": self.config.nms,
        }


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
    config = config_of(trial, options, max(classes.values(), default=1))
    with memory_errors():
        model = _build(trial, options, config, machine)
    return Session(trial, context, options, machine, config, model, classes)


def config_of(trial: Trial, options: Options, num_classes: int) -> EfficientDetConfig:
    """The model's numbers: the variant's, changed by the options and by the trial's image size.

    Raises:
        UnsupportedTrialError: a combination that the model refuses.
    """
    if options.num_classes is not None and options.num_classes < num_classes:
        raise UnsupportedTrialError(f"num_classes is {options.num_classes}; the data set's labels need {num_classes}")
    overrides: dict[str, Any] = {"image_size": trial.image_size} if trial.image_size else {}
    try:
        return EfficientDetConfig.preset(
            options.variant,
            num_classes=options.num_classes or num_classes,
            norm=options.norm,
            norm_momentum=options.norm_momentum,
            nms=options.nms,
            score_threshold=options.score_threshold,
            max_detections=options.max_detections,
            double_normalisation=options.double_normalisation,
            unrectified_fusion=options.unrectified_fusion,
            label_smoothing=options.label_smoothing,
            box_loss_weight=options.box_loss_weight,
            weight_decay=l2_decay(options),
            **overrides,
        )
    except ValueError as error:
        raise UnsupportedTrialError(str(error)) from error


def _build(trial: Trial, options: Options, config: EfficientDetConfig, machine: Machine) -> EfficientDet:
    """The model: the same weights on every rank, since all start from one seed or one file."""
    model = EfficientDet(config, machine.precision.compute, machine.kernels)
    model.initialise(trial.seed)
    if options.weights != RANDOM:
        load_weights(model, Path(options.weights), part=options.weights_part)
    return model
