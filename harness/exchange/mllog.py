"""Results as MLLOG lines, which MLPerf's tools read: one log per trial, as one run of a submission has it.

Keys and events: mlcommons/logging, mlperf_logging/mllog/constants.py, and the rules of its compliance checker. What the
record of a trial does not hold, such as the number of training images, is left out or told by whoever exports.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from harness.analysis.metrics import pooled, throughput
from harness.analysis.performance import PERCENTILES
from harness.errors import ReportError
from harness.exchange.clock import Clock, clock_of, steps_done, warmup_start_ns, whole_window
from harness.schema.measurement import Accuracy, Window
from harness.schema.result import TrialResult
from harness.statistics.early_stopping import early_stopping
from harness.statistics.percentiles import percentile
from harness.units import NS_PER_S

Division = Literal["open", "closed"]
Status = Literal["onprem", "cloud", "preview", "research"]
EventType = Literal["POINT_IN_TIME", "INTERVAL_START", "INTERVAL_END"]
POINT: EventType = "POINT_IN_TIME"
PREFIX = ":::MLLOG "


@dataclass(frozen=True)
class Submission:
    """What a log says of who submits, and of the data set; none of it is in the records."""

    org: str | None = None
    platform: str | None = None
    division: Division = "open"
    status: Status = "research"
    train_samples: int | None = None
    """Images of the training set: steps become epochs by it."""


@dataclass(frozen=True)
class Event:
    """One line of a log."""

    time_ms: int
    key: str
    value: Any = None
    metadata: tuple[tuple[str, Any], ...] = ()
    kind: EventType = POINT

    def line(self) -> str:
        """The line, as MLPerf's parser reads it."""
        fields = {
            "namespace": "",
            "time_ms": self.time_ms,
            "event_type": self.kind,
            "key": self.key,
            "value": self.value,
            "metadata": dict(self.metadata),
        }
        return PREFIX + json.dumps(fields, allow_nan=False)


def lines(result: TrialResult, submission: Submission) -> Iterator[str]:
    """One trial as MLLOG lines, in the order of time.

    Raises:
        ReportError: the record does not say when its windows were.
    """
    clock, window = clock_of(result), whole_window(result)
    if clock is None or window is None:
        raise ReportError(
            f"{result.trial_id}: its record does not say when its windows were; only trials that ran to a window, "
            "recorded by this version, can be MLLOG lines"
        )
    log = Log(result, submission, clock, window)
    events = [*log.headers(), *log.run()]
    yield from (event.line() for event in sorted(events, key=lambda event: event.time_ms))


