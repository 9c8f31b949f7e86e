"""One rank of the two that test_tf_ranks.py starts: `python tf_ranks.py TRAIN VAL FOLDER`."""

import os
import pickle
import sys
from pathlib import Path
from unittest import mock

import tensorflow as tf

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)

from tf_runs import every, opened, parameters, restart, take, trial  # noqa: E402  threads are set before TensorFlow runs

from backends.tf_impl.distributed import Ranks  # noqa: E402
from backends.tf_impl.graph import compiled  # noqa: E402

OPTIONS = {"flavour": "torchvision", "learning_rate": 0.01, "lr_warmup_steps": 0, "lr_steps": ""}


def updates(work, batches):
    """Losses of some updates, the weights after them, and what the settings say."""
    losses = [dict(work.read(work.step(batch))) for batch in batches]
    return {"losses": losses, "weights": parameters(work), "settings": dict(work.settings())}


def three_steps(data, rank=0, *, accumulated=False, apart=False, **axes):
    """Three updates; then one over two micro-batches, and three whose gradients stay on their rank, if asked for."""
    with opened(trial(options=OPTIONS, **axes), data, rank=rank) as work:
        start = every(work)
        batches = take(work, 3)
        record = {"plain": updates(work, batches), "start": start}
        if accumulated:
            restart(work, start)
            both = type(batches[0])(0, batches[0].payload + batches[1].payload)
            record["accumulated"] = updates(work, [both])
        if apart:
            restart(work, start)
            trainer = work._trainer
            with mock.patch.object(Ranks, "mean_gradients", lambda _, gradients: list(gradients)):
                trainer._apply = compiled(trainer._reduced_and_applied, xla=False)
                record["apart"] = updates(work, batches)
        return record


def statistics(train, val, rank):
    """Running means before and after `evaluation`, which have been made different on each rank."""
    name = "backbone.body.bn1.running_mean"
    with opened(trial(options={**OPTIONS, "norm": "batch"}, gpus=2), train, val, rank) as work:
        live = work._variables[name]
        live.assign_add(tf.fill(live.shape, 1.0 + rank))
        before = live.numpy()
        images = [frame.image_id for batch in work.evaluation().batches() for frame in batch.payload.frames]
        return {"before": before, "after": live.numpy(), "images": images}


def main():
    """Run everything on this rank and leave the record in the folder."""
    train, val, folder = sys.argv[1:]
    rank = int(os.environ["HOROVOD_RANK"])
    record = {
        "graph": three_steps(train, rank, gpus=2, accumulated=True, apart=True),
        "xla": three_steps(train, rank, gpus=2, xla=True),
        "statistics": statistics(train, val, rank),
    }
    (Path(folder) / f"{rank}.pickle").write_bytes(pickle.dumps(record))


if __name__ == "__main__":
    main()
