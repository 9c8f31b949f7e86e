"""The host drives a backend's steps and reads the clock around them.

A stretch begins with the device idle and all ranks met, and ends with the device idle again, so that its elapsed time
is the time of its steps whatever a framework queues up in between. A window is one stretch or several. A step that
compiles first is timed on its own as well, synchronised on both sides. It stays in its stretch: ranks that do not
compile wait for it in theirs, and what is left out cannot be seen. Whoever reads the window knows from `compile_ns`
that it holds compiling.

What a stretch lasted is what the host waited for batches, what it took to hand steps out, and what it waited for the
device between steps: at the end, and before a step that compiles. The rest, its own loop, is a few readings of the
clock a step (`timer.py` measures one).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter_ns
from typing import Any, NamedTuple

from harness.errors import BackendError
from harness.hookspecs import Batch, Work
from harness.measure.marks import Marks
from harness.units import NS_PER_MS, ns_to_ms

DRAIN_SHARE = 0.1
DRAIN_FLOOR_NS = 20 * NS_PER_MS
UNREPEATED_FLOOR_NS = 200 * NS_PER_MS
"""Where the finding cannot be repeated: longer than a busy host holds up one fetch."""
CONFIRMATIONS = 3
REPEATED_STEPS = 16
READINGS_PER_STEP = 4
"""Of the host's clock: before and after the wait for a batch, before and after the step."""


class Alone(NamedTuple):
    """A step that was alone on the device: synchronised before and after."""

    output: Any
    drain_ns: int
    """Of the synchronisation before it: what was queued is none of its time."""
    elapsed_ns: int


@dataclass
class Stretch:
    """Consecutive steps of one rank. Times in nanoseconds, outputs as the backend returned them."""

    images: int = 0
    start_ns: int = 0
    elapsed_ns: int = 0
    drain_ns: int = 0
    """Of the synchronisations beside its steps: the device works off what is queued."""
    step_ns: list[int] = field(default_factory=list)
    wait_ns: list[int] = field(default_factory=list)
    compile_ns: list[int] = field(default_factory=list)
    """Of the steps that compiled first, running included: no framework tells the two apart."""
    outputs: list[Any] = field(default_factory=list)
    device_ms: list[float] = field(default_factory=list)
    """Of each step by the device's own clock; empty where it has none."""
    device_s: float | None = None
    """From the first of its marks to the last."""

    @property
    def steps(self) -> int:
        """How many steps it has."""
        return len(self.step_ns)


def run_stretch(work: Work, batches: Iterator[Batch], count: int, *, training: bool) -> Stretch:
    """Time `count` steps as one stretch: synchronised at both ends, pipelined in between.

    Args:
        work: the backend's steps.
        batches: its batches, at least `count` of them.
        count: steps to run.
        training: steps change the model and meet the other ranks, and every step's output, a few scalars, is kept;
            otherwise a step can be repeated, and only the last output, which may be large, is kept.

    Raises:
        BackendError: the batches end early, or `synchronize` returned while the device was still busy.
    """
    stretch, marks = Stretch(), Marks(work)
    work.synchronize()
    work.barrier()
    stretch.start_ns = perf_counter_ns()
    for _ in range(count):
        batch = take_step(work, batches, stretch, marks, keep_outputs=training)
    handed = perf_counter_ns()
    work.synchronize()
    end_ns = perf_counter_ns()
    stretch.drain_ns += end_ns - handed
    stretch.elapsed_ns = end_ns - stretch.start_ns
    if stretch.outputs:
        again = None if training else partial(repeat, work, batch, count)
        require_drained(work, stretch.outputs[-1], stretch.elapsed_ns - sum(stretch.compile_ns), again)
    stretch.device_ms, stretch.device_s = marks.steps_ms(), marks.span_s()
    return stretch


def take_step(work: Work, batches: Iterator[Batch], stretch: Stretch, marks: Marks, *, keep_outputs: bool) -> Batch:
    """Wait for a batch, hand it to the device, note both times; return the batch."""
    asked = perf_counter_ns()
    batch = next_batch(batches, stretch.steps)
    stretch.wait_ns.append(perf_counter_ns() - asked)
    if work.compiles(batch):
        output, drain_ns, elapsed_ns = time_step(work, batch, marks)
        stretch.compile_ns.append(elapsed_ns)
        stretch.drain_ns += drain_ns
    else:
        marks.begin()
        ready = perf_counter_ns()
        output = work.step(batch)
        elapsed_ns = perf_counter_ns() - ready
        marks.end()
    stretch.step_ns.append(elapsed_ns)
    stretch.images += batch.images
    if not keep_outputs:
        stretch.outputs.clear()
    stretch.outputs.append(output)
    return batch


