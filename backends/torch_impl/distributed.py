"""The ranks of a trial: joining torchrun's process group, averaging over it, leaving it."""

import os
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from harness.api import Context, UnsupportedTrialError

GROUP_TIMEOUT_VARIABLE = "HARNESS_GROUP_TIMEOUT_S"
GROUP_TIMEOUT_S = 600.0
"""How long a rank waits for the others before it fails, unless HARNESS_GROUP_TIMEOUT_S says otherwise.

torch's defaults are 10 minutes with NCCL and 30 with gloo. This one must outlast the slowest honest gap between
ranks, which is one rank's share of an evaluation after another rank has finished; the trial's time-out stands above it.
"""

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

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the ranks of a float tensor, the same bits on each; alone, the tensor itself."""
        if self.alone:
            return values
        self.connect()
        total = values.detach().clone()
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
        if self._device.type == "cuda":
            distributed.barrier(device_ids=[self._device.index])
        else:
            distributed.barrier()

    def close(self) -> None:
        """Leave the process group, if it was joined."""
        if self._joined:
            distributed.destroy_process_group()
            self._joined = False


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
