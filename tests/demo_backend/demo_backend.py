"""A backend without a framework, with a fake asynchronous device; its options play the faults that tests need.

The device is a clock: handing it a step books `step_ms` after whatever is queued, and synchronising sleeps until the
queue is empty. A backend on it that does not synchronise looks infinitely fast, as one on a real device does. The
device reads its clock at marks in its queue, and does not tell the time of one that it has not come to.
"""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.api import BackendInfo, Batch, Context, Detections, Option, Trial, UnsupportedTrialError, hookimpl

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FAULTS = (
    *("none", "declines", "none_returned", "raises", "memory", "nan", "exits", "killed"),
    *("hangs", "no_record", "chatter", "ends", "starts_daemon"),
    *("sigkill", "eats_memory", "limited_memory", "cuda_memory", "cuda_abort", "tf_memory", "mentions_memory"),
    *("no_framework", "broken_import", "no_work", "fills_log", "truncated", "needs_memory"),
)


@hookimpl
def harness_describe() -> BackendInfo:
    """What the fake device can do."""
    return BackendInfo(
        name="demo",
        framework="none",
        model="clock",
        phases=("train", "eval", "infer"),
        precisions=("fp32", "amp"),
        devices=("cpu", "cuda"),
        xla=True,
        distributions=("demo-backend",),
        options=(
            Option(name="step_ms", type="float", default=0.0, minimum=0, help="device time of a step"),
            Option(name="compile_ms", type="float", default=0.0, minimum=0, help="host time to compile a shape"),
            Option(name="shape_steps", type="int", default=0, help="a new shape after so many batches; 0: one for all"),
            Option(name="weights", type="str", default="none", help="none, or a file that another trial saved"),
            Option(name="synchronizes", type="bool", default=True, help="false: synchronize() does not wait"),
            Option(name="fault", type="str", default="none", choices=FAULTS, help="how the trial goes wrong"),
        ),
    )