@dataclass(frozen=True)
class Log:
    """The events of one trial."""

    result: TrialResult
    submission: Submission
    clock: Clock
    window: Window

    @property
    def start_ms(self) -> int:
        """When the trial began."""
        return self.clock.ms(self.clock.started_ns)

    @property
    def end_ms(self) -> int:
        """When its processes were gone: no event is later."""
        return self.clock.ms(self.clock.started_ns + round(self.result.duration_s * NS_PER_S))

    def headers(self) -> list[Event]:
        """Who submits, and what the trial is: all at its beginning."""
        trial, submission, settings = self.result.trial, self.submission, self.result.settings
        told: dict[str, Any] = {
            "submission_org": submission.org,
            "submission_platform": submission.platform,
            "submission_division": submission.division,
            "submission_status": submission.status,
            "submission_benchmark": benchmark(self.result),
            "seed": trial.seed,
            "global_batch_size": trial.global_batch_size * trial.gradient_accumulation_steps,
            "gradient_accumulation_steps": trial.gradient_accumulation_steps,
            "opt_name": settings.get("optimizer"),
            "opt_base_learning_rate": number(settings.get("learning_rate")),
            "train_samples": submission.train_samples if trial.phase == "train" else None,
            "eval_samples": next((accuracy.images for accuracy in self.result.accuracy), None),
            "cache_clear": False,
        }
        return [Event(self.start_ms, key, value) for key, value in told.items() if value is not None]

    def run(self) -> list[Event]:
        """From the start of the workers to the end of the last window or evaluation."""
        begin = self.clock.ms(warmup_start_ns(self.window))
        stop = self.stop_ms(begin)
        reached = self.result.time_to_target_s is not None
        # No target, no success: a run of MLPerf is one that reaches its quality.
        status = "success" if reached else "aborted"
        phase = {"train": self.training, "eval": self.evaluation, "infer": self.inference}[self.result.trial.phase]
        return [
            Event(self.start_ms, "init_start", kind="INTERVAL_START"),
            Event(begin, "init_stop", kind="INTERVAL_END"),
            Event(begin, "run_start", kind="INTERVAL_START"),
            *phase(begin, stop),
            Event(stop, "run_stop", metadata=(("status", status),), kind="INTERVAL_END"),
        ]

    def stop_ms(self, begin_ms: int) -> int:
        """The end of the run: when the target was reached; else that of the last stretch, or of what scored it."""
        if self.result.time_to_target_s is not None:
            return begin_ms + round(self.result.time_to_target_s * 1000)
        scored_last = bool(self.result.accuracy)
        return self.end_ms if scored_last else self.clock.ms(self.window.spans_ns[-1][1])

    def training(self, begin_ms: int, stop_ms: int) -> list[Event]:
        """Blocks of steps, each up to an evaluation or the end."""
        events: list[Event] = []
        accuracies = {accuracy.after_steps: accuracy for accuracy in self.result.accuracy}
        spans, done = self.window.spans_ns, steps_done(self.window)
        opened, first = begin_ms, 0
        for place, steps in enumerate(done):
            accuracy, last = accuracies.get(steps), place == len(done) - 1
            if accuracy is None and not last:
                continue
            closed = self.clock.ms(spans[place][1])
            events += self.block(opened, closed, first, steps)
            resumed = stop_ms if last else self.clock.ms(spans[place + 1][0])
            if accuracy is not None:
                events += self.scored(closed, resumed, accuracy, self.progress(steps))
            opened, first = resumed, steps
        return [*events, self.stats(self.clock.ms(spans[-1][1]), self.progress(done[-1]))]

    def block(self, start_ms: int, stop_ms: int, first: int, last: int) -> list[Event]:
        """Steps between two evaluations."""
        before, after = dict(self.progress(first)), dict(self.progress(last))
        metadata: tuple[tuple[str, Any], ...] = (("step_num", first),)
        if "epoch_num" in before:
            epochs = after["epoch_num"] - before["epoch_num"]
            metadata += (("first_epoch_num", before["epoch_num"]), ("epoch_count", epochs))
        return [
            Event(start_ms, "block_start", metadata=metadata, kind="INTERVAL_START"),
            Event(stop_ms, "block_stop", metadata=metadata, kind="INTERVAL_END"),
        ]

    def scored(
        self, start_ms: int, stop_ms: int, accuracy: Accuracy, progress: tuple[tuple[str, Any], ...]
    ) -> list[Event]:
        """One evaluation."""
        found = {metrics.kind.upper(): metrics.ap for metrics in accuracy.metrics}
        return [
            Event(start_ms, "eval_start", metadata=progress, kind="INTERVAL_START"),
            Event(stop_ms, "eval_accuracy", found, progress),
            Event(stop_ms, "eval_stop", metadata=progress, kind="INTERVAL_END"),
        ]

    def progress(self, steps: int) -> tuple[tuple[str, Any], ...]:
        """How far training was: steps, and epochs where the size of the set is told."""
        told: tuple[tuple[str, Any], ...] = (("step_num", steps),)
        if self.submission.train_samples:
            trial = self.result.trial
            images = steps * trial.global_batch_size * trial.gradient_accumulation_steps
            told += (("epoch_num", images / self.submission.train_samples),)
        return told

    def evaluation(self, begin_ms: int, stop_ms: int) -> list[Event]:  # noqa: ARG002 - one signature for all phases
        """One pass over the val set."""
        start, end = (self.clock.ms(moment) for moment in self.window.spans_ns[0])
        progress = (("step_num", 0),)
        return [*(e for a in self.result.accuracy for e in self.scored(start, end, a, progress)), self.stats(end, ())]

    def inference(self, begin_ms: int, stop_ms: int) -> list[Event]:  # noqa: ARG002 - one signature for all phases
        """Throughput and latency."""
        return [self.stats(stop_ms, ())]

    def stats(self, time_ms: int, progress: tuple[tuple[str, Any], ...]) -> Event:
        """What was measured: images/s; of latency in ms, percentiles and LoadGen's bounds from samples enough."""
        found: dict[str, float | None] = {"throughput": throughput(self.result)}
        samples = pooled(self.result, "latency_ms")
        if samples and self.result.trial.phase == "infer":
            found |= {f"latency_p{p}_ms": percentile(samples, p).value for p in PERCENTILES}
            found |= {f"early_stopping_latency_p{p}_ms": early_stopping(samples, p).estimate for p in PERCENTILES}
        known = {name: value for name, value in found.items() if value is not None}
        return Event(time_ms, "tracked_stats", known, progress)


def benchmark(result: TrialResult) -> str:
    """MLPerf's name of a model, or the backend's where MLPerf has none."""
    model = result.provenance.model if result.provenance and result.provenance.model else result.trial.backend
    return {"Mask R-CNN": "maskrcnn"}.get(model, model.lower())


def number(text: str | None) -> float | None:
    """A setting that a backend spells as a number."""
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        return None
