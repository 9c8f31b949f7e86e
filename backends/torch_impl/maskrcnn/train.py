"""Training: one step is one optimizer update, over all its micro-batches and ranks."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from backends.torch_impl.device import clock_of, memory_errors, synchronize
from backends.torch_impl.maskrcnn.evaluate import Inference
from backends.torch_impl.maskrcnn.inputs import TrainInputs, feed_of, target_rules
from backends.torch_impl.maskrcnn.matching import Sampler
from backends.torch_impl.maskrcnn.options import Options
from backends.torch_impl.maskrcnn.session import Session, open_session
from backends.torch_impl.maskrcnn.weights import save_weights
from backends.torch_impl.solver import LR_PER_IMAGE, Schedule, Solver, SolverConfig, parse_steps, published_recipe
from harness.api import Batch, Context, DeviceClock, Trial, UnsupportedTrialError
from harness.data import Dataset, open_dataset

ADAMW_RATE = 1e-3
WEIGHT_DECAY = {"sgd": 1e-4, "adamw": 1e-2}

Losses = Mapping[str, Tensor]


class Train:
    """Training steps of one rank.

    An update over k micro-batches descends the mean of their losses. Each loss of a micro-batch is divided by counts
    (sampled anchors, sampled RoIs, foreground RoIs) that are averaged over the ranks of that micro-batch: ranks times
    batch are exactly one big batch. Micro-batches are one big batch exactly where their counts agree, which is so for
    anchors and RoIs as soon as every image fills its sample; their foreground RoIs weigh as their micro-batch does,
    since an exact divisor would need all forward passes of the update in memory at once.
    """

    def __init__(self, session: Session, dataset: Dataset) -> None:
        self._session = session
        self._feed = feed_of(session, dataset, session.trial.gradient_accumulation_steps)
        self._solver = Solver(session.model, solver_config(session.trial, session.options))
        self._scaler = session.precision.scaler()
        self._module = session.ranks.wrap(session.model.train())
        self._reduce = None if session.ranks.alone else session.ranks.mean
        self._updates = 0

    def batches(self) -> Iterator[Batch]:
        """Batches of one update each, without end."""
        return self._feed.train_batches(target_rules(self._session), self._session.trial.seed)

    def compiles(self, batch: Batch) -> bool:  # noqa: ARG002  the seam's signature
        """Never: torch runs eagerly."""
        return False

    def step(self, batch: Batch) -> Losses:
        """One update; returns the losses, still on the device, and waits for nothing that the model does not wait for.

        Under fp16 an update whose gradients overflowed is skipped on the device; the schedule counts it all the same.
        """
        if not self._session.model.training:
            self._session.model.train()
        micro_batches: Sequence[TrainInputs] = batch.payload
        self._solver.apply_rate(self._updates)
        with memory_errors():
            *first, last = micro_batches
            losses = [self._backward(inputs, len(micro_batches), last=False) for inputs in first]
            losses.append(self._backward(last, len(micro_batches), last=True))
            self._session.ranks.mean_gradients(self._session.model)
            self._scaler.step(self._solver.optimizer)
            self._scaler.update()
            self._solver.optimizer.zero_grad(set_to_none=True)
            self._updates += 1
            return losses[0] if not first else {name: _mean([part[name] for part in losses]) for name in losses[0]}

    def _backward(self, inputs: TrainInputs, parts: int, *, last: bool) -> Losses:
        """Add a micro-batch's gradients; the ranks average theirs once an update, in or after the last one's pass."""
        session = self._session
        sampler = Sampler(session.trial.seed, self._updates)
        with nullcontext() if last else session.ranks.without_sync(self._module):
            local = inputs.to(session.device)
            with session.precision.autocast():
                losses: dict[str, Tensor] = self._module(
                    local.images_BHW3, local.sizes_B2, local.targets, sampler, self._reduce
                )
            total = torch.stack(tuple(losses.values())).sum()
            self._scaler.scale(total / parts).backward()  # type: ignore[no-untyped-call]
        return {**{name: loss.detach() for name, loss in losses.items()}, "loss": total.detach()}

    def synchronize(self) -> None:
        """Wait for the device; see `device.synchronize`."""
        synchronize(self._session.device)

    def device_clock(self) -> DeviceClock | None:
        """CUDA events; none on the CPU."""
        return clock_of(self._session.device)

    def barrier(self) -> None:
        """Return when all ranks have called it."""
        self._session.ranks.barrier()

    def read(self, output: Losses) -> Mapping[str, float]:
        """The losses by name, `loss` their sum, fetched at once."""
        values = torch.stack(tuple(output.values())).tolist()
        return dict(zip(output, values, strict=True))

    def settings(self) -> Mapping[str, str]:
        """What really runs, the solver included."""
        solver = self._solver.config
        schedule = solver.schedule
        return {
            **self._session.settings(),
            "optimizer": solver.optimizer,
            "learning_rate": f"{solver.learning_rate:g}",
            "weight_decay": f"{solver.weight_decay:g}",
            "lr_warmup": f"{schedule.warmup_steps} steps from {schedule.warmup_factor:g}",
            "lr_steps": ",".join(map(str, schedule.decay_steps)) or "never",
        }

    def evaluation(self) -> Inference:
        """Evaluation over this rank's shard of the val set on the weights as they now are; every rank must call it.

        Statistics of live batch normalisation become the mean over the ranks first. The next step trains again.
        """
        self._session.ranks.average_buffers(self._session.model)
        feed = feed_of(self._session, self._val)
        return Inference(self._session, lambda: feed.inference_batches(endless=False))

    @cached_property
    def _val(self) -> Dataset:
        return open_dataset(self._session.context.val)

    def save(self, path: Path) -> None:
        """Write the weights as they now are, as safetensors with torchvision's names."""
        save_weights(self._session.model, path)

    def close(self) -> None:
        """Leave the process group; loader threads end with the batches that they serve."""
        self._session.ranks.close()


def _mean(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(values)).mean()


def solver_config(trial: Trial, options: Options) -> SolverConfig:
    """What the options say, and what was published for the effective batch size where they say nothing.

    Raises:
        UnsupportedTrialError: `lr_steps` is no list of growing numbers.
    """
    images = trial.global_batch_size * trial.gradient_accumulation_steps
    sgd = options.optimizer == "sgd"
    recipe = published_recipe(images)
    published = Schedule(*recipe) if sgd else Schedule()
    decay_steps = published.decay_steps if options.lr_steps is None else _decay_steps(options.lr_steps)
    rate = images * LR_PER_IMAGE if sgd else ADAMW_RATE
    return SolverConfig(
        optimizer=options.optimizer,
        learning_rate=_or(options.learning_rate, rate),
        weight_decay=_or(options.weight_decay, WEIGHT_DECAY[options.optimizer]),
        schedule=Schedule(
            decay_steps,
            published.warmup_steps if options.lr_warmup_steps is None else options.lr_warmup_steps,
            _or(options.lr_warmup_factor, recipe.warmup_factor),
        ),
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
    """Training steps of this rank; joins the process group where there are several ranks.

    Raises:
        UnsupportedTrialError: the device, the precision or an option cannot be had.
        DeviceOutOfMemoryError: the model does not fit.
    """
    dataset = open_dataset(context.train)
    session = open_session(trial, context, dataset.category_ids)
    with memory_errors():
        return Train(session, dataset)
