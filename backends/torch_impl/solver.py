"""The optimiser of a detector: its parameter groups, the published schedules, and the learning rate of each update."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

MOMENTUM = 0.9
GAMMA = 0.1
BIAS_LR_FACTOR = 2.0
LR_PER_IMAGE = 0.04 / 32
"""The published learning rates (0.005, 0.02, 0.04, 0.08, 0.12 at 4, 16, 32, 64, 96 images) are one linear rule."""


class Recipe(NamedTuple):
    """What was published for one effective batch size: drops of the rate, and its linear warm-up, in updates."""

    decay_steps: tuple[int, ...]
    warmup_steps: int
    warmup_factor: float


PUBLISHED = {
    4: Recipe((240_000, 360_000), 500, 1 / 3),
    16: Recipe((60_000, 80_000), 500, 1 / 3),
    32: Recipe((33_000, 44_000), 500, 1 / 3),
    64: Recipe((18_000, 24_000), 800, 0.0),
    96: Recipe((12_000, 16_000), 625, 0.01),
}
"""NVIDIA's configurations by effective batch size: 1-GPU file, README, 8-GPU file, ampere_bs64, and MLPerf v1.0."""

_IMAGES_BEFORE_DECAY = (60_000 * 16, 80_000 * 16)


def published_recipe(images: int) -> Recipe:
    """The published recipe of an effective batch size; elsewhere, decay after as many images as at 16."""
    if images in PUBLISHED:
        return PUBLISHED[images]
    first, second = (max(1, round(total / images)) for total in _IMAGES_BEFORE_DECAY)
    return Recipe((first, second), 500, 1 / 3)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A rate that climbs linearly, then drops tenfold at each decay step; it counts updates, not micro-batches."""

    decay_steps: tuple[int, ...] = ()
    warmup_steps: int = 0
    warmup_factor: float = 1.0

    def factor(self, update: int) -> float:
        """The factor on every group's rate at an update, counted from 0."""
        drops = sum(update >= step for step in self.decay_steps)
        if update >= self.warmup_steps:
            return float(GAMMA**drops)
        climbed = update / self.warmup_steps
        return float((self.warmup_factor + (1 - self.warmup_factor) * climbed) * GAMMA**drops)


@dataclass(frozen=True, slots=True)
class SolverConfig:
    """Everything an update depends on besides its gradients."""

    optimizer: str
    learning_rate: float
    weight_decay: float
    schedule: Schedule


class Solver:
    """An optimiser and its schedule; `apply_rate` before each update, and nothing here waits for the device."""

    def __init__(self, model: nn.Module, config: SolverConfig) -> None:
        self.config = config
        self.optimizer = make_optimizer(model, config)
        self._rates = [float(group["lr"]) for group in self.optimizer.param_groups]

    def apply_rate(self, update: int) -> None:
        """Set the rate of an update, counted from 0; every group is scaled alike, biases too."""
        factor = self.config.schedule.factor(update)
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor


def make_optimizer(model: nn.Module, config: SolverConfig) -> torch.optim.Optimizer:
    """SGD (biases at twice the rate and without decay, as published) or AdamW (no decay on biases), in fused kernels.

    The fused kernels also check and skip overflowed fp16 gradients on the device, so loss scaling does not wait for it.
    """
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    weights = [parameter for name, parameter in named if not name.endswith("bias")]
    biases = [parameter for name, parameter in named if name.endswith("bias")]
    bias_rate = config.learning_rate * (BIAS_LR_FACTOR if config.optimizer == "sgd" else 1.0)
    groups = [
        {"params": weights, "lr": config.learning_rate, "weight_decay": config.weight_decay},
        {"params": biases, "lr": bias_rate, "weight_decay": 0.0},
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=MOMENTUM, fused=True)
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def parse_steps(text: str) -> tuple[int, ...]:
    """Read decay steps as '33000,44000'; '' is never.

    Raises:
        ValueError: not a list of growing positive numbers.
    """
    steps = tuple(int(part) for part in text.split(",") if part.strip())
    if not _growing(steps):
        raise ValueError(text)
    return steps


def _growing(steps: Sequence[int]) -> bool:
    pairs: Iterable[tuple[int, int]] = zip((0, *steps), steps, strict=False)
    return all(before < after for before, after in pairs)
