"""One optimizer update of any model: micro-batches, ranks, loss scaling, XLA.

Shapes: L losses.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from backends.tf_impl.distributed import Ranks
from backends.tf_impl.graph import compiled
from backends.tf_impl.precision import LossScaler, Precision
from backends.tf_impl.solver import Average, Solver

MicroBatch = tuple[Any, ...]
"""Nested tensors: the arguments of `loss_sums` before the update's number."""
LossSums = Callable[..., tuple[tf.Tensor, tf.Tensor]]
Losses = Mapping[str, tf.Tensor]

LEAST_COUNT = 1e-6
"""What a sum of nothing is divided by; no mean of counts over ranks is smaller, and its inverse may be scaled."""


class Trainer:
    """Updates of one rank.

    Loss l of a micro-batch is sums[l] / the mean over the ranks of counts[l], so that the mean over the ranks of the
    gradients is that of one process with the whole batch. An update descends the mean of its micro-batches' losses.

    What waits for other ranks cannot be inside an XLA cluster. So a plain function surrounds the compiled one: the
    counts are averaged and the sums divided between the forward cluster and the backward one, which TensorFlow compiles
    too; the gradients are averaged after it. The same structure serves one rank, with the averaging left out, and
    graphs without XLA.
    """

    def __init__(  # noqa: PLR0913  what an update is made of
        self,
        loss_sums: LossSums,
        names: tuple[str, ...],
        *,
        solver: Solver,
        ranks: Ranks,
        precision: Precision,
        xla: bool,
        average: Average | None = None,
    ) -> None:
        """Make an update.

        Args:
            loss_sums: maps a micro-batch's tensors and the update's number (int64 scalar) to sums and counts, float32
                [L] each, with static shapes and in plain TensorFlow.
            names: of the L losses.
            solver: moves its variables.
            ranks: of the trial.
            precision: says whether losses are scaled.
            xla: compile the forward and backward passes.
            average: of weights, moved after each update.
        """
        self.solver = solver
        self.scaler = LossScaler(enabled=precision.scaled)
        self.average = average
        # Without XLA the surrounding graph takes the operations in: half the nodes, and half the time to make it.
        self.forward = compiled(loss_sums, xla=True) if xla else loss_sums
        self._names = names
        self._ranks = ranks
        self._variables = list(solver.variables_by_name.values())
        self._differentiate = compiled(self._losses_and_gradients, xla=False)
        self._sum = compiled(self._added, xla=False)
        self._apply = compiled(self._reduced_and_applied, xla=False)
        self._mean = compiled(self._mean_losses, xla=False)

    def step(self, micro_batches: Sequence[MicroBatch], update: int) -> Losses:
        """One update; returns the losses by name and their sum as `loss`, still on the device, and waits for nothing.

        Under fp16 an update whose gradients overflowed on any rank is skipped on the device.

        Args:
            micro_batches: of this rank, one or more; every rank has as many.
            update: its number, from 0; decides the learning rate and is handed to the model.
        """
        number = tf.constant(update, tf.int64)
        parts = tf.constant(len(micro_batches), tf.float32)
        losses: list[Losses] = []
        gradients: list[tf.Tensor] = []
        for micro_batch in micro_batches:
            found, slopes = self._differentiate(micro_batch, number, parts)
            losses.append(found)
            gradients = self._sum(gradients, slopes) if gradients else slopes
        self._apply(gradients, tf.constant(self.solver.rate(update), tf.float32), number)
        return losses[0] if len(losses) == 1 else self._mean(losses)

    def compiles(self, micro_batches: Sequence[MicroBatch]) -> bool:
        """Whether a step on micro-batches of these shapes would compile first."""
        number, parts = tf.constant(0, tf.int64), tf.constant(1.0)
        return any(self._differentiate.compiles(micro_batch, number, parts) for micro_batch in micro_batches)

    def _losses_and_gradients(
        self, micro_batch: MicroBatch, update: tf.Tensor, parts: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor], list[tf.Tensor]]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._variables)
            sums_L, counts_L = self.forward(*micro_batch, update)
        divisors_L = tf.maximum(self._ranks.mean(tf.stop_gradient(counts_L)), LEAST_COUNT)
        slopes_L = self.scaler.scale / (parts * divisors_L)
        gradients = tape.gradient(
            sums_L, self._variables, output_gradients=slopes_L, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        losses_L = sums_L / divisors_L
        named = dict(zip(self._names, tf.unstack(losses_L), strict=True))
        return {**named, "loss": tf.reduce_sum(losses_L)}, [tf.convert_to_tensor(part) for part in gradients]

    def _reduced_and_applied(self, gradients: Sequence[tf.Tensor], rate: tf.Tensor, update: tf.Tensor) -> None:
        means, finite = self.scaler.unscale(self._ranks.mean_gradients(gradients))
        self.solver.apply(means, rate, finite)
        if self.average is not None:
            self.average.update(update)

    @staticmethod
    def _added(first: Sequence[tf.Tensor], second: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        return [one + other for one, other in zip(first, second, strict=True)]

    @staticmethod
    def _mean_losses(losses: Sequence[Mapping[str, tf.Tensor]]) -> dict[str, tf.Tensor]:
        return {name: tf.reduce_mean(tf.stack([part[name] for part in losses])) for name in losses[0]}
