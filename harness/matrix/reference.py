"""The parts of the documentation that the models decide: tables of keys, and the JSON schema of `plan --json`.

`python -m harness.matrix.reference docs` rewrites them in a folder.
"""

import sys
from pathlib import Path
from typing import Any, get_args

from pydantic.fields import FieldInfo

from harness.matrix.listing import plan_schema
from harness.matrix.model import ENDLESS_ONLY, EVAL_ONLY, TRAIN_ONLY, Axes, Block, Exclude, Matrix, Requires, Settings
from harness.schema.record import Record
from harness.schema.trial import DataNames

TABLES: dict[str, type[Record]] = {
    "matrix": Matrix,
    "requires": Requires,
    "settings": Settings,
    "trials": Block,
    "exclude": Exclude,
}
"""The model behind each generated table of docs/matrix.md, by the name in its marker."""

_TYPES = {
    "bool": "true or false",
    "float": "number",
    "int": "whole number",
    "str": "text",
}


def table(model: type[Record]) -> str:
    """A markdown table of a model's own keys: type, default, meaning."""
    inherited = {name for base in model.__bases__ if issubclass(base, Record) for name in base.model_fields}
    own = {name: field for name, field in model.model_fields.items() if name not in inherited}
    rows = [
        f"| `{name}` | {_type(field.annotation)} | {_default(field)} | {_meaning(name, field)} |"
        for name, field in own.items()
    ]
    return "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *rows])


def axes() -> str:
    """The axes that every backend has, as a sentence would list them."""
    return ", ".join(f"`{name}`" for name in Axes.model_fields)


def rewritten(page: str) -> str:
    """The page with every generated part as the models now have it."""
    parts = {name: f"\n{table(model)}\n" for name, model in TABLES.items()} | {"axes": f"\n{axes()}\n"}
    for name, text in parts.items():
        start, end = f"<!-- generated: {name} -->", f"<!-- end: {name} -->"
        before, _, rest = page.partition(start)
        _, _, after = rest.partition(end)
        page = f"{before}{start}{text}{end}{after}"
    return page


def write(folder: Path) -> None:
    """Rewrite docs/matrix.md and docs/schema/plan.json under a folder."""
    page = folder / "matrix.md"
    page.write_text(rewritten(page.read_text(encoding="utf-8")), encoding="utf-8")
    schema = folder / "schema" / "plan.json"
    schema.parent.mkdir(exist_ok=True)
    schema.write_text(plan_schema(), encoding="utf-8")


def _type(annotation: Any) -> str:
    """The type as a reader of YAML would say it."""
    if isinstance(annotation, type):
        return _TYPES.get(annotation.__name__, "keys")
    choices = [part for part in _parts(annotation) if part is not type(None)]
    if all(isinstance(part, str) for part in choices):
        return ", ".join(str(part) for part in choices)
    if getattr(annotation, "__origin__", None) in (tuple, dict):
        return "list" if annotation.__origin__ is tuple else "keys"
    spoken = " or ".join(dict.fromkeys(_type(part) for part in choices if isinstance(part, type)))
    return f"{spoken or _type(choices[0])} or null" if type(None) in get_args(annotation) else spoken


def _parts(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of a type, without the constraints that an annotation adds."""
    args = get_args(annotation)
    inner = [get_args(part) if hasattr(part, "__metadata__") else (part,) for part in args]
    return tuple(part[0] for part in inner)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, DataNames):
        return ", ".join(f"`{name}: {part}`" for name, part in value)
    if isinstance(value, Record):
        return "none"
    words: dict[object, str] = {None: "none", True: "true", False: "false", "": "none", (): "none"}
    return words[value] if isinstance(value, bool) or value in (None, "", ()) else f"`{value}`"


def _meaning(name: str, field: FieldInfo) -> str:
    phases = {"train phase": TRAIN_ONLY, "eval phase": EVAL_ONLY, "train and infer phases": ENDLESS_ONLY}
    own = next((f"; {phase}" for phase, names in phases.items() if name in names), "")
    return f"{field.description}{own}"


if __name__ == "__main__":
    write(Path(sys.argv[1]))
