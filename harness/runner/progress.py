"""What a person sees while a matrix runs: one line when a trial starts, one when it ends, and the time left."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TextIO

from harness.analysis.metrics import throughput
from harness.matrix.source import printable
from harness.schema.result import TrialResult
from harness.schema.trial import OptionValue, Trial
from harness.units import format_duration

NOTHING_TO_SHOW = frozenset({"ok", "unsupported", "skipped"})
"""Outcomes whose line says all; of the others `harness show` has a log and evidence."""


@dataclass
class Estimates:
    """Durations of trials that have run, to guess those that have not: the nearest kind that is known counts."""

    seconds: dict[tuple[object, ...], list[float]] = field(default_factory=dict)

    def add(self, result: TrialResult) -> None:
        """Learn from one finished trial; one that never started teaches nothing."""
        shared = result.rehearsal is not None and result.rehearsal.run_for != result.trial_id
        if shared or result.outcome.kind in {"unsupported", "skipped"}:
            return
        for key in self.keys(result.trial):
            self.seconds.setdefault(key, []).append(result.duration_s)

    def of(self, trial: Trial) -> float | None:
        """Seconds that this trial may take, or None while nothing is known."""
        known = next((self.seconds[key] for key in self.keys(trial) if key in self.seconds), None)
        return None if known is None else fmean(known)

    @staticmethod
    def keys(trial: Trial) -> tuple[tuple[object, ...], ...]:
        """From the nearest kind to any."""
        kind = (trial.backend, trial.phase, trial.device)
        return ((*kind, trial.gpus, trial.batch_size_per_gpu, trial.timed_steps, trial.image_size), kind, ())

    def total(self, trials: Mapping[str, Trial]) -> float | None:
        """Seconds that these trials may take together, or None while nothing is known."""
        each = [self.of(trial) for trial in trials.values()]
        known = [seconds for seconds in each if seconds is not None]
        return sum(known) * len(each) / len(known) if known else None


@dataclass
class Progress:
    """Prints to standard error, so that standard output stays for results.

    Options are named only where they vary among the trials.
    """

    total: int
    varying: frozenset[str] = frozenset()
    stream: TextIO = field(default_factory=lambda: sys.stderr)
    finished: int = 0

    def say(self, line: str) -> None:
        """Print one line at once."""
        tell(line, self.stream)

    def start(self, trial: Trial, left_s: float | None) -> None:
        """Say what runs now and how long the rest may take."""
        left = f", about {format_duration(left_s)} left" if left_s else ""
        self.say(f"[{self.finished + 1}/{self.total}] {title(trial, self.varying)} …{left}")

    def end(self, result: TrialResult) -> None:
        """Say how it ended."""
        self.finished += 1
        outcome = result.outcome
        detail = f"{outcome.kind}: {outcome.reason}" if outcome.reason else headline(result)
        name = title(result.trial, self.varying)
        took = format_duration(result.duration_s)
        asked = "" if outcome.kind in NOTHING_TO_SHOW else f"; trial {result.trial_id.rpartition('-')[2]}"
        self.say(f"[{self.finished}/{self.total}] {name}: {detail} ({took}{asked})")


def tell(line: str, stream: TextIO) -> None:
    """Print one line, in which a worker's words do nothing to the terminal.

    Where nobody reads any more, as after `| head` or when the terminal is gone, the run goes on in silence.
    """
    try:
        print(printable(line), file=stream, flush=True)
    except OSError:
        # What is left in the stream's buffer would fail again, as the program ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def varying_options(trials: Sequence[Trial]) -> frozenset[str]:
    """The options that two of these trials have with different values."""
    seen: dict[str, OptionValue] = {}
    return frozenset(
        name for trial in trials for name, value in trial.options.items() if seen.setdefault(name, value) != value
    )


def title(trial: Trial, varying: frozenset[str] = frozenset()) -> str:
    """A trial in a few words."""
    options = "".join(f" {name}={value}" for name, value in trial.options.items() if name in varying)
    marks = (" xla" if trial.xla else "") + (" rehearsal" if trial.rehearsal else "")
    return (
        f"{trial.backend} {trial.phase} {trial.device} ×{trial.world_size}"
        f" batch {trial.batch_size_per_gpu} {trial.precision}{marks}{options}"
        + (f" repeat {trial.repeat}" if trial.repeat else "")
    )


def headline(result: TrialResult) -> str:
    """The first figure of a trial that went well."""
    parts = ["ok"]
    rate = throughput(result)
    if rate is not None:
        parts.append(f"{rate:.2f} images/s")
    for accuracy in result.accuracy[-1:]:
        parts += [f"{metrics.kind} AP {metrics.ap or 0.0:.3f}" for metrics in accuracy.metrics]
    return ", ".join(parts)
