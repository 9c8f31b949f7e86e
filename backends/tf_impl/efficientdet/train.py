"""Training: one step is one optimizer update, over all its micro-batches and ranks."""

from collections.abc import Mapping
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path

import tensorflow as tf

from backends.tf_impl.device import memory_errors
from backends.tf_impl.efficientdet.evaluate import Inference, detector_of
from backends.tf_impl.efficientdet.inputs import feed_of
from backends.tf_impl.efficientdet.model import LOSSES, EfficientDet
from backends.tf_impl.efficientdet.recipe import average_decay, solver_config
from backends.tf_impl.efficientdet.session import Session, open_session
from backends.tf_impl.efficientdet.weights import save_weights
from backends.tf_impl.layers import named_variables
from backends.tf_impl.solver import Average, Solver
from backends.tf_impl.training import Trainer
from backends.tf_impl.work import Detector, Training
from harness.api import Context, Trial
from harness.data import Dataset, open_dataset


class Train(Training):
    """Training steps of one rank.

    An update over k micro-batches descends the mean of their losses. Class and box loss of a micro-batch are divided
    by the positives of all ranks in it, so that ranks times batch are exactly one big batch.

    What is evaluated and saved is the moving average of all variables, statistics of the norm included; it stands in
    a second model, so that training goes on undisturbed.
    """

    _session: Session

    def __init__(self, session: Session, dataset: Dataset) -> None:
        trial, machine = session.trial, session.machine
        variables = named_variables(session.model)
        trainable = {name: variable for name, variable in variables.items() if variable.trainable}
        decay = average_decay(trial, session.options)
        self._average = Average(variables.values(), decay) if decay else None
        self._share = 1 / (trial.world_size * trial.gradient_accumulation_steps)
        trainer = Trainer(
            self._loss_sums,
            LOSSES,
            solver=Solver(trainable, solver_config(trial, session.options)),
            ranks=machine.ranks,
            precision=machine.precision,
            xla=trial.xla,
            average=self._average,
        )
        super().__init__(session, feed_of(session, dataset, trial.gradient_accumulation_steps), trainer)
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

    def settings(self) -> Mapping[str, str]:
        """What really runs, the solver included, and whether the ranks hold the same weights; every rank calls it."""
        session, solver = self._session, self._trainer.solver.config
        return {
            **super().settings(),
            "momentum": f"{solver.momentum:g}" if solver.optimizer == "sgd" else "none",
            "weight_decay": f"{solver.weight_decay or session.config.weight_decay:g}",
            "clip_norm": "none" if solver.clip_norm is None else f"{solver.clip_norm:g}",
            "ema_decay": f"{self._average.decay:g}" if self._average else "none",
            "scale_jitter": f"{session.options.scale_min:g} to {session.options.scale_max:g}",
        }

    def evaluation(self) -> Inference:
        """Evaluation over this rank's shard of the val set on the average as it now is; every rank must call it.

        Statistics of live batch normalisation become the mean over the ranks first.
        """
        with memory_errors():
            statistics = [kept for kept in named_variables(self._keep()).values() if not kept.trainable]
            self._session.machine.ranks.average(statistics)
        return Inference(self._session, self._detector, feed_of(self._session, self._val), endless=False)

    def _keep(self) -> EfficientDet:
        """The second model, holding the average as it now is."""
        if self._kept_at != self._updates:
            with self._average.swapped() if self._average else nullcontext():
                live = named_variables(self._session.model).values()
                for kept, variable in zip(named_variables(self._kept).values(), live, strict=True):
                    kept.assign(variable)
            self._kept_at = self._updates
        return self._kept

    @cached_property
    def _kept(self) -> EfficientDet:
        machine = self._session.machine
        return EfficientDet(self._session.config, machine.precision.compute, machine.kernels)

    @cached_property
    def _detector(self) -> Detector:
        return detector_of(self._kept, xla=self._session.trial.xla)

    def save(self, path: Path) -> None:
        """Write the average as it now is, as safetensors with effdet's names in TensorFlow's layout."""
        save_weights(self._keep(), path)


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
