"""Training: one step is one optimizer update, over all its micro-batches and ranks."""

from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path

import tensorflow as tf

from backends.tf_impl.device import memory_errors
from backends.tf_impl.layers import named_variables
from backends.tf_impl.maskrcnn.evaluate import Inference, detector_of
from backends.tf_impl.maskrcnn.inputs import feed_of
from backends.tf_impl.maskrcnn.options import Options
from backends.tf_impl.maskrcnn.session import WEIGHT_DECAY, Session, open_session
from backends.tf_impl.maskrcnn.weights import save_weights
from backends.tf_impl.solver import LR_PER_IMAGE, Schedule, Solver, SolverConfig, parse_steps, published_recipe
from backends.tf_impl.training import Losses, Trainer
from backends.tf_impl.work import Detector, Training
from harness.api import Context, Trial, UnsupportedTrialError
from harness.data import Dataset, open_dataset

ADAMW_RATE = 1e-3
ADAMW_DECAY = 1e-2
LEVELS = "loss_rpn_box_p"
"""What the names of a loss that stands once a level begin with."""


class Train(Training):
    """Training steps of one rank.

    An update over k micro-batches descends the mean of their losses. Each loss of a micro-batch is divided by counts
    (sampled anchors, sampled RoIs, foreground RoIs) that are averaged over the ranks of that micro-batch: ranks times
    batch are exactly one big batch. Micro-batches are one big batch exactly where their counts agree, which is so for
    anchors and RoIs as soon as every image fills its sample; their foreground RoIs weigh as their micro-batch does,
    since an exact divisor would need all forward passes of the update in memory at once.
    """

    _session: Session

    def __init__(self, session: Session, dataset: Dataset) -> None:
        trial, machine = session.trial, session.machine
        self._variables = named_variables(session.model)
        trainable = {name: variable for name, variable in self._variables.items() if variable.trainable}
        trainer = Trainer(
            partial(session.model.loss_sums, seed=trial.seed),
            session.model.losses,
            solver=Solver(trainable, solver_config(trial, session.options)),
            ranks=machine.ranks,
            precision=machine.precision,
            xla=trial.xla,
        )
        super().__init__(session, feed_of(session, dataset, trial.gradient_accumulation_steps), trainer)

    def read(self, output: Losses) -> Mapping[str, float]:
        """The losses by name, `loss` their sum, fetched at once; a loss of several levels is their sum."""
        losses: dict[str, float] = {}
        for name, value in super().read(output).items():
            whole = LEVELS.removesuffix("_p") if name.startswith(LEVELS) else name
            losses[whole] = losses.get(whole, 0.0) + value
        return losses

    def settings(self) -> Mapping[str, str]:
        """What really runs, the solver included, and whether the ranks hold the same weights; every rank calls it."""
        session, found = self._session, dict(super().settings())
        if penalty := session.config.l2_weight:
            found["weight_decay"] = f"{penalty:g} among the losses"
        if session.config.mask_target == "crop":
            found["loader_kernels"] = session.machine.host.words
        return found

    def evaluation(self) -> Inference:
        """Evaluation over this rank's shard of the val set on the weights as they now are; every rank must call it.

        Statistics of live batch normalisation become the mean over the ranks first.
        """
        self._session.machine.ranks.average(self._statistics)
        return Inference(self._session, self._detector, feed_of(self._session, self._val), endless=False)

    @cached_property
    def _statistics(self) -> list[tf.Variable]:
        return [variable for name, variable in self._variables.items() if "running_" in name]

    @cached_property
    def _detector(self) -> Detector:
        return detector_of(self._session)

    def save(self, path: Path) -> None:
        """Write the weights as they now are, as safetensors in TensorFlow's layout with torchvision's names."""
        save_weights(self._session.model, path)


def solver_config(trial: Trial, options: Options) -> SolverConfig:
    """What the options say, and what was published for the effective batch size where they say nothing.

    Raises:
        UnsupportedTrialError: `lr_steps` is no list of growing numbers.
    """
    images = trial.global_batch_size * trial.gradient_accumulation_steps
    sgd = options.optimizer == "sgd"
    rate = images * LR_PER_IMAGE if sgd else ADAMW_RATE
    decay = WEIGHT_DECAY if sgd else ADAMW_DECAY
    penalised = sgd and options.flavour == "nvidia"
    return SolverConfig(
        optimizer=options.optimizer,
        learning_rate=_or(options.learning_rate, rate),
        weight_decay=0.0 if penalised else _or(options.weight_decay, decay),
        schedule=_schedule(options, images),
    )


def _schedule(options: Options, images: int) -> Schedule:
    recipe = published_recipe(images)
    published = Schedule(*recipe) if options.optimizer == "sgd" else Schedule()
    return Schedule(
        published.decay_steps if options.lr_steps is None else _decay_steps(options.lr_steps),
        published.warmup_steps if options.lr_warmup_steps is None else options.lr_warmup_steps,
        _or(options.lr_warmup_factor, recipe.warmup_factor),
    )


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _decay_steps(text: str) -> tuple[int, ...]:
    try:
        return parse_steps(text)
    except ValueError as error:
        raise UnsupportedTrialError(
            f"lr_steps is {text!r}; it would be growing numbers, as '33000,44000', or ''"
        ) from error


def open_train(trial: Trial, context: Context) -> Train:
    """Training steps of this rank.

    Raises:
        UnsupportedTrialError: the device, the precision or an option cannot be had.
        DeviceOutOfMemoryError: the model does not fit.
    """
    dataset = open_dataset(context.train)
    session = open_session(trial, context, dataset.category_ids)
    with memory_errors():
        return Train(session, dataset)