def time_step(work: Work, batch: Batch, marks: Marks | None = None) -> Alone:
    """Take one step, the device synchronised before and after; marked if asked to."""
    queued = perf_counter_ns()
    work.synchronize()
    drain_ns = perf_counter_ns() - queued
    if marks is not None:
        marks.begin()
    start = perf_counter_ns()
    output = work.step(batch)
    if marks is not None:
        marks.end()
    work.synchronize()
    return Alone(output, drain_ns, perf_counter_ns() - start)


def compile_ahead(work: Work) -> Stretch:
    """Pass once over batches that end, taking only the steps that compile first."""
    stretch = Stretch()
    for batch in work.batches():
        if work.compiles(batch):
            stretch.compile_ns.append(time_step(work, batch).elapsed_ns)
    return stretch


def time_latency(work: Work, batches: Iterator[Batch], count: int) -> Stretch:
    """Time `count` single steps of inference, the device synchronised before and after each; loading is outside.

    A step that compiles is no latency: its time is kept apart, and the batch is taken once more for the latency.

    Raises:
        BackendError: as `run_stretch`.
    """
    stretch, marks = Stretch(), Marks(work)
    for step in range(count):
        batch = next_batch(batches, step)
        if work.compiles(batch):
            stretch.compile_ns.append(time_step(work, batch).elapsed_ns)
        output, _, elapsed_ns = time_step(work, batch, marks)
        stretch.step_ns.append(elapsed_ns)
        if step == count - 1:
            require_alone(work, output, elapsed_ns, batch)
    stretch.device_ms = marks.steps_ms()
    require_in_time(stretch.step_ns, stretch.device_ms)
    return stretch


def next_batch(batches: Iterator[Batch], step: int) -> Batch:
    """The next batch of batches that must not end.

    Raises:
        BackendError: they end.
    """
    batch = next(batches, None)
    if batch is None:
        raise BackendError(f"batches() ended after {step} steps; train and infer batches must be endless")
    return batch


def require_drained(work: Work, output: Any, elapsed_ns: int, again: Callable[[], Any] | None = None) -> None:
    """Fetch the last output and hold the backend to its word that the device is idle.

    Fetching a few scalars from an idle device takes well under a millisecond. Where it takes a share of the window,
    the device was still working through it, and the window measured how fast steps are queued. A busy host can hold
    up one fetch, so where steps may be repeated, the finding must repeat too.

    Args:
        work: the backend's steps.
        output: of the last step before `synchronize` returned.
        elapsed_ns: of the window that ended then.
        again: runs such a window once more and returns its last output; None where steps cannot be repeated.

    Raises:
        BackendError: `synchronize` returned too early.
    """
    drain_ns = time_read(work, output)
    if drain_ns <= max(DRAIN_FLOOR_NS if again else UNREPEATED_FLOOR_NS, DRAIN_SHARE * elapsed_ns):
        return
    for _ in range(CONFIRMATIONS if again else 0):
        start = perf_counter_ns()
        output = again() if again else None
        repeated_ns = perf_counter_ns() - start
        if time_read(work, output) <= max(DRAIN_FLOOR_NS, DRAIN_SHARE * repeated_ns):
            return
    raise BackendError(
        f"synchronize() returned before the device was done: the last output came {ns_to_ms(drain_ns):.0f} ms"
        f" after a window of {ns_to_ms(elapsed_ns):.0f} ms; it must wait for all work"
    )


def require_alone(work: Work, output: Any, elapsed_ns: int, batch: Batch) -> None:
    """Hold the backend to its word after a step that was alone on the device and may be repeated.

    Raises:
        BackendError: `synchronize` returned too early.
    """
    require_drained(work, output, elapsed_ns, partial(repeat, work, batch, 1))


def require_in_time(steps_ns: Sequence[int], device_ms: Sequence[float]) -> None:
    """Hold steps that were alone on the device against its own clock: none may have taken it longer than the host saw.

    This costs the steps nothing, so that all of them are held to it where the device has a clock.

    Args:
        steps_ns: by the host's clock, synchronised on both sides.
        device_ms: by the device's own; empty where it has none.

    Raises:
        BackendError: `synchronize` returned too early.
    """
    for number, (host_ns, device) in enumerate(zip(steps_ns, device_ms, strict=bool(device_ms)), start=1):
        if device * NS_PER_MS > host_ns + max(DRAIN_FLOOR_NS, DRAIN_SHARE * host_ns):
            raise BackendError(
                f"synchronize() returned before the device was done: step {number} took the device {device:.0f} ms"
                f" and synchronize() let go of it after {ns_to_ms(host_ns):.0f} ms; it must wait for all work"
            )


def time_read(work: Work, output: Any) -> int:
    """Nanoseconds that fetching an output takes."""
    start = perf_counter_ns()
    work.read(output)
    return perf_counter_ns() - start


def repeat(work: Work, batch: Batch, steps: int) -> Any:
    """Take one batch's step a few times more, as a window does, and return the last output."""
    outputs = [work.step(batch) for _ in range(min(steps, REPEATED_STEPS))]
    work.synchronize()
    return outputs[-1]
