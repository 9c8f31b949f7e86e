"""The optimiser of a detector: how gradients become an update, the published schedules, the average of weights."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import tensorflow as tf

MOMENTUM = 0.9
GAMMA = 0.1
ADAM_BETAS = (0.9, 0.999)
ADAM_EPSILON = 1e-8
BIAS_LR_FACTOR = 2.0
LR_PER_IMAGE = 0.04 / 32
"""The published learning rates (0.005, 0.02, 0.04 at 4, 16, 32 images) are one linear rule."""


class Recipe(NamedTuple):
    """What was published for one effective batch size: drops of the rate, and its linear warm-up, in updates."""

    decay_steps: tuple[int, ...]
    warmup_steps: int
    warmup_factor: float


PUBLISHED = {
    4: Recipe((240_000, 320_000), 1000, 0.0),
    16: Recipe((60_000, 80_000), 1000, 0.0),
    32: Recipe((30_000, 40_000), 1000, 0.0),
}
"""NVIDIA's TensorFlow Mask R-CNN on 1, 4 and 8 GPUs, by effective batch size."""

_IMAGES_BEFORE_DECAY = (60_000 * 16, 80_000 * 16)


def published_recipe(images: int) -> Recipe:
    """The published recipe of an effective batch size; elsewhere, decay after as many images as at the others."""
    if images in PUBLISHED:
        return PUBLISHED[images]
    first, second = (max(1, round(total / images)) for total in _IMAGES_BEFORE_DECAY)
    return Recipe((first, second), 1000, 0.0)


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

    def in_words(self) -> dict[str, str]:
        """Warm-up and drops of the rate, by name."""
        return {
            "lr_warmup": f"{self.warmup_steps} steps from {self.warmup_factor:g}",
            "lr_steps": ",".join(map(str, self.decay_steps)) or "never",
        }


class Rates(Protocol):
    """The factor on the learning rate at each update."""

    def factor(self, update: int) -> float:
        """The factor at an update, counted from 0."""

    def in_words(self) -> dict[str, str]:
        """What the schedule is, by name."""


@dataclass(frozen=True, slots=True)
class CosineSchedule:
    """A rate that climbs linearly, then falls to zero along half a cosine (EfficientDet); it counts updates."""

    total_steps: int
    warmup_steps: int = 0
    warmup_factor: float = 0.0
    """Of the full rate, at the first update: the published 0.0001 divided by the learning rate."""

    def factor(self, update: int) -> float:
        """The factor on every group's rate at an update, counted from 0; zero beyond the last."""
        if update < self.warmup_steps:
            return self.warmup_factor + (1 - self.warmup_factor) * update / self.warmup_steps
        fallen = (update - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, fallen)))

    def in_words(self) -> dict[str, str]:
        """Warm-up and length of the fall, by name."""
        return {
            "lr_warmup": f"{self.warmup_steps} steps from {self.warmup_factor:g}",
            "lr_steps": f"cosine over {self.total_steps} steps",
        }


@dataclass(frozen=True, slots=True)
class SolverConfig:
    """Everything an update depends on besides its gradients."""

    optimizer: str
    """`sgd` with momentum, or `adamw`."""
    learning_rate: float
    weight_decay: float
    schedule: Rates
    momentum: float = MOMENTUM
    bias_lr_factor: float = BIAS_LR_FACTOR
    """On the rate of biases, for sgd alone."""
    decay_vectors: bool = True
    """Whether weights with one axis or none decay too (scales of norms, weights of a fusion); biases never do."""
    clip_norm: float | None = None
    """Greatest length of each gradient, and then of all gradients together; None: as they are."""


