"""The ranks of a trial: joining Horovod's group, averaging over it, proving that all hold the same weights."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from types import ModuleType

import tensorflow as tf

from harness.api import Context, UnsupportedTrialError

_LAUNCHER = ("HOROVOD_RANK", "HOROVOD_SIZE", "HOROVOD_GLOO_RENDEZVOUS_ADDR", "HOROVOD_GLOO_RENDEZVOUS_PORT")


class Ranks:
    """This rank among the others; with one rank Horovod is not even imported, and nothing here does anything.

    Horovod is joined at the first need (`connect`, `barrier`, a reduction), so that a rank that only works through its
    own shard can be driven alone. Its operations cannot be compiled by XLA: they stand between clusters. Each has a
    name that does not depend on shapes, for ranks find each other's tensors by it, and ranks whose images have
    different shapes are in different graphs.
    """

    def __init__(self, context: Context) -> None:
        self.rank = context.rank
        self.world_size = context.world_size
        self._joined = False

    @property
    def alone(self) -> bool:
        """Whether this is the only rank."""
        return self.world_size == 1

    @property
    def backend(self) -> str:
        """The library that carries the messages."""
        return "none" if self.alone else f"horovod/{'nccl' if self._on_gpu else 'gloo'}"

    @property
    def _on_gpu(self) -> bool:
        return bool(tf.config.get_visible_devices("GPU"))

    def connect(self) -> None:
        """Join the ranks that the launcher's environment describes, unless this process has.

        Raises:
            UnsupportedTrialError: several ranks, but no Horovod, no such environment, or no NCCL between GPUs.
        """
        if self.alone or self._joined:
            return
        if missing := [name for name in _LAUNCHER if name not in os.environ]:
            raise UnsupportedTrialError(
                f"{self.world_size} ranks need the environment of the launcher horovod; unset: {', '.join(missing)}"
            )
        self._horovod.init()
        if self._on_gpu and not self._horovod.nccl_built():
            raise UnsupportedTrialError("ranks on GPUs need Horovod with NCCL; this one was built without")
        place = self._horovod.rank(), self._horovod.size()
        if place != (self.rank, self.world_size):
            raise UnsupportedTrialError(
                f"horovod has rank {place[0]} of {place[1]}; the trial has rank {self.rank} of {self.world_size}"
            )
        self._joined = True

    @cached_property
    def _horovod(self) -> ModuleType:
        """Horovod for TensorFlow.

        Raises:
            UnsupportedTrialError: it is not installed.
        """
        try:
            import horovod.tensorflow  # noqa: PLC0415  one rank does without it
        except ImportError as error:
            raise UnsupportedTrialError(f"several ranks need Horovod: {error}; `make horovod` builds it") from error
        return horovod.tensorflow

    def mean(self, values: tf.Tensor) -> tf.Tensor:
        """The mean over the ranks of a float tensor, the same bits on each; alone, the tensor itself."""
        if self.alone:
            return values
        self.connect()
        return self._horovod.allreduce(values, op=self._horovod.Average, name="harness_mean")

    def mean_gradients(self, gradients: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The means over the ranks of all gradients of an update, by one grouped reduction."""
        if self.alone:
            return list(gradients)
        self.connect()
        reduced = self._horovod.grouped_allreduce(list(gradients), op=self._horovod.Average, name="harness_gradients")
        return list(reduced)

    def average(self, variables: Iterable[tf.Variable]) -> None:
        """Replace every variable by its mean over the ranks: one state for all, as evaluation and saving need."""
        if self.alone:
            return
        for variable in variables:
            variable.assign(self.mean(tf.convert_to_tensor(variable)))

    def equal(self, variables: Iterable[tf.Variable]) -> bool:
        """Whether every rank holds the same bits in these variables; every rank must call it and hears the same."""
        if self.alone:
            return True
        self.connect()
        digest = hashlib.sha256(b"".join(variable.numpy().tobytes() for variable in variables)).digest()
        mine_1D = tf.constant([list(digest)], dtype=tf.uint8)
        all_RD = self._horovod.allgather(mine_1D, name="harness_digest").numpy()
        return bool((all_RD == all_RD[0]).all())

    def barrier(self) -> None:
        """Return when all ranks have called it."""
        if self.alone:
            return
        self.connect()
        self._horovod.allreduce(tf.zeros(()), op=self._horovod.Sum, name="harness_barrier")

    def close(self) -> None:
        """Nothing is to be done; a rank that left while another still works would look to it like a failure."""
