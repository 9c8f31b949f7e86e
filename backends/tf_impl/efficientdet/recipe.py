"""The published training recipes of EfficientDet-D0: rates, warm-up, cosine and moving average by batch size."""

import math
from typing import NamedTuple, TypeVar

from backends.tf_impl.efficientdet.options import Options
from backends.tf_impl.solver import CosineSchedule, Rates, Schedule, SolverConfig
from harness.api import Trial

Number = TypeVar("Number", int, float)

EPOCH_IMAGES = 120_000
"""The published system counts an epoch of COCO so, whatever the set holds."""

WARMUP_RATE = 1e-4
"""The published warm-up climbs from this rate, not from a fraction of the full one."""


L2_DECAY = 4e-5
ADAMW_RATE = 3e-3
ADAMW_DECAY = 1e-2


class Recipe(NamedTuple):
    """What was published for one effective batch size; epochs are of `EPOCH_IMAGES`."""

    learning_rate: float
    momentum: float
    ema_decay: float
    warmup_epochs: int
    epochs: int


PUBLISHED = {
    320: Recipe(0.4, 0.9, 0.9999, 5, 300),
    512: Recipe(0.7, 0.9, 0.9999, 5, 300),
    832: Recipe(1.1, 0.93, 0.999, 25, 400),
    1280: Recipe(1.0, 0.95, 0.999, 90, 350),
    1600: Recipe(2.2, 0.93, 0.999, 25, 400),
    2048: Recipe(1.5, 0.95, 0.999, 90, 350),
}
"""NVIDIA's scripts by effective batch size: 8 × V100 fp32 and amp, 8 × A100 tf32, 32 × V100 fp32, 8 × A100 amp,
32 × V100 amp."""

_LINEAR = 1600
"""Other batch sizes take this recipe, its rate by the linear rule (Goyal et al. 2017)."""


def published_recipe(images: int) -> Recipe:
    """The published recipe of an effective batch size, or that of eight A100s with its rate in proportion."""
    if images in PUBLISHED:
        return PUBLISHED[images]
    reference = PUBLISHED[_LINEAR]
    return reference._replace(learning_rate=reference.learning_rate * images / _LINEAR)


def steps_of(epochs: int, images: int) -> int:
    """Updates of so many published epochs at an effective batch size."""
    return epochs * math.ceil(EPOCH_IMAGES / images)


def solver_config(trial: Trial, options: Options) -> SolverConfig:
    """What the options say, and what was published for the effective batch size where they say nothing.

    The decay of sgd is a loss of the model's, see `l2_decay`; that of adamw is the solver's.
    """
    images = effective_batch_size(trial)
    recipe, sgd = published_recipe(images), options.optimizer == "sgd"
    rate = _or(options.learning_rate, recipe.learning_rate if sgd else ADAMW_RATE)
    warmup_steps = _or(options.lr_warmup_steps, steps_of(recipe.warmup_epochs, images) if sgd else 0)
    total_steps = _or(options.lr_total_steps, steps_of(recipe.epochs, images) if sgd else 0)
    warmup_factor = min(1.0, WARMUP_RATE / rate) if rate else 0.0
    return SolverConfig(
        optimizer=options.optimizer,
        learning_rate=rate,
        weight_decay=0.0 if sgd else _or(options.weight_decay, ADAMW_DECAY),
        schedule=_schedule(total_steps, warmup_steps, warmup_factor),
        momentum=_or(options.momentum, recipe.momentum),
        bias_lr_factor=1.0,
        decay_vectors=False,
        clip_norm=options.clip_norm or None,
    )


def _schedule(total_steps: int, warmup_steps: int, warmup_factor: float) -> Rates:
    if total_steps:
        return CosineSchedule(total_steps, warmup_steps, warmup_factor)
    return Schedule((), warmup_steps, warmup_factor)


def l2_decay(options: Options) -> float:
    """Half of it times the sum of squares of all kernels is a loss; adamw has none."""
    return _or(options.weight_decay, L2_DECAY) if options.optimizer == "sgd" else 0.0


def average_decay(trial: Trial, options: Options) -> float:
    """Of the moving average of the weights; 0: none."""
    return _or(options.ema_decay, published_recipe(effective_batch_size(trial)).ema_decay)


def effective_batch_size(trial: Trial) -> int:
    """Images of one update."""
    return trial.global_batch_size * trial.gradient_accumulation_steps


def _or(value: Number | None, otherwise: Number) -> Number:
    return otherwise if value is None else value
