"""Results as DLLogger lines, the log format of NVIDIA's published systems: one log per trial.

A line is `DLLL ` and a JSON object: type LOG with `step` PARAMETER (settings), a number (one step) or [] (the summary),
or type METADATA with a metric's unit. Source: github.com/NVIDIA/dllogger, README and JSONStreamBackend.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice, zip_longest
from typing import Any

from harness.analysis.frame import trial_row
from harness.analysis.points import flatten
from harness.exchange.clock import NS_PER_US, clock_of, first_window, stretch_steps, warmup_start_ns
from harness.schema.measurement import Measurement
from harness.schema.result import TrialResult
from harness.units import NS_PER_MS

PREFIX = "DLLL "
PARAMETER = "PARAMETER"
Step = str | int | list[int]


def lines(result: TrialResult) -> Iterator[str]:
    """One trial as DLLogger lines: settings, units, every step of every rank, and what they amount to."""
    log = Log(result)
    yield log.entry(result.started_at, PARAMETER, log.parameters())
    for series in {each.name: each for each in result.measurements}.values():
        yield log.metadata(series)
    ended = result.started_at + timedelta(seconds=result.duration_s)
    moments = step_times(result)
    for number, data in enumerate(log.steps(), start=1):
        yield log.entry(moments.get(number, ended), number, data)
    yield log.entry(ended, [], log.summary())


@dataclass(frozen=True)
class Log:
    """The lines of one trial."""

    result: TrialResult
    phase: str = field(init=False)

    def __post_init__(self) -> None:
        """Metrics are named after the phase, as the published logs name theirs."""
        object.__setattr__(self, "phase", {"eval": "val"}.get(self.result.trial.phase, self.result.trial.phase))

    def entry(self, moment: datetime, step: Step, data: Mapping[str, Any]) -> str:
        """One LOG line."""
        return self.line(moment, {"type": "LOG", "step": step, "data": dict(data)})

    def metadata(self, series: Measurement) -> str:
        """The METADATA line of one metric."""
        unit = {} if series.unit == "1" else {"unit": series.unit}
        fields = {"type": "METADATA", "metric": f"{self.phase}.{series.name}", "metadata": unit}
        return self.line(self.result.started_at, fields)

    def line(self, moment: datetime, fields: Mapping[str, Any]) -> str:
        """A line with its three times."""
        elapsed_s = (moment - self.result.started_at).total_seconds()
        utc = moment.astimezone(UTC)
        times = {"timestamp": str(utc.timestamp()), "datetime": str(utc), "elapsedtime": str(elapsed_s)}
        return PREFIX + json.dumps({**times, **fields}, allow_nan=False, default=str)

    def parameters(self) -> dict[str, Any]:
        """What was asked for and what ran, flat; the sizes also by the names that published logs use."""
        trial = self.result.trial
        told = {name: value for name, value in flatten(trial.model_dump(mode="json")) if value is not None}
        used = {f"used.{name}": value for name, value in self.result.settings.items()}
        sizes = {"batch_size": trial.batch_size_per_gpu, "world_size": trial.world_size}
        return {"trial_id": self.result.trial_id, **told, **sizes, **used}

    def steps(self) -> Iterator[dict[str, float | str]]:
        """The raw values of each step, the warm-up first; series that have no value a step follow in their order."""
        columns: dict[str, list[float | None]] = {}
        window = first_window(self.result)
        warmup = window.warmup_steps if window else 0
        for each in self.result.measurements:
            rank = "" if each.rank == 0 else f"rank{each.rank}."
            key = f"{self.phase}.{rank}{each.name}"
            # Compiling steps of the warm-up are fewer than its steps; they stand at its beginning.
            before = [*each.warmup_values, *[None] * warmup][:warmup]
            columns[key] = [*before, *each.values]
        for row in zip_longest(*columns.values()):
            yield {name: spelled(value) for name, value in zip(columns, row, strict=True) if value is not None}

    def summary(self) -> dict[str, Any]:
        """What the trial amounts to, by the names and units of the CSV report; unknown numbers are left out."""
        row = trial_row(self.result)
        kept = {name: value for name, value in row.items() if value is not None}
        return {f"{self.phase}.{name}": value for name, value in kept.items()}


def spelled(value: float) -> float | str:
    """A number, or the word for one that JSON has not."""
    return value if value - value == 0 else str(value)


def step_times(result: TrialResult) -> dict[int, datetime]:
    """The date of each step of the first rank, steps counted from 1, the warm-up's included.

    Within a stretch steps follow one another by the host's times; the last one ends with the stretch. Those of the
    warm-up, whose beginnings no record has, are spread evenly.
    """
    clock, window = clock_of(result), first_window(result)
    if clock is None or window is None:
        return {}
    begin_ns, number = warmup_start_ns(window), window.warmup_steps
    lead_ns = window.spans_ns[0][0] - begin_ns
    found = {step: clock.at(begin_ns + lead_ns * step // number) for step in range(1, number + 1)}
    series = {each.name: each.values for each in result.measurements if each.rank == window.rank}
    each_ms = map(sum, zip(series.get("data_wait_ms", ()), series.get("step_ms", ()), strict=False))
    for (start_ns, end_ns), steps in zip(window.spans_ns, stretch_steps(window), strict=False):
        moment_ns = start_ns
        for taken_ms in islice(each_ms, steps):
            number += 1
            moment_ns = min(moment_ns + round(taken_ms * NS_PER_MS), end_ns - NS_PER_US)
            found[number] = clock.at(moment_ns)
        found[number] = clock.at(end_ns)
    return found