class Solver(tf.Module):
    """An optimiser and its schedule; `apply` works inside a function, with XLA or without, and waits for nothing.

    SGD as published: the decay is part of the gradient, and so of what is clipped; biases have twice the rate and no
    decay. AdamW (Loshchilov and Hutter 2019): no decay on biases. Both give what torch's optimisers give.
    """

    def __init__(self, variables: Mapping[str, tf.Variable], config: SolverConfig) -> None:
        super().__init__()
        self.config = config
        self.variables_by_name = dict(variables)
        slots = 1 if config.optimizer == "sgd" else 2
        self._slots = [
            [tf.Variable(tf.zeros_like(variable), trainable=False) for variable in variables.values()]
            for _ in range(slots)
        ]
        self._applied = tf.Variable(0, dtype=tf.int64, trainable=False)

    def rate(self, update: int) -> float:
        """The learning rate of an update, counted from 0."""
        return self.config.learning_rate * self.config.schedule.factor(update)

    def apply(self, gradients: Sequence[tf.Tensor], rate: tf.Tensor, finite: tf.Tensor | None = None) -> None:
        """Move the variables.

        Args:
            gradients: in the order of the variables, float32.
            rate: the learning rate, float32 scalar.
            finite: bool scalar, false to leave variables and optimiser as they are; the gradients are zeros then.
        """
        on = tf.constant(True) if finite is None else finite
        self._applied.assign_add(tf.cast(on, tf.int64))
        move = self._sgd if self.config.optimizer == "sgd" else self._adamw
        move(gradients, tf.where(on, rate, 0.0), on)

    def _sgd(self, gradients: Sequence[tf.Tensor], rate: tf.Tensor, on: tf.Tensor) -> None:
        """Where `on` is false the rate, the gradient and the decay are 0, and the momentum is 1: nothing moves."""
        momentum = tf.where(on, self.config.momentum, 1.0)
        named = self.variables_by_name.items()
        decayed = [
            gradient + tf.where(on, decay, 0.0) * variable if (decay := self._decay(name, variable)) else gradient
            for gradient, (name, variable) in zip(gradients, named, strict=True)
        ]
        for gradient, (name, variable), buffer in zip(self._clipped(decayed), named, self._slots[0], strict=True):
            factor = self.config.bias_lr_factor if name.endswith("bias") else 1.0
            tf.raw_ops.ResourceApplyMomentum(
                var=variable.handle, accum=buffer.handle, lr=rate * factor, grad=gradient, momentum=momentum
            )

    def _adamw(self, gradients: Sequence[tf.Tensor], rate: tf.Tensor, on: tf.Tensor) -> None:
        """Where `on` is false the rate is 0, and both averages keep all of what they were: nothing moves.

        Not TensorFlow's own kernel: it takes 1 - 0.999 in float32, which leaves that four digits. Powers are float64.
        """
        powers = [tf.pow(tf.constant(beta, tf.float64), tf.cast(self._applied, tf.float64)) for beta in ADAM_BETAS]
        # The counter is 0 until an update is taken; nothing may be divided by zero even where nothing moves.
        first_left, second_left = (
            tf.maximum(1 - power, 1 - beta) for power, beta in zip(powers, ADAM_BETAS, strict=True)
        )
        step = rate / tf.cast(first_left, tf.float32)
        root = tf.cast(tf.sqrt(second_left), tf.float32)
        first_share, second_share = (tf.where(on, 1 - beta, 0.0) for beta in ADAM_BETAS)
        named = self.variables_by_name.items()
        for gradient, (name, variable), first, second in zip(
            self._clipped(gradients), named, *self._slots, strict=True
        ):
            if decay := self._decay(name, variable):
                variable.assign_sub(rate * decay * variable)
            first.assign_add(first_share * (gradient - first))
            second.assign_add(second_share * (tf.square(gradient) - second))
            variable.assign_sub(step * first / (tf.sqrt(second) / root + ADAM_EPSILON))

    def _decay(self, name: str, variable: tf.Variable) -> float:
        exempt = name.endswith("bias") or (len(variable.shape) < 2 and not self.config.decay_vectors)
        return 0.0 if exempt else self.config.weight_decay

    def _clipped(self, gradients: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        limit = self.config.clip_norm
        if limit is None:
            return list(gradients)
        each = [shortened(gradient, tf.norm(gradient), limit) for gradient in gradients]
        length = tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(gradient)) for gradient in each]))
        return [shortened(gradient, length, limit) for gradient in each]


def shortened(gradient: tf.Tensor, length: tf.Tensor, limit: float) -> tf.Tensor:
    """A gradient times limit / length, if the length is above the limit."""
    return gradient * (limit / tf.maximum(length, limit))


class Average(tf.Module):
    """An exponential moving average of variables, statistics of norms included (EfficientDet's weights of record).

    Its decay is min(decay, (1 + t) / (10 + t)) at update t, so that the first updates count.
    """

    def __init__(self, variables: Iterable[tf.Variable], decay: float) -> None:
        super().__init__()
        self.decay = decay
        self._live = list(variables)
        self._averages = [tf.Variable(variable, trainable=False) for variable in self._live]

    def update(self, update: tf.Tensor) -> None:
        """Move the averages towards the variables as they now are; `update` is the update's number, from 0."""
        number = tf.cast(update, tf.float32)
        share = 1 - tf.minimum(self.decay, (1 + number) / (10 + number))
        for average, variable in zip(self._averages, self._live, strict=True):
            average.assign_sub(share * (average - variable))

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Put the averages in the variables' place; put the variables back afterwards."""
        live = [tf.identity(variable) for variable in self._live]
        self._assign(self._averages)
        try:
            yield
        finally:
            self._assign(live)

    def _assign(self, values: Sequence[tf.Tensor | tf.Variable]) -> None:
        for variable, value in zip(self._live, values, strict=True):
            variable.assign(value)


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
