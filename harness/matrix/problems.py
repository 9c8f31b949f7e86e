"""Turn what pydantic finds in a matrix into one line: what was found, where, what would be right."""

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from harness.matrix.model import CAPABILITY, Axes, Block, Exclude, Matrix, Requires, Settings
from harness.matrix.near import near_names, one_of, suggest
from harness.matrix.source import KeyPath, Source, shown
from harness.schema.record import Record
from harness.schema.trial import NAME, DataNames, Target

_PATTERNS = {
    NAME: "letters, digits, dots, dashes and underscores, a letter or digit first",
    CAPABILITY: 'two numbers in quotes, as "8.0"',
}
_RIGHT: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "int_type": lambda _: "a whole number",
    "int_from_float": lambda _: "a whole number",
    "float_type": lambda _: "a number",
    "bool_type": lambda _: "true or false",
    "string_type": lambda _: "text; quote it if it looks like a number",
    "tuple_type": lambda _: "a list",
    "dict_type": lambda _: "keys with values",
    "model_type": lambda _: "keys with values",
    "greater_than": lambda context: f"more than {context['gt']:g}",
    "less_than": lambda context: f"less than {context['lt']:g}",
    "greater_than_equal": lambda context: f"at least {context['ge']:g}",
    "literal_error": lambda context: str(context["expected"]).replace("'", ""),
    "string_too_short": lambda _: "some text",
    "string_pattern_mismatch": lambda context: _PATTERNS[context["pattern"]],
}


def parse_matrix(value: object, source: Source) -> Matrix:
    """Make a matrix of plain values (dicts, tuples, scalars).

    Raises:
        MatrixError: the first problem in the order of the file.
    """
    try:
        return Matrix.model_validate(value, strict=True).located(source)
    except ValidationError as error:
        fail_first(error, source)


def fail_first(error: ValidationError, source: Source) -> NoReturn:
    """Raise the line for the first problem that pydantic found.

    Raises:
        MatrixError: always.
    """
    details = min(error.errors(include_url=False), key=lambda each: _position(source, each))
    path = _path(details)
    kind = details["type"]
    if kind == "missing":
        _fail_missing(path, details["input"], source)
    if kind == "extra_forbidden":
        source.fail(path, f"unknown key {shown(path[-1])}; {suggest(str(path[-1]), _keys(path))}", at_key=True)
    if isinstance(details["input"], tuple | dict) and (near := _near_setting(path)):
        source.fail(path, f"unknown key {shown(path[-1])}; did you mean {one_of(near)}?", at_key=True)
    if kind == "value_error":
        source.fail(path, str(details["ctx"]["error"]))
    right = _RIGHT[kind](details.get("ctx", {})) if kind in _RIGHT else details["msg"].lower()
    is_axis = isinstance(details["input"], tuple) and not {*path[-1:]}.isdisjoint(Axes.model_fields)
    hint = "; a list belongs under axes" if is_axis else ""
    source.fail(path, f"found {shown(details['input'])}; right would be {right}{hint}")


def _position(source: Source, details: ErrorDetails) -> tuple[int, int]:
    mark = source.mark(_path(details))
    return (mark.line, mark.column) if mark else (0, 0)


def _path(details: ErrorDetails) -> KeyPath:
    """The key path of a problem; pydantic adds '[key]' for the key of a mapping."""
    return tuple(part for part in details["loc"] if part != "[key]")


def _keys(path: KeyPath) -> list[str]:
    """The keys that may stand beside an unknown one."""
    names = [part for part in path[:-1] if isinstance(part, str)]
    places: dict[str, type[Record]] = {"requires": Requires, "data": DataNames, "target": Target, "exclude": Exclude}
    model = places.get(names[-1], Matrix) if names else Matrix
    return list(model.model_fields)


def _near_setting(path: KeyPath) -> list[str]:
    """The settings near to a key that a block or the defaults do not know, and that can be no option for its value."""
    name = str(path[-1]) if path else ""
    block = len(path) == 3 and path[0] == "trials"
    fields = Block.model_fields if block else Settings.model_fields if path[:-1] == ("defaults",) else {}
    return [] if name in fields else near_names(name, fields)


def _fail_missing(path: KeyPath, siblings: Mapping[str, object], source: Source) -> NoReturn:
    """A key that is missing may stand beside itself, misspelt."""
    models: dict[str, type[Record]] = {"backend": Block, "phase": Block, "when": Exclude, "because": Exclude}
    name = str(path[-1])
    fields = models.get(name, Matrix).model_fields
    if near := near_names(name, siblings.keys() - fields.keys()):
        source.fail((*path[:-1], near[0]), f"unknown key {shown(near[0])}; did you mean {name}?", at_key=True)
    source.fail(path[:-1], f"key {name} is missing; it is: {fields[name].description}")
