"""What the host does with a backend's work in each phase."""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from math import isfinite
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from harness.errors import DivergedError
from harness.hookspecs import Context, InferenceWork, TrainWork, Work
from harness.measure.machine import peak_memory_bytes
from harness.measure.steps import Stretch, compile_ahead, run_stretch, time_latency
from harness.schema.measurement import Accuracy, Ending
from harness.schema.trial import Target, Trial
from harness.units import ns_to_ms, ns_to_s
from harness.worker.judge import Judge, encode
from harness.worker.pace import Pace
from harness.worker.record import PhaseRecord, WarmUp
from harness.worker.seam import require_evaluation

MOST_LATENCIES = 1000
"""Where a window has more steps than the trial counts: p99 and its interval take 662, and each one is a step alone."""


class Training:
    """A training trial on its way: its stretches, and the evaluations between them."""

    def __init__(self, work: TrainWork, trial: Trial, record: PhaseRecord, scratch: Path, context: Context) -> None:
        self.work = work
        self.trial = trial
        self.record = record
        self.judge = Judge(scratch, context, trial.scorer)
        self.start_ns = perf_counter_ns()
        self.pace = Pace(work, trial, scratch, context)
        self.warmup = self.pace.warm_up()
        self.timed: list[Stretch] = []

    def run(self) -> Ending:
        """Time the window; score at its end where the trial scores, and has not on the way."""
        trial = self.trial
        ended_by: Ending | None = None
        while ended_by is None:
            ended_by = self.round() or self.pace.ending(self.timed)
        if ended_by != "diverged" and not trial.evaluate_every_steps and (trial.evaluate or trial.target):
            self.score()
        return ended_by

    def round(self) -> Ending | None:
        """Time as many steps as the trial counts, scoring in between; what ended the window among them, if it did."""
        every = self.trial.evaluate_every_steps
        for count in segments(self.trial.timed_steps, every):
            self.timed.append(self.pace.stretch(count))
            if not finite(self.work.read(self.timed[-1].outputs[-1])):
                return "diverged"
            if every and self.score():
                return "target"
        return None

    def evaluation(self) -> InferenceWork:
        """The steps of an evaluation.

        Raises:
            HookMismatchError: what the backend returned lacks a method.
        """
        work = self.work.evaluation()
        require_evaluation(self.trial.backend, work)
        return work

    def score(self) -> bool:
        """Score the weights as they are now; whether the target, if there is one, is reached."""
        steps = self.warmup.steps + sum(stretch.steps for stretch in self.timed)
        accuracy, _ = self.judge.score(self.evaluation(), after_steps=steps)
        self.record.accuracy.append(accuracy)
        if self.trial.target is None or not reached(self.trial.target, accuracy):
            return False
        self.record.time_to_target_s = ns_to_s(perf_counter_ns() - self.start_ns)
        return True


def run_train(work: TrainWork, trial: Trial, record: PhaseRecord, scratch: Path, context: Context) -> None:
    """Warm up, time the window, keep every step's losses; score where the trial asks, outside the window.

    Raises:
        DivergedError: a loss is NaN or infinite.
    """
    training = Training(work, trial, record, scratch, context)
    ended_by = training.run()
    record.add_window(training.warmup, training.timed, ended_by, training.pace.interval)
    record.add_compiling(training.timed, [*training.warmup.stretches, *training.judge.stretches])
    record_losses(work, record, outputs_of(training.warmup.stretches), outputs_of(training.timed))


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


def outputs_of(stretches: Sequence[Stretch]) -> list[Any]:
    """The outputs of all their steps."""
    return [output for stretch in stretches for output in stretch.outputs]


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


def run_infer(work: InferenceWork, trial: Trial, record: PhaseRecord, scratch: Path, context: Context) -> None:
    """Time a pipelined window for throughput, then single batches for latency: as many, but for MOST_LATENCIES."""
    pace = Pace(work, trial, scratch, context)
    warmup = pace.warm_up()
    timed: list[Stretch] = []
    ended_by: Ending | None = None
    while ended_by is None:
        timed.append(pace.stretch(trial.timed_steps))
        ended_by = pace.ending(timed)
    record.add_window(warmup, timed, ended_by, pace.interval)
    steps = sum(stretch.steps for stretch in timed)
    latency = time_latency(work, pace.batches, min(steps, max(trial.timed_steps, MOST_LATENCIES)))
    record.add_latencies(list(map(ns_to_ms, latency.step_ns)), latency.device_ms)
    record.add_compiling(timed, [*warmup.stretches, latency])


def run_eval(work: InferenceWork, trial: Trial, record: PhaseRecord, scratch: Path, context: Context) -> None:
    """Warm up on the first batches, pass once over the set, score it.

    The window of this phase is the whole pass: loading, steps, masks pasted and encoded. Scoring is timed apart. Where
    the warm-up compiled, it goes on with the first batch of every other shape of the set, which the pass will meet.
    """
    judge = Judge(scratch, context, trial.scorer)
    ahead = list(islice(work.batches(), trial.warmup_steps))
    warmup = run_stretch(work, iter(ahead), len(ahead), training=False)
    for output in warmup.outputs:
        encode(work, output)
    shapes = compile_ahead(work) if warmup.compile_ns else Stretch()
    accuracy, taken = judge.score(work, after_steps=None)
    record.accuracy.append(accuracy)
    record.add_window(WarmUp([warmup]), [taken.stretch], "set")
    record.add_compiling([taken.stretch], [warmup, shapes])
    record.add_latencies(taken.latencies_ms, taken.latencies_device_ms)
    record.add("encode_ms", "ms", taken.encodings_ms)
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
