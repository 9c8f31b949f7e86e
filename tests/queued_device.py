"""A fake asynchronous device under a real backend: its steps run on a queue, and only the framework's wait waits.

A step that is handed out comes back at once as a promise, and its real work is done later by a thread, in order, each
after a delay that stands for a device's time. `read` and `detections` of a promise wait for it, as fetching a tensor
from a device does. `synchronize()` is the backend's own method, on a session that believes to be on CUDA: it returns
early unless it comes to the framework's primitive, which a test has put the queue's wait in the place of.
"""

import contextvars
import copy
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from harness.errors import BackendError
from harness.hookspecs import Batch, Context, Detections
from harness.schema.trial import Trial
from harness.worker.phases import PHASES
from harness.worker.record import PhaseRecord

DELAY_S = 0.3
"""One of them exceeds what the host takes for a host held up where a step cannot be repeated."""
EARLY = "synchronize\\(\\) returned before the device was done"


class Promise:
    """What a step leaves: its output, once the queue has come to it."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work
        self.done = threading.Event()
        self.output: Any = None
        self.error: BaseException | None = None

    def keep(self) -> None:
        """Do the work; what goes wrong is told to whoever asks for the output."""
        try:
            self.output = self.work()
        except BaseException as error:  # noqa: BLE001
            self.error = error
        self.done.set()

    def get(self) -> Any:
        """The output, waited for."""
        self.done.wait()
        if self.error is not None:
            raise self.error
        return self.output


class Queue:
    """One thread that works promises off in order, each after a delay."""

    def __init__(self) -> None:
        self.waiting: queue.Queue[Promise] = queue.Queue()
        self.waits = 0
        threading.Thread(target=self.work_off, daemon=True).start()

    def work_off(self) -> None:
        while True:
            promise = self.waiting.get()
            time.sleep(DELAY_S)
            promise.keep()
            self.waiting.task_done()

    def put(self, work: Callable[[], Any]) -> Promise:
        here = contextvars.copy_context()
        promise = Promise(lambda: here.run(work))
        self.waiting.put(promise)
        return promise

    def drain(self, *_: Any) -> None:
        """What the framework's primitive does on a device: wait until the queue is empty."""
        self.waits += 1
        self.waiting.join()


class Queued:
    """A backend's work on the queue; all that it does not do itself it has the backend do."""

    def __init__(self, work: Any, on_device: Any, device: Queue) -> None:
        """Take the work, and the same work with a session that is on CUDA, whose `synchronize` is the one called."""
        self.work = work
        self.on_device = on_device
        self.device = device

    def batches(self) -> Iterator[Batch]:
        return self.work.batches()

    def compiles(self, batch: Batch) -> bool:
        return self.work.compiles(batch)

    def step(self, batch: Batch) -> Promise:
        return self.device.put(lambda: self.work.step(batch))

    def synchronize(self) -> None:
        self.on_device.synchronize()

    def device_clock(self) -> None:
        return None

    def barrier(self) -> None:
        self.work.barrier()

    def read(self, output: Promise) -> Mapping[str, float]:
        return self.work.read(output.get())

    def detections(self, output: Promise) -> Sequence[Detections]:
        return self.work.detections(output.get())


def with_session(work: Any, session: Any) -> Any:
    """The same work, all its parts shared, with another session."""
    other = copy.copy(work)
    other._session = session
    return other


def warmed(work: Any) -> Any:
    """The work after one step, whose compiling and first allocations are none of the queue's business."""
    work.read(work.step(next(iter(work.batches()))))
    return work


@contextmanager
def primitive(target: str, device: Queue, *, present: bool) -> Iterator[None]:
    """The framework's own wait, as it is on a device; or, where it is not present, one that waits for nothing."""
    with mock.patch(target, device.drain if present else lambda *_: None):
        yield


def hold_to_its_word(work: Queued, trial: Trial, scratch: Path, val: str, *, present: bool) -> None:
    """Drive a phase: with the wait it passes, and has waited; without, the host refuses what it measured."""
    context = Context(rank=0, local_rank=0, world_size=1, train=val, val=val)
    record = PhaseRecord(rank=0)
    if present:
        PHASES[trial.phase](work, trial, record, scratch, context)
        assert work.device.waits >= 2
        assert record.windows[0].elapsed_s > DELAY_S * record.windows[0].steps
    else:
        with pytest.raises(BackendError, match=EARLY):
            PHASES[trial.phase](work, trial, record, scratch, context)
    work.device.waiting.join()
