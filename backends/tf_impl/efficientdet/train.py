"""Training: one step is one optimizer update, over all its micro-batches and ranks."""

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path

import tensorflow as tf

from backends.tf_impl.device import memory_errors, synchronize
from backends.tf_impl.efficientdet.evaluate import Detector, Inference
from backends.tf_impl.efficientdet.inputs import feed_of, micro_batch
from backends.tf_impl.efficientdet.model import LOSSES, EfficientDet
from backends.tf_impl.efficientdet.recipe import average_decay, schedule_in_words, solver_config
from backends.tf_impl.efficientdet.session import Session, open_session
from backends.tf_impl.efficientdet.weights import save_weights
from backends.tf_impl.layers import named_variables
from backends.tf_impl.solver import Average, Solver
from backends.tf_impl.training import Losses, Trainer
from harness.api import Batch, Context, Trial
from harness.data import Dataset, open_dataset


class Train:
    """Training steps of one rank.

    An update over k micro-batches descends the mean of their losses. Class and box loss of a micro-batch are divided
    by the positives of all ranks in it, so that ranks times batch are exactly one big batch.

    What is evaluated and saved is the moving average of all variables, statistics of the norm included; it stands in
    a second model, so that training goes on undisturbed.
    """

    def __init__(self, session: Session, dataset: Dataset) -> None:
        trial = session.trial
        session.ranks.connect()
        self._session = session
        self._feed = feed_of(session, dataset, trial.gradient_accumulation_steps)
        self._share = 1 / (trial.world_size * trial.gradient_accumulation_steps)
        variables = named_variables(session.model)
        trainable = {name: variable for name, variable in variables.items() if variable.trainable}
        self._solver = Solver(trainable, solver_config(trial, session.options))
        decay = average_decay(trial, session.options)
        self._average = Average(variables.values(), decay) if decay else None
        self._trainer = Trainer(
            self._loss_sums,
            LOSSES,
            solver=self._solver,
            ranks=session.ranks,
            precision=session.precision,
            xla=trial.xla,
            average=self._average,
        )
        self._updates = 0
        self._kept_at = -1

    def _loss_sums(
        self,
        images_BHW3: tf.Tensor,
        sizes_B2: tf.Tensor,
        targets: dict[str, tf.Tensor],
        update: tf.Tensor,  # noqa: ARG002
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The model's; nothing in it is drawn by chance, so it needs no number of the update."""
        return self._session.model.loss_sums(images_BHW3, sizes_B2, targets, self._share)

    def batches(self) -> Iterator[Batch]:
        """Batches of one update each, without end."""
        return self._feed.train_batches(self._session.trial.seed)

    def compiles(self, batch: Batch) -> bool:
        """Whether no micro-batch of this shape has been through yet."""
        return self._trainer.compiles([micro_batch(inputs) for inputs in batch.payload])

    def step(self, batch: Batch) -> Losses:
        """One update; returns the losses, still on the device, and does not wait for them.

        Under fp16 an update whose gradients overflowed is skipped on the device; the schedule counts it all the same.
        """
        with memory_errors():
            losses = self._trainer.step([micro_batch(inputs) for inputs in batch.payload], self._updates)
        self._updates += 1
        return losses

    def synchronize(self) -> None:
        """Wait for the device; see `device.synchronize`."""
        synchronize(self._session.device)

    def barrier(self) -> None:
        """Return when all ranks have called it."""
        self._session.ranks.barrier()

    def read(self, output: Losses) -> Mapping[str, float]:
        """The losses by name, `loss` their sum, fetched at once."""
        with memory_errors():
            values = tf.stack([output[name] for name in (*LOSSES, "loss")]).numpy().tolist()
        return dict(zip((*LOSSES, "loss"), values, strict=True))

    def settings(self) -> Mapping[str, str]:
        """What really runs, the solver included."""
        solver = self._solver.config
        return {
            **self._session.settings(),
            "optimizer": solver.optimizer,
            "learning_rate": f"{solver.learning_rate:g}",
            "momentum": f"{solver.momentum:g}" if solver.optimizer == "sgd" else "none",
            "lr_schedule": schedule_in_words(solver.schedule),
            "weight_decay": f"{solver.weight_decay or self._session.config.weight_decay:g}",
            "clip_norm": "none" if solver.clip_norm is None else f"{solver.clip_norm:g}",
            "ema_decay": f"{self._average.decay:g}" if self._average else "none",
            "scale_jitter": f"{self._session.options.scale_min:g} to {self._session.options.scale_max:g}",
        }

    def evaluation(self) -> Inference:
        """Evaluation over this rank's shard of the val set on the average as it now is; every rank must call it.

        Statistics of live batch normalisation become the mean over the ranks first.
        """
        with memory_errors():
            model = self._keep()
            self._session.ranks.average(
                variable for variable in named_variables(model).values() if not variable.trainable
            )
        feed = feed_of(self._session, self._val)
        return Inference(self._session, self._detector, lambda: feed.inference_batches(endless=False))

    def _keep(self) -> EfficientDet:
        """The second model, holding the average as it now is."""
        model = self._detector.model
        if self._kept_at != self._updates:
            with self._average.swapped() if self._average else nullcontext():
                live = named_variables(self._session.model).values()
                for kept, variable in zip(named_variables(model).values(), live, strict=True):
                    kept.assign(variable)
            self._kept_at = self._updates
        return model

    @cached_property
    def _detector(self) -> Detector:
        model = EfficientDet(self._session.config, self._session.precision.compute)
        return Detector(model, xla=self._session.trial.xla)

    @cached_property
    def _val(self) -> Dataset:
        return open_dataset(self._session.context.val)

    def save(self, path: Path) -> None:
        """Write the average as it now is, as safetensors with effdet's names in TensorFlow's layout."""
        save_weights(self._keep(), path)

    def close(self) -> None:
        """Leave the ring; loader threads end with the batches that they serve."""
        self._session.ranks.close()


def open_train(trial: Trial, context: Context) -> Train:
    """Training steps of this rank; joins the ring where there are several ranks.

    Raises:
        UnsupportedTrialError: the device, the precision or an option cannot be had.
        DeviceOutOfMemoryError: the model does not fit.
    """
    dataset = open_dataset(context.train)
    session = open_session(trial, context, dataset.category_ids)
    with memory_errors():
        return Train(session, dataset)