class Work:
    """Steps on the fake device; the eval phase finds every object of the set exactly."""

    def __init__(self, trial: Trial, context: Context) -> None:
        self.trial = trial
        self.context = context
        self.busy_until = 0.0
        self.steps = 0
        self.step_s = float(trial.options.get("step_ms") or 0.0) / 1000
        self.fault = trial.options.get("fault", "none")
        self.compile_s = float(trial.options.get("compile_ms") or 0.0) / 1000
        self.shape_steps = int(trial.options.get("shape_steps") or 0)
        self.shapes: set[int] = set()
        weights = str(trial.options.get("weights", "none"))
        self.weights = b"random" if weights == "none" else Path(weights).read_bytes()

    def batches(self) -> Iterator[Batch]:
        if self.trial.phase == "eval":
            yield from self.shard()
            return
        for number in itertools.count():
            if self.fault == "ends" and number == 2:
                return
            yield Batch(images=self.trial.batch_size_per_gpu, payload=[number])

    def shard(self) -> Iterator[Batch]:
        from harness.data import open_dataset

        self.dataset = open_dataset(self.context.val)
        mine = range(self.context.rank, len(self.dataset), self.context.world_size)
        size = self.trial.batch_size_per_gpu
        for start in range(0, len(mine), size):
            positions = list(mine[start : start + size])
            yield Batch(images=len(positions), payload=positions)

    def shape(self, batch: Batch) -> int:
        return batch.payload[0] // self.shape_steps if self.shape_steps else 0

    def compiles(self, batch: Batch) -> bool:
        return self.compile_s > 0 and self.shape(batch) not in self.shapes

    def step(self, batch: Batch) -> Any:
        if self.compiles(batch):
            time.sleep(self.compile_s)
            self.shapes.add(self.shape(batch))
        self.steps += 1
        if self.steps == 2:
            go_wrong(self.fault)
        self.busy_until = max(self.busy_until, time.monotonic()) + self.step_s
        return (self.busy_until, self.steps, batch.payload)

    def synchronize(self) -> None:
        if self.trial.options.get("synchronizes", True):
            wait_until(self.busy_until)
        tell_stopwatch("synchronized")

    def device_clock(self) -> "Clock":
        return Clock(self)

    def barrier(self) -> None:
        tell_stopwatch("barrier")
        if self.context.world_size > 1:
            meet(self.context, Path(os.environ["DEMO_MEETING_PLACE"]) / self.trial.trial_id)

    def read(self, output: Any) -> Mapping[str, float]:
        wait_until(output[0])
        loss = float("nan") if self.fault == "nan" and output[1] > 2 else 1.0 / output[1]
        return {"loss": loss}

    def detections(self, output: Any) -> Sequence[Detections]:
        wait_until(output[0])
        return [self.perfect(position) for position in output[2]]

    def perfect(self, position: int) -> Detections:
        import numpy as np

        found = self.dataset.annotations(position)
        wanted = ~found.crowd_N
        return Detections(
            image_id=self.dataset.image_ids[position],
            boxes_N4=found.boxes_N4[wanted],
            scores_N=np.full(int(wanted.sum()), 0.9, np.float32),
            labels_N=found.labels_N[wanted],
        )

    def probe(self, batch: Batch) -> "Mapping[str, NDArray[np.float32]]":
        import numpy as np

        ramp = np.arange(len(batch.payload) * 2 * 30 * 40, dtype=np.float32).reshape(-1, 2, 30, 40)
        return {"C2": ramp * float(len(self.weights)), "box_logits": np.full((3, 5), -0.5, np.float32)}

    def evaluation(self) -> "Work":
        return Work(self.trial.model_copy(update={"phase": "eval"}), self.context)

    def save(self, path: Path) -> None:
        path.write_bytes(b"learnt")

    def settings(self) -> Mapping[str, str]:
        return {"device": "fake clock", "weights": str(self.trial.options.get("weights", "none"))}

    def close(self) -> None:
        self.busy_until = 0.0


class Clock:
    """The fake device's own: a mark is the moment at which the device comes to it."""

    def __init__(self, work: Work) -> None:
        self.work = work

    def mark(self) -> float:
        return max(self.work.busy_until, time.monotonic())

    def elapsed_ms(self, start: float, end: float) -> float:
        if end > time.monotonic():
            raise RuntimeError("a mark was read before the device came to it")
        return (end - start) * 1000


def wait_until(moment: float) -> None:
    """Sleep until a moment of the device's clock."""
    while (rest := moment - time.monotonic()) > 0:
        time.sleep(rest)


def tell_stopwatch(event: str) -> None:
    """Write an event to the pipe of a stopwatch outside this process, if a test holds one."""
    if "DEMO_STOPWATCH" in os.environ:
        with Path(os.environ["DEMO_STOPWATCH"]).open("w") as pipe:
            pipe.write(f"{event}\n")


def meet(context: Context, place: Path) -> None:
    """Wait until every rank has left its mark as often as this one."""
    place.mkdir(parents=True, exist_ok=True)
    mark = place / f"{context.rank}"
    count = len(mark.read_text()) + 1 if mark.exists() else 1
    mark.write_text("x" * count)
    while any(len(other.read_text()) < count for other in places(context, place)):
        time.sleep(0.002)


def places(context: Context, place: Path) -> list[Path]:
    """The marks of all ranks, made empty where a rank has not come yet."""
    marks = [place / f"{rank}" for rank in range(context.world_size)]
    for mark in marks:
        mark.touch()
    return marks


