"""The points that `--only` asks for: conditions, set apart by spaces or commas, all of which must hold.

    expression  condition {(space | comma) condition}
    condition   name ("=" | "!=") value {comma value}     any of these values; with !=, none of them
                name (">=" | "<=" | ">" | "<") number
    name        a field of a trial (backend, phase, gpus, repeat, …), an option of a backend, or trial_id
    value       a number, true, false, null, or text that may hold the wildcards * ? [abc];
                of trial_id also its beginning or its end

For instance: backend=torch_* phase=infer batch_size_per_gpu=1,2 precision!=tf32
"""

import re
from fnmatch import fnmatchcase

from harness.errors import MatrixError
from harness.matrix.loading import scalar_of
from harness.matrix.match import Condition, Conditions, known_names
from harness.matrix.near import suggest
from harness.matrix.plan import Plan
from harness.matrix.source import shown
from harness.schema.trial import OptionValue

TRIAL_ID = "trial_id"
"""No field of a trial: it follows from all of them."""

_CONDITION = re.compile(r"(\w+)(!=|>=|<=|=|>|<)(.+)")


def select(plan: Plan, expr: str) -> Plan:
    """Keep the points that meet every condition of an expression.

    Raises:
        MatrixError: the expression cannot be read, names an unknown field, or no point meets it.
    """
    given = parse_only(expr)
    ids = [condition for condition in given if condition.name == TRIAL_ID]
    conditions = Conditions(condition for condition in given if condition.name != TRIAL_ID)
    names = known_names(point.trial for point in plan.points) | {TRIAL_ID}
    for condition in conditions.all:
        if condition.name not in names:
            raise MatrixError(f"--only: unknown field {shown(condition.name)}; {suggest(condition.name, names)}")
    kept = tuple(point for point in plan.points if conditions.hold(point.trial))
    if ids:
        kept = tuple(point for point in kept if all(_fits(each, point.trial.trial_id) for each in ids))
    if not kept:
        spelled = " ".join(map(str, given))
        raise MatrixError(f"--only: none of {len(plan.points)} points meets {spelled}; `harness plan` lists them")
    return Plan(kept)


def parse_only(expr: str) -> list[Condition]:
    """Read the conditions of an expression, at least one.

    Raises:
        MatrixError: it holds no condition, or something that is none.
    """
    conditions: list[Condition] = []
    for word in expr.split():
        continued = False
        for part in filter(None, word.split(",")):
            if found := _CONDITION.fullmatch(part):
                conditions.append(_condition(*found.groups()))
            elif continued and _takes_more(conditions[-1]):
                last = conditions[-1]
                conditions[-1] = Condition(last.name, last.wanted + _values(part), last.negated)
            else:
                raise MatrixError(f"--only: {part!r} is no condition; right would be name=value, as phase=infer")
            continued = True
    if not conditions:
        raise MatrixError("--only: no condition in it; right would be name=value, as phase=infer")
    return conditions


def _fits(condition: Condition, trial_id: str) -> bool:
    """Whether an id is one of those wanted, begins or ends with one, or fits its pattern."""
    wanted = [each for each in condition.wanted if isinstance(each, str)]
    found = any(trial_id.startswith(each) or trial_id.endswith(each) or fnmatchcase(trial_id, each) for each in wanted)
    return found is not condition.negated


def _condition(name: str, sign: str, text: str) -> Condition:
    if sign in ("=", "!="):
        return Condition(name, _values(text), negated=sign == "!=")
    if isinstance(number := scalar_of(text), bool) or not isinstance(number, int | float):
        raise MatrixError(f"--only: {name}{sign}{text} compares with no number; right would be as gpus>=2")
    return Condition(name, (f"{sign}{text}",))


def _values(text: str) -> tuple[OptionValue, ...]:
    """The value a matrix file would read, and the text itself for options that are text."""
    value = scalar_of(text)
    return (text,) if isinstance(value, str) else (value, text)


def _takes_more(condition: Condition) -> bool:
    first = condition.wanted[0]
    return not (isinstance(first, str) and first[:1] in ("<", ">"))
