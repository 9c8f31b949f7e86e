"""What the host does with a backend's work in each phase."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from math import isfinite
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from harness.errors import DivergedError
from harness.hookspecs import Context, InferenceWork, TrainWork, Work
from harness.measure.machine import peak_memory_bytes
from harness.measure.steps import Stretch, compile_ahead, run_window, time_latency
from harness.schema.measurement import Accuracy, Measurement, Probe, Window
from harness.schema.trial import Target, Trial
from harness.units import Unit, ns_to_ms, ns_to_s
from harness.worker.judge import Judge


@dataclass
class PhaseRecord:
    """What has been recorded so far; it survives a phase that fails half-way."""

    rank: int
    windows: list[Window] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    accuracy: list[Accuracy] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    time_to_target_s: float | None = None
    probe: Probe | None = None
    peak_memory_bytes: int | None = None
    """Where it was read before the end."""

    def add(self, name: str, unit: Unit, values: Sequence[float], warmup_values: Sequence[float] = ()) -> None:
        """Record one raw series of this rank."""
        self.measurements.append(
            Measurement(name=name, unit=unit, values=tuple(values), warmup_values=tuple(warmup_values), rank=self.rank)
        )

    def add_window(self, warmup: Stretch, timed: Sequence[Stretch]) -> None:
        """Record a window, its host times by step, and the warm-up before it."""
        self.windows.append(
            Window(
                rank=self.rank,
                images=sum(stretch.images for stretch in timed),
                steps=sum(stretch.steps for stretch in timed),
                elapsed_s=ns_to_s(sum(stretch.elapsed_ns for stretch in timed)),
                warmup_steps=warmup.steps,
                warmup_s=ns_to_s(warmup.elapsed_ns),
            )
        )
        steps = chain.from_iterable(stretch.step_ns for stretch in timed)
        waits = chain.from_iterable(stretch.wait_ns for stretch in timed)
        self.add("step_ms", "ms", list(map(ns_to_ms, steps)), list(map(ns_to_ms, warmup.step_ns)))
        self.add("data_wait_ms", "ms", list(map(ns_to_ms, waits)), list(map(ns_to_ms, warmup.wait_ns)))

    def add_compiling(self, timed: Iterable[Stretch], outside: Iterable[Stretch]) -> None:
        """Record the steps that compiled first, if any did: those of the timed window, and those outside it."""
        inside_ns = [step_ns for stretch in timed for step_ns in stretch.compile_ns]
        outside_ns = [step_ns for stretch in outside for step_ns in stretch.compile_ns]
        if inside_ns or outside_ns:
            self.add("compile_ms", "ms", list(map(ns_to_ms, inside_ns)), list(map(ns_to_ms, outside_ns)))


def run_train(work: TrainWork, trial: Trial, record: PhaseRecord, scratch: Path, context: Context) -> None:
    """Warm up, time the window, keep every step's losses; score where the trial asks, outside the window.

    Raises:
        DivergedError: a loss is NaN or infinite.
    """
    judge = Judge(scratch, context, trial.scorer)
    start = perf_counter_ns()
    batches = work.batches()
    warmup = run_window(work, batches, trial.warmup_steps, training=True)
    timed: list[Stretch] = []
    for count in segments(trial.timed_steps, trial.evaluate_every_steps):
        timed.append(run_window(work, batches, count, training=True))
        steps = warmup.steps + sum(stretch.steps for stretch in timed)
        last = steps == trial.warmup_steps + trial.timed_steps
        if not finite(work.read(timed[-1].outputs[-1])):
            break
        if trial.evaluate_every_steps or (last and (trial.evaluate or trial.target)):
            accuracy = judge.score(work.evaluation(), after_steps=steps)
            record.accuracy.append(accuracy)
            if trial.target and reached(trial.target, accuracy):
                record.time_to_target_s = ns_to_s(perf_counter_ns() - start)
                break
    record.add_window(warmup, timed)
    record.add_compiling(timed, [warmup, judge.stretch])
    record_losses(work, record, warmup.outputs, [output for stretch in timed for output in stretch.outputs])


def segments(steps: int, every: int | None) -> list[int]:
    """Cut a number of steps into stretches between evaluations.

    >>> segments(10, 4)
    [4, 4, 2]
    """
    if every is None:
        return [steps]
    whole, rest = divmod(steps, every)
    return [every] * whole + ([rest] if rest else [])


def reached(target: Target, accuracy: Accuracy) -> bool:
    """Whether every part of the target that is given is met."""
    found = {metrics.kind: metrics.ap for metrics in accuracy.metrics}
    wanted = ((found.get("bbox"), target.bbox_ap), (found.get("segm"), target.segm_ap))
    return all((ap or 0.0) >= least for ap, least in wanted if least is not None)


def record_losses(work: Work, record: PhaseRecord, warmup: Sequence[Any], timed: Sequence[Any]) -> None:
    """Fetch the losses of all steps, record them, and only then look whether they diverged.

    Raises:
        DivergedError: a loss is NaN or infinite.
    """
    warmup_losses = [work.read(output) for output in warmup]
    losses = [work.read(output) for output in timed]
    for name in losses[0]:
        record.add(name, "1", [step[name] for step in losses], [step[name] for step in warmup_losses])
    for number, step in enumerate(warmup_losses + losses, start=1):
        if not finite(step):
            name, value = next((name, value) for name, value in step.items() if not isfinite(value))
            raise DivergedError(f"{name} is {value} at step {number}")


def finite(losses: Mapping[str, float]) -> bool:
    """Whether no loss is NaN or infinite."""
    return all(map(isfinite, losses.values()))


def run_infer(work: InferenceWork, trial: Trial, record: PhaseRecord, scratch: Path, context: Context) -> None:  # noqa: ARG001 - one signature for all phases
    """Time a pipelined window for throughput, then single batches for latency."""
    batches = work.batches()
    warmup = run_window(work, batches, trial.warmup_steps, training=False)
    timed = run_window(work, batches, trial.timed_steps, training=False)
    record.add_window(warmup, [timed])
    latency = time_latency(work, batches, trial.timed_steps)
    record.add("latency_ms", "ms", list(map(ns_to_ms, latency.step_ns)))
    record.add_compiling([timed], [warmup, latency])


def run_eval(work: InferenceWork, trial: Trial, record: PhaseRecord, scratch: Path, context: Context) -> None:
    """Warm up on the first batches, pass once over the set, score it.

    The window of this phase is the whole pass: loading, steps, masks pasted and encoded. Scoring is timed apart. Where
    the warm-up compiled, it goes on with the first batch of every other shape of the set, which the pass will meet.
    """
    judge = Judge(scratch, context, trial.scorer)
    ahead = list(islice(work.batches(), trial.warmup_steps))
    warmup = run_window(work, iter(ahead), len(ahead), training=False)
    for output in warmup.outputs:
        judge.encode(work, output)
    shapes = compile_ahead(work) if warmup.compile_ns else Stretch()
    record.accuracy.append(judge.score(work, after_steps=None))
    record.add_window(warmup, [judge.stretch])
    record.add_compiling([judge.stretch], [warmup, shapes])
    record.add("latency_ms", "ms", judge.latencies_ms)
    record.add("encode_ms", "ms", judge.encodings_ms)
    if context.rank == 0:
        record.add("scoring_ms", "ms", [judge.scoring_ms])
    if trial.probe and context.rank == 0:
        from harness.worker.probing import take_probe  # noqa: PLC0415 - a trial that probes nothing loads no numpy

        record.peak_memory_bytes = peak_memory_bytes()  # what a probe holds is no part of the phase
        record.probe = take_probe(work, work.batches())


PHASES: dict[str, Callable[[Any, Trial, PhaseRecord, Path, Context], None]] = {
    "train": run_train,
    "eval": run_eval,
    "infer": run_infer,
}
