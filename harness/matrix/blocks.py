"""One block of a matrix, checked against its backend and laid out as a base trial and the factors to cross."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, product
from typing import Any, NamedTuple, NoReturn, TypeVar

from harness.matrix.model import (
    ENDLESS_ONLY,
    EVAL_ONLY,
    TRAIN_ONLY,
    Axes,
    Block,
    DeviceChoice,
    Matrix,
    Requires,
    Settings,
    Zip,
)
from harness.matrix.near import one_of, suggest
from harness.matrix.options import check_option
from harness.matrix.pace import find_nonsense
from harness.matrix.source import KeyPath, Source, shown
from harness.schema.backend import BackendInfo, Option
from harness.schema.record import Record
from harness.schema.trial import OptionValue, Phase, Trial

PHASES: tuple[Phase, ...] = ("train", "eval", "infer")
_SHARED = frozenset(Settings.model_fields)

R = TypeVar("R", bound=Record)


class Factor(NamedTuple):
    """Axes that go in step (one alone, or those of zip): their names, and one row of values for each step."""

    names: tuple[str, ...]
    rows: tuple[tuple[OptionValue, ...], ...]


@dataclass(frozen=True, slots=True)
class Family:
    """The points of one block in one phase: a base trial, and factors whose rows replace its values."""

    block: int
    info: BackendInfo
    base: Trial
    factors: tuple[Factor, ...]
    repeats: int
    device: DeviceChoice
    requires: Requires

    def updates(self) -> Iterator[dict[str, Any]]:
        """What each point changes in the base trial, the last factor varying fastest."""
        names = [name for factor in self.factors for name in factor.names]
        varied = [name for name in names if name not in _SHARED]
        for rows in product(*(factor.rows for factor in self.factors)):
            update: dict[str, Any] = dict(zip(names, chain.from_iterable(rows), strict=True))
            if varied:
                options = update["options"] = self.base.options.copy()
                options.update((name, update.pop(name)) for name in varied)
            yield update


def families(matrix: Matrix, backends: Mapping[str, BackendInfo]) -> list[Family]:
    """Check every block against its backend and lay it out, phase by phase.

    Raises:
        MatrixError: a backend, phase, key or value that does not exist.
    """
    infos = [_backend(matrix.source, index, block, backends) for index, block in enumerate(matrix.trials)]
    _check_defaults(matrix, infos)
    return [
        family
        for index, (block, info) in enumerate(zip(matrix.trials, infos, strict=True))
        for family in _Layout(matrix, index, block, info).families()
    ]


class _Layout:
    """One block with its backend, while it is checked and laid out."""

    def __init__(self, matrix: Matrix, index: int, block: Block, info: BackendInfo) -> None:
        self.matrix = matrix
        self.index = index
        self.path: KeyPath = ("trials", index)
        self.block = block
        self.info = info

    def families(self) -> Iterator[Family]:
        factors = self.factors()
        fixed = self.fixed()
        varied = {name for factor in factors for name in factor.names}
        for name in sorted(varied & fixed.keys()):
            place = "axes" if name in dict(self.block.axes.items()) else "zip"
            self.fail((name,), f"{name} is fixed here and varied in {place}; keep one of the two", at_key=True)
        for phase in self.block.phase:
            values = {**self.defaults(phase), **self.in_phase(fixed, phase)}
            self.check_pace(values)
            yield self.family(phase, values, factors)

    def check_pace(self, values: dict[str, Any]) -> None:
        """Refuse numbers of steps that contradict one another, where the block or the defaults have them."""
        if nonsense := find_nonsense({name: value for name, value in values.items() if name in _SHARED}):
            own = nonsense.name in self.block.model_fields_set
            path = (*self.path, nonsense.name) if own else ("defaults", nonsense.name)
            self.matrix.source.fail(path, nonsense.problem)

    def family(self, phase: Phase, values: dict[str, Any], factors: tuple[Factor, ...]) -> Family:
        """The points of one phase; the base trial has the first value of each axis."""
        given = {option.name: option.default for option in self.info.options if phase in option.phases}
        given |= {name: value for name, value in values.items() if name not in _SHARED}
        first = {name: value for names, rows in factors for name, value in zip(names, rows[0], strict=True)}
        given |= {name: value for name, value in first.items() if name not in _SHARED}
        settings = {name: value for name, value in {**values, **first}.items() if name in _SHARED}
        repeats = settings.pop("repeats", 1)
        base = Trial(
            backend=self.info.name,
            phase=phase,
            data=_merged(self.matrix.data, self.block.data),
            options=dict(sorted(given.items())),
            **settings,
        )
        requires = _merged(self.matrix.requires, self.block.requires)
        return Family(self.index, self.info, base, factors, repeats, self.block.device or self.matrix.device, requires)

    def factors(self) -> tuple[Factor, ...]:
        """The rows of zip as one factor, then each axis as one."""
        zipped = self.varied("zip", self.block.zip)
        axes = self.varied("axes", self.block.axes)
        for name in axes.keys() & zipped.keys():
            self.fail(("zip", name), f"{name} stands in axes and in zip; keep one of the two", at_key=True)
        crossed = [Factor((name,), tuple((value,) for value in values)) for name, values in axes.items()]
        return tuple(([self.rows(zipped)] if zipped else []) + crossed)

    def rows(self, zipped: dict[str, tuple[OptionValue, ...]]) -> Factor:
        lengths = {name: len(values) for name, values in zipped.items()}
        if len(set(lengths.values())) > 1:
            spelled = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            self.fail(("zip",), f"lists of unequal length: {spelled}; right would be as many values in each")
        rows = tuple(zip(*zipped.values(), strict=True))
        first: dict[tuple[OptionValue, ...], int] = {}
        for place, row in enumerate(rows):
            if first.setdefault(row, place) != place:
                problem = f"row {place + 1} repeats row {first[row] + 1}; keep one of the two"
                self.fail(("zip", next(iter(zipped)), place), problem)
        return Factor(tuple(zipped), rows)

    def varied(self, place: str, axes: Axes | Zip) -> dict[str, tuple[OptionValue, ...]]:
        """The axes of one place with the options' values as their options have them."""
        values = {}
        for name, listed in axes.items():
            path = (place, name)
            if name in _SHARED and name not in Axes.model_fields:
                self.fail(path, f"{name} is no axis; write it beside axes, one value for the block", at_key=True)
            phases = self.phases_of(path, name)
            if missing := [phase for phase in self.block.phase if phase not in phases]:
                problem = f"{name} belongs to {one_of(phases)}, this block also has {one_of(missing)}; split the block"
                self.fail(path, problem, at_key=True)
            values[name] = tuple(self.value((*path, i), name, value) for i, value in enumerate(listed))
            if place == "axes" and len(set(values[name])) < len(listed):
                self.fail(path, f"two values are the same number once option {name} has them; keep one of the two")
        return values

    def fixed(self) -> dict[str, Any]:
        """What the block itself fixes."""
        given = {name: getattr(self.block, name) for name in _SHARED & self.block.model_fields_set}
        given |= {name: self.value((name,), name, value) for name, value in extras(self.block).items()}
        for name in given:
            phases = self.phases_of((name,), name)
            if not set(phases) & set(self.block.phase):
                problem = f"{name} belongs to {one_of(phases)}; this block has {one_of(self.block.phase)}"
                self.fail((name,), problem, at_key=True)
        return given

    def defaults(self, phase: Phase) -> dict[str, Any]:
        """What the matrix's defaults give to this phase of this backend."""
        shared = self.matrix.defaults
        given = {name: getattr(shared, name) for name in _SHARED & shared.model_fields_set}
        for name, value in extras(shared).items():
            if option := self.info.option(name):
                given[name] = convert(self.matrix.source, ("defaults", name), option, value, self.info)
        return self.in_phase(given, phase)

    def in_phase(self, values: dict[str, Any], phase: Phase) -> dict[str, Any]:
        return {name: value for name, value in values.items() if phase in self.phases_of((name,), name)}

    def phases_of(self, path: KeyPath, name: str) -> tuple[Phase, ...]:
        """The phases in which a key means something."""
        if name in _SHARED:
            return _phases_of_setting(name)
        option = self.info.option(name)
        if option is None:
            own = Axes.model_fields if len(path) > 1 else Block.model_fields
            self.fail(path, unknown(name, {*own, *(each.name for each in self.info.options)}), at_key=True)
        return option.phases

    def value(self, path: KeyPath, name: str, value: OptionValue) -> OptionValue:
        option = self.info.option(name)
        if option is None or name in _SHARED:
            return value
        return convert(self.matrix.source, (*self.path, *path), option, value, self.info)

    def fail(self, path: KeyPath, problem: str, *, at_key: bool = False) -> NoReturn:
        self.matrix.source.fail((*self.path, *path), problem, at_key=at_key)


