"""One rank of those that test_efficientdet_ranks.py starts: `python efficientdet_ranks.py DATA FOLDER`."""

import os
import pickle
import sys
from pathlib import Path

import tensorflow as tf

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)

from efficientdet_runs import losses, opened, trial, variables  # noqa: E402  threads are set before TensorFlow starts

from backends.tf_impl.distributed import Ranks  # noqa: E402
from backends.tf_impl.layers import named_variables  # noqa: E402
from harness.api import Context  # noqa: E402

FROZEN = {"norm": "frozen", "optimizer": "sgd", "learning_rate": 0.02, "lr_warmup_steps": 0, "lr_total_steps": 4}


def three_steps(data, rank=0, **axes):
    """Losses of three updates, the weights after them, and whether all ranks hold the same."""
    with opened(trial(options=FROZEN, **axes), data, rank=rank, lite=True) as work:  # less for XLA to compile
        found = losses(work, 3)
        equal = work._session.machine.ranks.equal(named_variables(work._session.model).values())
        return {"losses": found, "weights": variables(work), "equal": equal, "settings": dict(work.settings())}


def statistics(data, rank):
    """A running mean that each rank has made another one, as live norms do, and that of the evaluated model."""
    name = "backbone.bn1.running_mean"
    with opened(trial(options={**FROZEN, "norm": "batch", "ema_decay": 0.0}, gpus=2), data, data, rank) as work:
        live = named_variables(work._session.model)[name]
        live.assign_add(tf.fill(live.shape, 1.0 + rank))
        work.evaluation()
        return {"live": live.numpy(), "kept": named_variables(work._kept)[name].numpy()}


def main():
    """Run everything on this rank and leave the record in the folder."""
    data, folder = sys.argv[1:]
    rank = int(os.environ["HOROVOD_RANK"])
    ranks = Ranks(Context(rank, rank, 2, data, data))
    ranks.connect()
    record = {"graph": three_steps(data, rank, gpus=2), "xla": three_steps(data, rank, gpus=2, xla=True)}
    record["statistics"] = statistics(data, rank)
    ranks.close()
    (Path(folder) / f"{rank}.pickle").write_bytes(pickle.dumps(record))


if __name__ == "__main__":
    main()
