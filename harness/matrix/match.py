"""Whether a trial meets conditions: the one matcher of `exclude` rules and of `--only`.

A condition names a field of the trial or an option, and what it may be, any of several:

- a number, true, false or null: equal, and a boolean equals no number;
- a text: equal, or a pattern with * ? [abc] as in file names, case counts;
- a text such as >=4, <0.1: a number that compares so.

A trial that has no such option meets no condition on it, nor its opposite.
"""

import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from harness.matrix.source import shown
from harness.schema.trial import OptionValue, Trial

FIELDS = tuple(name for name in Trial.model_fields if name not in ("data", "target", "options"))
"""Fields of a trial that hold one plain value."""

_COMPARISON = re.compile(r"(>=|<=|>|<)\s*([-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)")
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One key with the values it may have; `negated`: the values it must not have."""

    name: str
    wanted: tuple[OptionValue, ...]
    negated: bool = False

    def holds(self, trial: Trial) -> bool:
        """Whether the trial meets it."""
        if self.name not in FIELDS and self.name not in trial.options:
            return False
        value = value_of(trial, self.name)
        return any(_equals(wanted, value) for wanted in self.wanted) is not self.negated

    def __str__(self) -> str:
        """The condition as `--only` spells it."""
        values = ",".join(dict.fromkeys(want if isinstance(want, str) else shown(want) for want in self.wanted))
        return f"{self.name}{'!=' if self.negated else '='}{values}"


class Conditions:
    """Conditions that must all hold; trials that are alike in what the conditions look at are judged once."""

    def __init__(self, conditions: Iterable[Condition]) -> None:
        """Take the conditions; with none, every trial meets them."""
        self.all = tuple(conditions)
        names = [condition.name for condition in self.all]
        # Backend and phase decide which options a trial has, and of which type.
        self._fields = operator.attrgetter("backend", "phase", *(name for name in names if name in FIELDS))
        self._options = [name for name in names if name not in FIELDS]
        self._known: dict[tuple[object, ...], bool] = {}

    def hold(self, trial: Trial) -> bool:
        """Whether the trial meets every condition."""
        key = self._fields(trial)
        if self._options:
            key += tuple(map(trial.options.get, self._options))
        if key not in self._known:
            self._known[key] = all(condition.holds(trial) for condition in self.all)
        return self._known[key]


def value_of(trial: Trial, name: str) -> OptionValue:
    """The value of a field or of an option; None where the trial has no such option."""
    value: OptionValue = getattr(trial, name) if name in FIELDS else trial.options.get(name)
    return value


def known_names(trials: Iterable[Trial]) -> set[str]:
    """The names on which a condition about these trials can be."""
    options: set[str] = set()
    for trial in trials:
        options.update(trial.options)
    return options.union(FIELDS)


def _equals(wanted: OptionValue, value: OptionValue) -> bool:
    if isinstance(wanted, bool) or isinstance(value, bool):
        return wanted is value
    if isinstance(wanted, str) and isinstance(value, str):
        return wanted == value or fnmatchcase(value, wanted)
    if isinstance(wanted, str) and isinstance(value, int | float) and (found := _COMPARISON.fullmatch(wanted)):
        return _OPERATORS[found[1]](value, float(found[2]))
    return wanted == value