def go_wrong(fault: Any) -> None:
    """Play the fault, if it is one of the middle of a trial."""
    if fault == "raises":
        raise ValueError("boom\nover two lines")
    if fault == "memory":
        raise MemoryError("no memory left on the fake device")
    if fault == "exits":
        os._exit(7)
    if fault == "no_record":
        os._exit(0)
    if fault == "killed":
        os.kill(os.getpid(), signal.SIGSEGV)
    if fault == "hangs":
        time.sleep(3600)
    if fault == "starts_daemon":
        subprocess.Popen(["sleep", "3600.25"], start_new_session=True)
    if fault in MORE_FAULTS:
        MORE_FAULTS[fault]()
    if fault == "chatter":
        sys.stdout.write('{"rank": 0, "not": "a record"}\n' * 3)


CUDA_MESSAGE = "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.25 GiB"


class ResourceExhaustedError(Exception):
    """As TensorFlow's."""


def eat_memory() -> None:
    """Take memory until something ends it, 2 GiB at the most."""
    held = [bytearray(1 << 24) for _ in range(128)]
    raise RuntimeError(f"{len(held)} blocks of 16 MiB, and nothing ended it")


def limited_memory() -> None:
    """Run into a limit of this process's own."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    eat_memory()


def say(text: str) -> None:
    """Print to the log at once."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def raise_error(error: Exception) -> None:
    """As a call that fails does."""
    raise error


def cuda_abort() -> None:
    """End as a C++ exception does that nobody catches."""
    say(f"terminate called after throwing an instance of 'c10::OutOfMemoryError'\n  what():  {CUDA_MESSAGE}")
    say("Exception raised from malloc at CUDACachingAllocator.cpp:1\nframe #0: c10::Error::Error + 0x98")
    os.abort()


def mention_memory() -> None:
    """Speak of memory that was short once, and die of something else."""
    say("2026-01-01 00:00:00.000000: W allocator.cc:1] CUDA_ERROR_OUT_OF_MEMORY: out of memory; trying a smaller block")
    say("WARNING: CUDA out of memory. Tried to allocate 20.00 MiB; falling back to the CPU")
    os.kill(os.getpid(), signal.SIGSEGV)


def fill_log() -> None:
    """Print 64 MiB, or until the disk is full."""
    for _ in range(1 << 10):
        sys.stdout.write("x" * (1 << 16) + "\n")


def truncate() -> None:
    """Leave half a record, as a worker does that is cut off."""
    (Path(sys.argv[1]).parent / "rank0.json").write_text('{"rank": 0, "outcome": {"kind": "o')
    os._exit(0)


MORE_FAULTS = {
    "sigkill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "eats_memory": eat_memory,
    "limited_memory": limited_memory,
    "cuda_memory": lambda: raise_error(RuntimeError(CUDA_MESSAGE)),
    "cuda_abort": cuda_abort,
    "tf_memory": lambda: raise_error(ResourceExhaustedError("OOM when allocating tensor with shape[8,3,9,9]")),
    "mentions_memory": mention_memory,
    "no_framework": lambda: __import__("no_such_framework.core"),
    "broken_import": lambda: raise_error(ImportError("libcudart.so.13: cannot open shared object file")),
    "fills_log": fill_log,
    "truncated": truncate,
}


def make(trial: Trial, context: Context) -> Work | None:
    """The work of any phase."""
    fault = trial.options.get("fault")
    if fault == "no_work":
        return {"not": "a work"}  # type: ignore[return-value]
    if fault == "needs_memory" and trial.batch_size_per_gpu * (trial.image_size or 1) >= 4:
        raise RuntimeError(CUDA_MESSAGE)
    if fault == "declines":
        raise UnsupportedTrialError("the fake device has no such mode")
    return None if fault == "none_returned" else Work(trial, context)


@hookimpl
def harness_train(trial: Trial, context: Context) -> Work | None:
    """Training steps that learn nothing."""
    return make(trial, context)


@hookimpl
def harness_eval(trial: Trial, context: Context) -> Work | None:
    """Steps that find every object."""
    return make(trial, context)


@hookimpl
def harness_infer(trial: Trial, context: Context) -> Work | None:
    """Steps that find nothing."""
    return make(trial, context)
