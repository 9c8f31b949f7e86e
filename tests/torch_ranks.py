"""One rank of the two that test_ranks.py starts: `python torch_ranks.py TRAIN VAL FOLDER`, by torchrun or Horovod."""

import os
import sys
from pathlib import Path

import torch
from torch_runs import confident, everything, opened, parameters, plain_convolutions, record_gradients, take, trial

from backends.torch_impl.distributed import ranks_of
from harness.api import Context

FLAVOURS = ("nvidia", "torchvision")


def three_steps(flavour, data, rank=0, **axes):
    """Gradients of the first of three updates, losses of all, and the weights after them."""
    wanted = trial(options={"flavour": flavour, "proposals_per": "image", "learning_rate": 1e-5}, **axes)
    with plain_convolutions(), opened(wanted, data, rank=rank) as work:
        gradients = record_gradients(work)
        losses = [work.read(work.step(batch)) for batch in take(work, 3)]
        return {"gradients": gradients[0], "losses": losses, "weights": parameters(work), "settings": work.settings()}


def batch_norm(data, val, rank, **axes):
    """Buffers before and after `evaluation`, and the detections of this rank's shard."""
    options = {"norm": "batch", "optimizer": "adamw", "flavour": "torchvision"}
    with opened(trial(options=options, **axes), data, val, rank) as work:
        (batch,) = take(work, 1)
        work.step(batch)
        before = {name: value.clone() for name, value in work._session.model.named_buffers()}
        confident(work._session.model)
        evaluation = work.evaluation()
        after = {name: value.clone() for name, value in work._session.model.named_buffers()}
        found = everything(evaluation)
        evaluation.synchronize()
        evaluation.barrier()
        state = {name: value.contiguous() for name, value in work._session.model.state_dict().items()}
        return {"before": before, "after": after, "detections": found, "state": state}


def main():
    """Run everything on this rank and leave the record in the folder."""
    train, val, folder = sys.argv[1:]
    rank = int(os.environ["RANK"])
    torch.set_num_threads(1)
    axes = {"gpus": 2, "launcher": "horovod" if "HOROVOD_RANK" in os.environ else "torchrun"}
    ranks = ranks_of(trial(**axes), Context(rank, rank, 2, train, val), torch.device("cpu"))
    ranks.connect()
    record = {f"{flavour}": three_steps(flavour, train, rank, **axes) for flavour in FLAVOURS}
    record["accumulated"] = three_steps("nvidia", train, rank, gradient_accumulation_steps=2, **axes)
    record["batch_norm"] = batch_norm(train, val, rank, **axes)
    ranks.close()
    torch.save(record, Path(folder) / f"{rank}.pt")


if __name__ == "__main__":
    main()
