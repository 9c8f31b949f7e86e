"""What the sessions of both models share: one rank's device, arithmetic and partners, made from a trial."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from backends.tf_impl.data import Pipeline
from backends.tf_impl.device import Device, device_name, device_of, set_threads, thread_count
from backends.tf_impl.distributed import Ranks
from backends.tf_impl.kernels import Kernels, choose_kernels
from backends.tf_impl.options import MachineOptions
from backends.tf_impl.precision import Precision, set_precision
from harness.api import Context, Trial, UnsupportedTrialError
from harness.data import Dataset, Framing, Share
from harness.kernels import Choice, KernelError, choose

OptionsT = TypeVar("OptionsT", bound=MachineOptions)
ConfigT = TypeVar("ConfigT")
ModelT = TypeVar("ModelT")


@dataclass(frozen=True, slots=True)
class Machine:
    """What one rank computes on, and with whom."""

    device: Device
    precision: Precision
    ranks: Ranks
    kernels: Kernels
    """What does the model's operations on boxes and masks."""
    kernels_in_words: str
    host: Choice
    """Kernels that the loader may call on the host's arrays, whatever compiles the model."""


def machine_of(trial: Trial, context: Context, options: MachineOptions) -> Machine:
    """Choose the device and set its threads and precision; before TensorFlow's first operation in the process.

    Raises:
        UnsupportedTrialError: the device, the precision, the threads or, if they must be native, the kernels cannot be
            had.
    """
    set_threads(options.cpu_threads)
    device = device_of(trial, context)
    precision = set_precision(trial, device, options.half)
    try:
        host = choose(options.kernels, "cpu", strict=options.strict_kernels)
        kernels, words = choose_kernels(options, device, xla=trial.xla)
    except KernelError as error:
        raise UnsupportedTrialError(str(error)) from error
    if host.library is not None:
        host.library.set_threads(thread_count())
    return Machine(device, precision, Ranks(context), kernels, words, host)


@dataclass(frozen=True, slots=True)
class RankSession(Generic[OptionsT, ConfigT, ModelT]):
    """One rank of one trial, ready to work."""

    trial: Trial
    context: Context
    options: OptionsT
    machine: Machine
    config: ConfigT
    model: ModelT
    classes: Mapping[int, int]
    """Class of each category id of the data set."""

    def settings(self) -> Mapping[str, str]:
        """What really runs, in words."""
        return {
            "device": device_name(self.machine.device),
            **self.machine.precision.settings(),
            "memory_format": "channels_last",
            "xla": str(self.trial.xla).lower(),
            "kernels": self.machine.kernels_in_words,
            "weights": self.options.weights,
            "threads": str(thread_count()),
            "loader_threads": str(self.options.loader_threads),
            "process_group": self.machine.ranks.backend,
        }

    def pipeline(self, dataset: Dataset, framing: Framing, micro_batches: int = 1, *, flip: bool = True) -> Pipeline:
        """A set as this rank reads it."""
        trial, context = self.trial, self.context
        return Pipeline(
            dataset=dataset,
            framing=framing,
            share=Share(context.rank, context.world_size, trial.batch_size_per_gpu, micro_batches),
            threads=self.options.loader_threads,
            depth=self.options.prefetch_batches,
            device="GPU:0" if self.machine.device.type == "cuda" else None,
            flip=flip,
        )
