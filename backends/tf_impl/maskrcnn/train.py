"""Training: one step is one optimizer update, over all its micro-batches and ranks."""

from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path

import tensorflow as tf

from backends.tf_impl.device import memory_errors, synchronize
from backends.tf_impl.layers import named_variables
from backends.tf_impl.maskrcnn.evaluate import Detector, Inference
from backends.tf_impl.maskrcnn.inputs import feed_of, micro_batch
from backends.tf_impl.maskrcnn.options import Options
from backends.tf_impl.maskrcnn.session import WEIGHT_DECAY, Session, open_session
from backends.tf_impl.maskrcnn.weights import save_weights
from backends.tf_impl.solver import LR_PER_IMAGE, Schedule, Solver, SolverConfig, parse_steps, published_recipe
from backends.tf_impl.training import Losses, Trainer
from harness.api import Batch, Context, Trial, UnsupportedTrialError
from harness.data import Dataset, open_dataset

ADAMW_RATE = 1e-3
ADAMW_DECAY = 1e-2
LEVELS = "loss_rpn_box_p"
"""What the names of a loss that stands once a level begin with."""


class Train:
    """Training steps of one rank.

    An update over k micro-batches descends the mean of their losses. Each loss of a micro-batch is divided by counts
    (sampled anchors, sampled RoIs, foreground RoIs) that are averaged over the ranks of that micro-batch: ranks times
    batch are exactly one big batch. Micro-batches are one big batch exactly where their counts agree, which is so for
    anchors and RoIs as soon as every image fills its sample; their foreground RoIs weigh as their micro-batch does,
    since an exact divisor would need all forward passes of the update in memory at once.
    """

    def __init__(self, session: Session, dataset: Dataset) -> None:
        session.ranks.connect()
        self._session = session
        self._feed = feed_of(session, dataset, session.trial.gradient_accumulation_steps)
        self._variables = named_variables(session.model)
        trainable = {name: variable for name, variable in self._variables.items() if variable.trainable}
        solver = Solver(trainable, solver_config(session.trial, session.options))
        self._trainer = Trainer(
            partial(session.model.loss_sums, seed=session.trial.seed),
            session.model.losses,
            solver=solver,
            ranks=session.ranks,
            precision=session.precision,
            xla=session.trial.xla,
        )
        self._updates = 0

    def batches(self) -> Iterator[Batch]:
        """Batches of one update each, without end."""
        return self._feed.train_batches(self._session.trial.seed)

    def compiles(self, batch: Batch) -> bool:
        """Whether the shapes of a micro-batch are new."""
        return self._trainer.compiles([micro_batch(inputs) for inputs in batch.payload])

    def step(self, batch: Batch) -> Losses:
        """One update; returns the losses, still on the device, and waits for nothing.

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
        """The losses by name, `loss` their sum, fetched at once; a loss of several levels is their sum."""
        with memory_errors():
            values = tf.stack(list(output.values())).numpy().tolist()
        losses: dict[str, float] = {}
        for name, value in zip(output, values, strict=True):
            whole = LEVELS.removesuffix("_p") if name.startswith(LEVELS) else name
            losses[whole] = losses.get(whole, 0.0) + value
        return losses

    def settings(self) -> Mapping[str, str]:
        """What really runs, the solver included, and whether the ranks hold the same weights; every rank calls it."""
        solver = self._trainer.solver.config
        penalty = self._session.config.l2_weight
        return {
            **self._session.settings(),
            "optimizer": solver.optimizer,
            "learning_rate": f"{solver.learning_rate:g}",
            "weight_decay": f"{penalty:g} among the losses" if penalty else f"{solver.weight_decay:g}",
            **solver.schedule.in_words(),
            "ranks_equal": self._ranks_equal(),
        }

    def _ranks_equal(self) -> str:
        """Whether all trained weights are the same bits everywhere; batch statistics are each rank's own."""
        ranks = self._session.ranks
        return "one rank" if ranks.alone else str(ranks.equal(self._trainer.solver.variables_by_name.values())).lower()

    def evaluation(self) -> Inference:
        """Evaluation over this rank's shard of the val set on the weights as they now are; every rank must call it.

        Statistics of live batch normalisation become the mean over the ranks first.
        """
        self._session.ranks.average(self._statistics)
        feed = feed_of(self._session, self._val)
        return Inference(self._session, self._detector, lambda: feed.inference_batches(endless=False))

    @cached_property
    def _statistics(self) -> list[tf.Variable]:
        return [variable for name, variable in self._variables.items() if "running_" in name]

    @cached_property
    def _detector(self) -> Detector:
        return Detector(self._session)

    @cached_property
    def _val(self) -> Dataset:
        return open_dataset(self._session.context.val)

    def save(self, path: Path) -> None:
        """Write the weights as they now are, as safetensors in TensorFlow's layout with torchvision's names."""
        save_weights(self._session.model, path)

    def close(self) -> None:
        """Leave the other ranks; loader threads end with the batches that they serve."""
        self._session.ranks.close()


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
