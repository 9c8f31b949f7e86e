"""A matrix, the installed backends and this machine make a plan: every point, and why some will not run."""

import gc
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from harness.matrix.blocks import Family, families
from harness.matrix.feasible import device_for, why_not
from harness.matrix.match import FIELDS, Condition, Conditions, known_names, value_of
from harness.matrix.model import Matrix
from harness.matrix.near import suggest
from harness.matrix.source import shown
from harness.schema.backend import BackendInfo
from harness.schema.system import Machine
from harness.schema.trial import Trial


class Point(NamedTuple):
    """One trial; the rule that drops it, or why it cannot run here, or neither: then it will run."""

    trial: Trial
    dropped_by: str | None = None
    unsupported: str | None = None
    stand_in: Trial | None = None
    """What runs instead, where the plan is rehearsed."""

    @property
    def runs(self) -> bool:
        """Whether it will run."""
        return self.dropped_by is None and self.unsupported is None


@dataclass(frozen=True, slots=True)
class Plan:
    """All points in the order in which they run: one round of every point, then the next repeat."""

    points: tuple[Point, ...]


class _Rule(NamedTuple):
    text: str
    conditions: Conditions


def expand(matrix: Matrix, backends: Mapping[str, BackendInfo], machine: Machine) -> Plan:
    """Make every point of a matrix.

    Blocks follow one another as written; in a block the phases, then the rows of zip, then the axes as written, the
    last varying fastest. Repeats are rounds over all of it, so that a slow drift of the machine meets all points alike.

    Raises:
        MatrixError: a backend, phase, key or value that does not exist, a point that stands twice, or a rule of
            `exclude` that matches no point.
    """
    blocks = families(matrix, backends)
    with _collector_paused():
        trials = [list(_trials(family, machine)) for family in blocks]
        _refuse_twins(matrix, blocks, trials)
        rules = _rules(matrix, [trial for family in trials for trial in family])
        first = [
            (family.repeats, list(_judged(family, made, rules, machine)))
            for family, made in zip(blocks, trials, strict=True)
        ]
        return Plan(tuple(_in_rounds(first)))


@contextmanager
def _collector_paused() -> Iterator[None]:
    """What expanding makes lives on in the plan; the garbage collector would walk it again and again for nothing."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _trials(family: Family, machine: Machine) -> Iterator[Trial]:
    """The trials of a family, once each; values were checked one by one, so that no trial is checked again."""
    for update in family.updates():
        gpus = update.get("gpus", family.base.gpus)
        update["device"] = device_for(family.device, gpus, family.info, machine)
        yield _like(family.base, update)


def _like(base: Trial, update: dict[str, Any]) -> Trial:
    """The same trial but for some fields; what model_construct does, without looking up every default anew."""
    trial = Trial.__new__(Trial)
    object.__setattr__(trial, "__dict__", {**base.__dict__, **update})
    object.__setattr__(trial, "__pydantic_fields_set__", base.__pydantic_fields_set__)
    object.__setattr__(trial, "__pydantic_extra__", None)
    object.__setattr__(trial, "__pydantic_private__", None)
    return trial


def _in_rounds(first: Sequence[tuple[int, Sequence[Point]]]) -> Iterator[Point]:
    """The points of the first round, then again those that repeat, round by round."""
    for each in range(max(repeats for repeats, _ in first)):
        for repeats, points in first:
            if each == 0:
                yield from points
            elif each < repeats:
                yield from (point._replace(trial=_like(point.trial, {"repeat": each})) for point in points)


def _judged(family: Family, trials: Sequence[Trial], rules: Sequence[_Rule], machine: Machine) -> Iterator[Point]:
    """Each trial with the first rule that drops it, else with the reason why it cannot run here."""
    known: dict[tuple[object, ...], str | None] = {}
    for trial in trials:
        dropped_by = next((rule.text for rule in rules if rule.conditions.hold(trial)), None)
        if dropped_by is not None:
            yield Point(trial, dropped_by)
            continue
        key = (trial.device, trial.gpus, trial.nodes, trial.launcher, trial.precision, trial.xla)
        if key not in known:
            known[key] = why_not(trial, family.info, machine, family.requires)
        yield Point(trial, None, known[key])


def _rules(matrix: Matrix, trials: Sequence[Trial]) -> list[_Rule]:
    names = known_names(trials) if matrix.exclude else set()
    rules = []
    for index, rule in enumerate(matrix.exclude):
        for name in rule.when:
            if name not in names or name == "repeat":
                problem = f"unknown key {shown(name)}; {suggest(name, names - {'repeat'})}"
                matrix.source.fail(("exclude", index, "when", name), problem, at_key=True)
        conditions = Conditions(Condition(name, wanted) for name, wanted in rule.when.items())
        rules.append(_Rule(f"exclude[{index}]: {' '.join(rule.because.split())}", conditions))
        if not any(conditions.hold(trial) for trial in trials):
            matrix.source.fail(("exclude", index), _matches_nothing(conditions.all, trials))
    return rules


def _matches_nothing(conditions: Sequence[Condition], trials: Sequence[Trial]) -> str:
    """Name the conditions that no point meets; each may match while no point meets them together."""
    alone = [condition for condition in conditions if not any(condition.holds(trial) for trial in trials)]
    if not alone:
        return f"rule matches none of {len(trials)} points, though each of its keys does; correct it or remove it"
    name = alone[0].name
    values = {shown(value_of(trial, name)) for trial in trials if name in trial.options or name in FIELDS}
    has = ", ".join(sorted(values)[:10])
    return f"rule matches none of {len(trials)} points: no point has {alone[0]}; points have {has}"


def _refuse_twins(matrix: Matrix, blocks: Sequence[Family], trials: Sequence[Sequence[Trial]]) -> None:
    """A point may stand in one block alone; only blocks of one backend and phase can share one."""
    alike = Counter((family.base.backend, family.base.phase) for family in blocks)
    seen: dict[str, int] = {}
    for family, made in zip(blocks, trials, strict=True):
        if alike[family.base.backend, family.base.phase] == 1:
            continue
        for trial in made:
            other = seen.setdefault(trial.identity(), family.block)
            if other != family.block:
                problem = f"makes the same point as trials[{other}]: {trial.trial_id}; keep it in one of the two"
                matrix.source.fail(("trials", family.block), problem)
