"""A plan for a person, and as JSON: what will run, what a rule drops, what this machine cannot do and why."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from pydantic import Field

from harness.matrix.match import FIELDS, value_of
from harness.matrix.plan import Plan, Point
from harness.matrix.source import shown
from harness.schema.record import Record
from harness.schema.trial import OptionValue, Trial
from harness.units import format_duration

_IN_ID = {"backend", "phase", "device", "gpus", "nodes", "batch_size_per_gpu", "precision", "xla", "repeat"}


class PlannedPoint(Record):
    """One point of a plan."""

    trial_id: str
    status: Literal["runs", "dropped", "unsupported"]
    reason: str | None = Field(description="the rule that drops it, or why it cannot run here; null where it runs")
    estimated_s: float | None = Field(description="seconds it will take, where an earlier result tells; else null")
    trial: Trial
    stand_in: Trial | None = Field(None, description="what runs instead, in a rehearsal")


class PlanTotals(Record):
    """How many points there are of each status, and what is known of the time."""

    points: int
    runs: int
    dropped: int
    unsupported: int
    estimated_s: float | None = Field(
        description="seconds of the points that run, as far as estimated; null without any"
    )
    without_estimate: int = Field(description="points that run and have no estimate")


class PlanReport(Record):
    """What `harness plan --json` prints.

    History of schema_version: 1, first.
    """

    schema_version: Literal[1] = 1
    totals: PlanTotals
    points: tuple[PlannedPoint, ...]


def plan_report(plan: Plan, estimates: Mapping[str, float] | None = None) -> PlanReport:
    """The plan as a record; `estimates` are seconds by trial id."""
    known = estimates or {}
    return PlanReport(totals=plan_totals(plan, known), points=tuple(_planned(point, known) for point in plan.points))


def plan_json(plan: Plan, estimates: Mapping[str, float] | None = None) -> str:
    """The plan as JSON that `docs/schema/plan.json` describes; the same plan gives the same text."""
    return plan_report(plan, estimates).model_dump_json(indent=2)


def plan_schema() -> str:
    """The JSON schema of `plan --json`, as `docs/schema/plan.json` holds it."""
    return json.dumps(PlanReport.model_json_schema(mode="serialization"), indent=2) + "\n"


def plan_totals(plan: Plan, estimates: Mapping[str, float]) -> PlanTotals:
    """Count the points of each status and add up what is known of the time."""
    running = [point.trial.trial_id for point in plan.points if point.runs] if estimates else []
    known = [estimates[trial_id] for trial_id in running if trial_id in estimates]
    runs = sum(point.runs for point in plan.points)
    dropped = sum(point.dropped_by is not None for point in plan.points)
    return PlanTotals(
        points=len(plan.points),
        runs=runs,
        dropped=dropped,
        unsupported=len(plan.points) - runs - dropped,
        estimated_s=sum(known) if known else None,
        without_estimate=runs - len(known),
    )


def plan_table(plan: Plan, estimates: Mapping[str, float] | None = None) -> list[str]:
    """The lines that `harness plan` prints; `estimates` are seconds by trial id.

    Beside a trial's id stand the values that tell it from its like and that the id does not spell.
    """
    known = estimates or {}
    totals = plan_totals(plan, known)
    names = _telling(plan)
    running = [point for point in plan.points if point.runs]
    lines = [f"will run: {totals.runs} of {_points(totals.points)}{_stand_ins(running)}{_time(totals)}"]
    lines += _aligned(running, names, known, indent=2)
    lines += _grouped("dropped by a rule", totals.dropped, [(p.dropped_by, p) for p in plan.points], names)
    lines += _grouped("cannot run here", totals.unsupported, [(p.unsupported, p) for p in plan.points], names)
    return lines


def _planned(point: Point, estimates: Mapping[str, float]) -> PlannedPoint:
    trial_id = point.trial.trial_id
    return PlannedPoint(
        trial_id=trial_id,
        status="runs" if point.runs else "dropped" if point.dropped_by is not None else "unsupported",
        reason=point.dropped_by or point.unsupported,
        estimated_s=estimates.get(trial_id) if point.runs else None,
        trial=point.trial,
        stand_in=point.stand_in if point.runs else None,
    )


def _stand_ins(points: Sequence[Point]) -> str:
    """How many trials a rehearsal runs for these points."""
    count = len({point.stand_in.trial_id for point in points if point.stand_in is not None})
    return f", rehearsed by {count} small {'trial' if count == 1 else 'trials'}" if count else ""


def _time(totals: PlanTotals) -> str:
    if totals.estimated_s is None:
        return ""
    about = format_duration(totals.estimated_s)
    if totals.without_estimate == 0:
        return f", about {about}"
    return f", about {about} and {_points(totals.without_estimate)} of unknown time"


def _grouped(title: str, count: int, reasoned: Iterable[tuple[str | None, Point]], names: Sequence[str]) -> list[str]:
    """The points under their reasons, each reason once, in the order of its first point."""
    if not count:
        return []
    by_reason: dict[str, list[Point]] = {}
    for reason, point in reasoned:
        if reason is not None:
            by_reason.setdefault(reason, []).append(point)
    lines = [f"{title}: {_points(count)}"]
    for reason, points in by_reason.items():
        lines += [f"  {reason} ({_points(len(points))})", *_aligned(points, names, {}, indent=4)]
    return lines


def _aligned(points: Sequence[Point], names: Sequence[str], estimates: Mapping[str, float], indent: int) -> list[str]:
    rows = [(point.trial.trial_id, _told(point, names)) for point in points]
    wide = max((len(trial_id) for trial_id, _ in rows), default=0)
    times = (f"~{format_duration(estimates[each])}" if each in estimates else "" for each, _ in rows)
    return [
        " " * indent + "  ".join(part for part in (trial_id.ljust(wide), values, time) if part).rstrip()
        for (trial_id, values), time in zip(rows, times, strict=True)
    ]


def _told(point: Point, names: Sequence[str]) -> str:
    """What tells a point from its like, and what is run in its place."""
    stand_in = [] if point.stand_in is None else [f"as {point.stand_in.size}"]
    return " ".join(filter(None, [_values(point.trial, names), *stand_in]))


def _values(trial: Trial, names: Sequence[str]) -> str:
    pairs = ((name, value_of(trial, name)) for name in names)
    return " ".join(f"{name}={value if isinstance(value, str) else shown(value)}" for name, value in pairs)


def _telling(plan: Plan) -> list[str]:
    """The fields and options that differ between points of one backend and phase and that an id does not spell."""
    seen: dict[tuple[str, str, str], set[OptionValue]] = {}
    for point in plan.points:
        trial = point.trial
        for name in (*(field for field in FIELDS if field not in _IN_ID), *trial.options):
            seen.setdefault((trial.backend, trial.phase, name), set()).add(value_of(trial, name))
    return list(dict.fromkeys(name for (_, _, name), values in seen.items() if len(values) > 1))


def _points(count: int) -> str:
    return "1 point" if count == 1 else f"{count:,} points"
