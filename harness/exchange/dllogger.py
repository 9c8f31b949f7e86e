"""Results as DLLogger lines, the log format of NVIDIA's published systems: one log per trial.

A line is `DLLL ` and a JSON object: type LOG with `step` PARAMETER (settings), a number or [epoch, number] (one step)
or [] (the summary), or type METADATA with a metric's unit. Source: github.com/NVIDIA/dllogger, README and
JSONStreamBackend.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice, zip_longest
from typing import Any

from harness.analysis.frame import trial_row
from harness.analysis.points import flatten
from harness.exchange.clock import NS_PER_US, clock_of, stretch_steps, warmup_start_ns, whole_window
from harness.exchange.dllogger_lines import DLLOGGER_PHASES, PREFIX
from harness.schema.measurement import Measurement
from harness.schema.result import TrialResult
from harness.units import NS_PER_MS

PARAMETER = "PARAMETER"
Step = str | int | list[int]


def lines(result: TrialResult) -> Iterator[str]:
    """One trial as DLLogger lines: settings, units, every step of every rank, and what they amount to."""
    log = Log(result)
    yield log.entry(result.started_at, PARAMETER, log.parameters())
    for series in {each.name: each for each in result.measurements}.values():
        yield log.metadata(series)
    ended = result.started_at + timedelta(seconds=result.duration_s)
    rows = dict(enumerate(log.steps(), start=1))
    stretch = 1
    for stretch, number, moment in places(result):
        yield log.entry(moment, log.position(stretch, number), rows.pop(number, {}))
    for number, data in rows.items():
        yield log.entry(ended, log.position(stretch, number), data)
    yield log.entry(ended, [], log.summary())


@dataclass(frozen=True)
class Log:
    """The lines of one trial."""

    result: TrialResult
    phase: str = field(init=False)

    def __post_init__(self) -> None:
        """Metrics are named after the phase, as the published logs name theirs."""
        object.__setattr__(self, "phase", DLLOGGER_PHASES[self.result.trial.phase])

    def position(self, stretch: int, number: int) -> Step:
        """A step by its number; of a window with pauses for evaluation, stretches are the log's epochs."""
        return [stretch, number] if any(len(window.spans_ns) > 1 for window in self.result.windows) else number

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
        name = {} if self.result.device_name is None else {"device_name": self.result.device_name}
        return {"trial_id": self.result.trial_id, **name, **told, **sizes, **used}

    def steps(self) -> Iterator[dict[str, float | str]]:
        """The raw values of each step, the warm-up first; series that have no value a step follow in their order."""
        columns: dict[str, list[float | None]] = {}
        window = whole_window(self.result)
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


def places(result: TrialResult) -> Iterator[tuple[int, int, datetime]]:
    """Stretch, number and date of each step, counted from 1 with the warm-up's; none of a record without times.

    A stretch that no step comes before begins with a line of the step before it, so that what it took can be read from
    its lines alone.
    """
    clock, window = clock_of(result), whole_window(result)
    if clock is None or window is None:
        return
    begin_ns, number = warmup_start_ns(window), window.warmup_steps
    lead_ns = window.spans_ns[0][0] - begin_ns
    # When each step of the warm-up began, no record has: they are spread evenly.
    yield from ((1, step, clock.at(begin_ns + lead_ns * step // number)) for step in range(1, number + 1))
    series = {each.name: each.values for each in result.measurements if each.rank == window.rank}
    each_ms = map(sum, zip(series.get("data_wait_ms", ()), series.get("step_ms", ()), strict=False))
    for stretch, (span, steps) in enumerate(zip(window.spans_ns, stretch_steps(window), strict=False), start=1):
        if stretch > 1 or not number:
            yield stretch, number, clock.at(span[0])
        for step, end_ns in enumerate(ends_ns(span, list(islice(each_ms, steps)), steps), start=number + 1):
            yield stretch, step, clock.at(end_ns)
        number += steps


def ends_ns(span: tuple[int, int], taken_ms: Sequence[float], steps: int) -> Iterator[int]:
    """When the steps of a stretch ended: one after another by the host's times, spread evenly without those.

    The last one ends with the stretch.
    """
    start_ns, end_ns = span
    moment_ns = float(start_ns)
    for step in range(1, steps):
        even_ns = (end_ns - start_ns) / steps
        moment_ns += taken_ms[step - 1] * NS_PER_MS if len(taken_ms) == steps else even_ns
        yield min(round(moment_ns), end_ns - NS_PER_US)
    if steps:
        yield end_ns
