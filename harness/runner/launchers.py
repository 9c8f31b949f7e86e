"""How the ranks of one trial are started on this machine: by what and in which environment, nothing of a framework."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.schema.trial import Launcher, Trial


@dataclass(frozen=True)
class Launch:
    """What to start for a trial."""

    assignment: Path
    environment: dict[str, str]
    """The whole environment."""
    command: tuple[str, ...] | None
    """What starts the ranks; None where there is one, which needs no launcher."""


QUICK_XLA = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
"""XLA compiles a step for the CPU in a fraction of the time, to slower code: right where nothing is measured."""


def launch(trial: Trial, launcher: Launcher, assignment: Path, *, rehearsal: bool = False) -> Launch:
    """The launch of a trial, or of a stand-in in a rehearsal."""
    command = None if trial.world_size == 1 else LAUNCHERS[launcher](trial, assignment)
    values = environment(trial)
    if rehearsal:
        values.setdefault("XLA_FLAGS", QUICK_XLA)
    return Launch(assignment, values, command)


def torchrun(trial: Trial, assignment: Path) -> tuple[str, ...]:
    """One torchrun agent with a rank a GPU (or a CPU process); it ends all ranks when one fails."""
    return (
        *(sys.executable, "-m", "torch.distributed.run"),
        *("--standalone", "--max-restarts=0", "--monitor-interval=1"),
        f"--nproc-per-node={trial.gpus}",
        *("-m", "harness.worker", str(assignment)),
    )


def local(trial: Trial, assignment: Path) -> tuple[str, ...]:
    """Plain processes that know their rank and meet as the backend likes; the first to fail ends the others."""
    return (sys.executable, "-m", "harness.runner.ranks", str(trial.gpus), str(assignment))


def horovod(trial: Trial, assignment: Path) -> tuple[str, ...]:
    """Plain processes and the server by which Horovod's ranks meet; the first to fail ends the others."""
    return (sys.executable, "-m", "harness.runner.rendezvous", str(trial.gpus), str(assignment))


LAUNCHERS: dict[Launcher, Callable[[Trial, Path], tuple[str, ...]]] = {
    "local": local,
    "torchrun": torchrun,
    "horovod": horovod,
}


def environment(trial: Trial) -> dict[str, str]:
    """The runner's own environment, with each CPU rank's share of the cores where the user has not chosen one."""
    values = dict(os.environ)
    values["PYTHONUNBUFFERED"] = "1"
    # pydantic would search every installed distribution for plugins of its own in each worker.
    values.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    cores = len(os.sched_getaffinity(0))
    if trial.world_size > 1:
        values.setdefault("OMP_NUM_THREADS", str(max(1, cores // trial.gpus)))
    return values