def _phases_of_setting(name: str) -> tuple[Phase, ...]:
    if name in ENDLESS_ONLY:
        return ("train", "infer")
    return ("train",) if name in TRAIN_ONLY else ("eval",) if name in EVAL_ONLY else PHASES


def _backend(source: Source, index: int, block: Block, backends: Mapping[str, BackendInfo]) -> BackendInfo:
    path = ("trials", index)
    if block.backend not in backends:
        problem = f"backend {shown(block.backend)} is not installed; {suggest(block.backend, backends)}"
        source.fail((*path, "backend"), problem)
    info = backends[block.backend]
    for place, phase in enumerate(block.phase):
        if phase not in info.phases:
            problem = f"{info.name} has no phase {phase}; it has {', '.join(info.phases)}"
            source.fail((*path, "phase", place), problem)
    return info


def _check_defaults(matrix: Matrix, infos: list[BackendInfo]) -> None:
    """An option in the defaults goes to the backends that have it; one that none has is unknown."""
    known = {*_SHARED, *(option.name for info in infos for option in info.options)}
    for name in extras(matrix.defaults):
        if name not in known:
            matrix.source.fail(("defaults", name), unknown(name, known), at_key=True)


def convert(source: Source, path: KeyPath, option: Option, value: OptionValue, info: BackendInfo) -> OptionValue:
    """The value as the option has it.

    Raises:
        MatrixError: a value that the option does not take.
    """
    try:
        return check_option(option, value)
    except ValueError as error:
        source.fail(path, f"{error} ({info.name})", cause=error)


def unknown(name: str, known: set[str]) -> str:
    """The problem of a key that is neither a setting nor an option."""
    return f"unknown key {shown(name)}; {suggest(name, known)}"


def extras(settings: Settings) -> dict[str, OptionValue]:
    """The keys that are no settings: options of a backend, or mistakes."""
    return dict(settings.model_extra or {})


def _merged(shared: R, own: R | None) -> R:
    """The matrix's record with what a block gives itself."""
    return (
        shared if own is None else shared.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})
    )
