"""The ranks of a trial: joining the group that their launcher made, averaging over it, leaving it.

`Ranks` is torchrun's process group with DistributedDataParallel, `HorovodRanks` the same through Horovod.
"""

import os
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from functools import cached_property
from types import ModuleType

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from harness.api import Context, Trial, UnsupportedTrialError

GROUP_TIMEOUT_VARIABLE = "HARNESS_GROUP_TIMEOUT_S"
GROUP_TIMEOUT_S = 600.0
"""How long a rank waits for the others before it fails, unless HARNESS_GROUP_TIMEOUT_S says otherwise.

torch's defaults are 10 minutes with NCCL and 30 with gloo. This one must outlast the slowest honest gap between
ranks, which is one rank's share of an evaluation after another rank has finished; the trial's time-out stands above it.
"""

_HOROVOD = ("HOROVOD_RANK", "HOROVOD_SIZE", "HOROVOD_GLOO_RENDEZVOUS_ADDR", "HOROVOD_GLOO_RENDEZVOUS_PORT")
_TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class Ranks:
    """This rank among the others; with one rank there is no process group, and nothing here does anything.

    The group is joined at the first need (`connect`, `barrier`, a reduction), so that a rank that only works through
    its own shard can be driven alone.
    """

    def __init__(self, context: Context, device: torch.device) -> None:
        self.rank = context.rank
        self.world_size = context.world_size
        self._device = device
        self._joined = False

    @property
    def alone(self) -> bool:
        """Whether this is the only rank."""
        return self.world_size == 1

    def connect(self) -> None:
        """Join the process group that torchrun's environment describes, unless this process is in one already.

        A process joins once in its life: a second group would meet the first one's addresses in torchrun's store.

        Raises:
            UnsupportedTrialError: several ranks, but no such environment.
        """
        if self.alone or distributed.is_initialized():
            return
        missing = [name for name in _TORCHRUN if name not in os.environ]
        if missing:
            raise UnsupportedTrialError(
                f"{self.world_size} ranks need torchrun's environment; unset: {', '.join(missing)}"
            )
        distributed.init_process_group(
            self.backend, rank=self.rank, world_size=self.world_size, timeout=timedelta(seconds=group_timeout_s())
        )
        self._joined = True

    @property
    def backend(self) -> str:
        """The library that carries the messages: nccl between GPUs, gloo between CPU processes."""
        if self.alone:
            return "none"
        return "nccl" if self._device.type == "cuda" else "gloo"

    def wrap(self, module: nn.Module) -> nn.Module:
        """Wrap a module so that its gradients are averaged over the ranks; alone, return it as it is.

        Buffers are left alone during training (live batch statistics are each rank's own, as is usual);
        `average_buffers` brings them together before weights are used.
        """
        if self.alone:
            return module
        self.connect()
        return DistributedDataParallel(module, forward_sync_buffers=False, gradient_as_bucket_view=True)

    def without_sync(self, module: nn.Module) -> AbstractContextManager[None]:
        """A context in which backward keeps gradients on this rank: for all micro-batches of an update but the last."""
        return module.no_sync() if isinstance(module, DistributedDataParallel) else nullcontext()

    def mean_gradients(self, module: nn.Module) -> None:
        """Average the gradients of an update where the module's backward pass has not done so; here it has."""

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the ranks of a float tensor, the same bits on each; alone, the tensor itself."""
        if self.alone:
            return values
        self.connect()
        return self._mean(values.detach())

    def _mean(self, values: Tensor) -> Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total.div_(self.world_size)

    def average_buffers(self, module: nn.Module) -> None:
        """Replace every float buffer by its mean over the ranks: one state for all, as evaluation and saving need."""
        if self.alone:
            return
        with torch.no_grad():
            for buffer in module.buffers():
                if buffer.is_floating_point():
                    buffer.copy_(self.mean(buffer))

    def barrier(self) -> None:
        """Return when all ranks have called it."""
        if self.alone:
            return
        self.connect()
        self._barrier()

    def _barrier(self) -> None:
        if self._device.type == "cuda":
            distributed.barrier(device_ids=[self._device.index])
        else:
            distributed.barrier()

    def close(self) -> None:
        """Leave the process group, if it was joined."""
        if self._joined:
            distributed.destroy_process_group()
            self._joined = False


class HorovodRanks(Ranks):
    """This rank among others that Horovod joins; gradients are averaged by one grouped all-reduce per update.

    Horovod is imported and started at the first need, and ends with the process: it leaves its group on exit.
    """

    def connect(self) -> None:
        """Join the ranks that the launcher's environment describes, unless this process has.

        Raises:
            UnsupportedTrialError: no such environment, or ranks on GPUs and a Horovod that cannot reach them.
        """
        if self.alone or self._joined:
            return
        if missing := [name for name in _HOROVOD if name not in os.environ]:
            raise UnsupportedTrialError(
                f"{self.world_size} ranks need the environment of the launcher horovod; unset: {', '.join(missing)}"
            )
        self._horovod.init()
        if self._device.type == "cuda" and not self._horovod.nccl_built():
            raise UnsupportedTrialError("ranks on GPUs need Horovod with NCCL; this one was built without")
        self._joined = True

    @cached_property
    def _horovod(self) -> ModuleType:
        import horovod.torch  # noqa: PLC0415  one rank, and ranks under torchrun, do without it

        return horovod.torch  # type: ignore[no-any-return]

    @property
    def backend(self) -> str:
        """The library that carries the messages."""
        return "none" if self.alone else f"horovod/{'nccl' if self._device.type == 'cuda' else 'gloo'}"

    def wrap(self, module: nn.Module) -> nn.Module:
        """Give every rank the first one's weights, as DistributedDataParallel does; the module stays as it is."""
        if not self.alone:
            self.connect()
            state = {name: in_memory_order(tensor) for name, tensor in module.state_dict().items()}
            self._horovod.broadcast_parameters(state, root_rank=0)
        return module

    def mean_gradients(self, module: nn.Module) -> None:
        """Average all gradients over the ranks in place."""
        if self.alone:
            return
        gradients = [in_memory_order(each.grad) for each in module.parameters() if each.grad is not None]
        self._horovod.grouped_allreduce_(gradients, op=self._horovod.Average, name="gradients")

    def _mean(self, values: Tensor) -> Tensor:
        mean: Tensor = self._horovod.allreduce(values, op=self._horovod.Average, name=f"mean of {values.numel()}")
        return mean

    def _barrier(self) -> None:
        self._horovod.barrier()

    def close(self) -> None:
        """Nothing is to be done; a rank that left while another still works would look to it like a failure."""


def in_memory_order(tensor: Tensor) -> Tensor:
    """A view of a dense tensor whose axes stand in the order of its memory, as Horovod wants it; for NHWC weights."""
    return tensor.permute(sorted(range(tensor.dim()), key=tensor.stride, reverse=True))


def ranks_of(trial: Trial, context: Context, device: torch.device) -> Ranks:
    """The ranks of a trial, joined as its launcher wants."""
    return (HorovodRanks if trial.launcher == "horovod" else Ranks)(context, device)


def group_timeout_s() -> float:
    """The process group's time-out in seconds.

    Raises:
        UnsupportedTrialError: the environment variable is not a positive number.
    """
    text = os.environ.get(GROUP_TIMEOUT_VARIABLE, str(GROUP_TIMEOUT_S))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise UnsupportedTrialError(f"{GROUP_TIMEOUT_VARIABLE} is {text!r}; it would be a positive number of seconds")
    return seconds
