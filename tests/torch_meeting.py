"""A backend whose every step is one all-reduce of Horovod's; rank 1 goes wrong in the middle of a trial if asked to."""

import os
import signal
import time

import torch

from backends.torch_impl.distributed import HorovodRanks
from harness.api import Batch, UnsupportedTrialError, hookimpl


class Work:
    """Endless batches of one image."""

    def __init__(self, trial, context):
        self.trial, self.context, self.steps = trial, context, 0
        self.ranks = HorovodRanks(context, torch.device("cpu"))
        self.ranks.connect()

    def batches(self):
        while True:
            yield Batch(images=1, payload=None)

    def compiles(self, batch):
        return False

    def step(self, batch):
        self.steps += 1
        if self.steps == 4 and self.context.rank == 1:
            go_wrong(self.trial.options["fault"])
        return float(self.ranks.mean(torch.tensor([float(self.context.rank)])))

    def synchronize(self):
        pass

    def device_clock(self):
        return None

    def barrier(self):
        self.ranks.barrier()

    def read(self, output):
        return {"loss": output}

    def settings(self):
        return {"place": os.environ["HOROVOD_GLOO_RENDEZVOUS_PORT"]}

    def close(self):
        self.ranks.close()


def go_wrong(fault):
    """Raise, die or hang."""
    if fault == "raises":
        raise ValueError("boom")
    if fault == "declines":
        raise UnsupportedTrialError("rank 1 cannot do this")
    if fault == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "hangs":
        time.sleep(3600)


@hookimpl
def harness_train(trial, context):
    """Training steps that only meet."""
    return Work(trial, context)
