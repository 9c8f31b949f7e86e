"""Read a matrix file: safe YAML, no key twice, and every problem with its line and column.

Plain scalars follow the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema), where PyYAML follows
1.1: 1e-3 is a number, 010 is ten, and yes, no, on, off, 1:30 and 2024-01-01 are text. 1_000 is read as text too.
"""

import io
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

import yaml

from harness.errors import MatrixError
from harness.matrix.model import Matrix
from harness.matrix.problems import parse_matrix
from harness.matrix.source import KeyPath, Source, shown
from harness.schema.trial import OptionValue

_TOO_DEEP = "nested too deeply; a matrix has at most five levels"
_TAG = "tag:yaml.org,2002:"
_TAGS = {f"{_TAG}{kind}" for kind in ("null", "bool", "int", "float", "str", "seq", "map")}


class MatrixLoader(yaml.SafeLoader):
    """Composes nodes with marks; its plain scalars resolve by the core schema of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  PyYAML's own registry


for _kind, _pattern, _first in (
    ("null", r"(?:~|null|Null|NULL|)", ["~", "n", "N", ""]),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)", list("tTfF")),
    ("int", r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)", list("-+0123456789")),
    (
        "float",
        r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))",
        list("-+.0123456789"),
    ),
):
    MatrixLoader.add_implicit_resolver(f"{_TAG}{_kind}", re.compile(rf"^{_pattern}$"), _first)


def load_matrix(path: Path) -> Matrix:
    """Read and check a matrix file; what depends on the backends is checked when it is expanded.

    Raises:
        MatrixError: the file cannot be read, is no YAML, or does not describe a matrix.
    """
    return matrix_of(read_matrix(path), path)


def read_matrix(path: Path) -> bytes:
    """The bytes of a matrix file: what is kept of it is then what was carried out.

    Raises:
        MatrixError: the file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise MatrixError(f"{path}: {_reason(error)}; a matrix is a YAML file") from error


def matrix_of(data: bytes, path: Path) -> Matrix:
    """Check the bytes of a matrix file that is at `path`.

    Raises:
        MatrixError: they are no YAML, or do not describe a matrix.
    """
    try:
        text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig").read()  # line ends as those of any text file
    except UnicodeDecodeError as error:
        raise MatrixError(f"{path}: byte {error.start} is not UTF-8; save the matrix as UTF-8 text") from error
    source = source_of(text, str(path))
    return parse_matrix(to_value(source), source)


def source_of(text: str, name: str) -> Source:
    """Compose the YAML nodes of a text that is known by `name`.

    Raises:
        MatrixError: the text is no YAML, or empty.
    """
    try:
        root = yaml.compose(text, MatrixLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise MatrixError(f"{place}: not YAML: {_flat(error.problem or error.context)}") from error
    except yaml.YAMLError as error:
        raise MatrixError(f"{name}: not YAML: {_flat(str(error))}") from error
    except RecursionError as error:
        raise MatrixError(f"{name}: {_TOO_DEEP}") from error
    if root is None:
        raise MatrixError(f"{name}: the file is empty; a matrix has at least a name and trials")
    return Source(name, root)


def to_value(source: Source) -> object:
    """The plain values of a source: dicts, tuples and scalars.

    Raises:
        MatrixError: a key stands twice or is no text, a tag or a number is out of place, or an alias holds itself.
    """
    assert source.root is not None, "only a source with nodes has values"  # noqa: S101
    try:
        return _Reader(source).read(source.root, ())
    except RecursionError as error:
        raise MatrixError(f"{source.name}: {_TOO_DEEP}") from error


class _Reader:
    """Turns nodes into values; a node that aliases share is read once, so that aliases of aliases stay cheap."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.done: dict[int, object] = {}
        self.open: set[int] = set()

    def read(self, node: yaml.Node, path: KeyPath) -> object:
        if id(node) in self.done:
            return self.done[id(node)]
        if id(node) in self.open:
            self.fail(node, path, "an alias that contains itself; an alias repeats a complete value")
        if node.tag not in _TAGS:
            tag = node.tag.replace(_TAG, "!!")
            self.fail(node, path, f"found the tag {tag}; write plain text, numbers, true, false, null, lists and keys")
        self.open.add(id(node))
        value = self.done[id(node)] = self.convert(node, path)
        self.open.discard(id(node))
        return value

    def convert(self, node: yaml.Node, path: KeyPath) -> object:
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return tuple(self.read(item, (*path, index)) for index, item in enumerate(node.value))
        return self.scalar(node, path)

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, object]:
        values: dict[str, object] = {}
        for key, value in node.value:
            name = self.key(key, path)
            if name in values:
                self.fail(key, (*path, name), f"key {shown(name)} stands twice; keep one of the two")
            values[name] = self.read(value, (*path, name))
        return values

    def key(self, key: yaml.Node, path: KeyPath) -> str:
        if not isinstance(key, yaml.ScalarNode):
            self.fail(key, path, "found a list or mapping as a key; a key is text")
        if key.value == "<<":
            self.fail(key, path, "found the merge key '<<'; write what trials share under defaults")
        if key.tag != f"{_TAG}str":
            self.fail(key, path, f"found {shown(key.value)} as a key, which is no text; quote it if it is meant")
        return str(key.value)

    def scalar(self, node: yaml.Node, path: KeyPath) -> object:
        kind = node.tag.removeprefix(_TAG)
        try:
            return _SCALARS[kind](node.value)
        except (ValueError, KeyError):
            self.fail(node, path, f"found {shown(node.value)} as {kind}; right would be {_RIGHT[kind]}")

    def fail(self, node: yaml.Node, path: KeyPath, problem: str) -> NoReturn:
        self.source.fail_at(node.start_mark, path, problem)


def scalar_of(text: str) -> OptionValue:
    """The value that a plain scalar has in a matrix file: 1e-3 a number, true a boolean, no and 1e999 a text."""
    tag: str = MatrixLoader("").resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    try:
        return _SCALARS[tag.removeprefix(_TAG)](text)
    except ValueError:
        return text


def _int(text: str) -> int:
    number = int(text, 0) if text[:2] in ("0x", "0o") else int(text)
    if number.bit_length() > 63:
        raise ValueError(text)
    return number


def _text(text: str) -> str:
    """The text itself, if it can be written to a file: half a surrogate pair cannot."""
    text.encode()
    return text


def _float(text: str) -> float:
    number = float(text.replace(".inf", "inf").replace(".nan", "nan")) if text[-1].isalpha() else float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


_SCALARS: Mapping[str, Callable[[str], OptionValue]] = {
    "null": lambda _: None,
    "bool": lambda text: {"true": True, "false": False}[text.lower()],
    "int": _int,
    "float": _float,
    "str": _text,
}


_RIGHT = {
    "null": "null",
    "bool": "true or false",
    "int": "a whole number of at most 63 bits",
    "float": "a finite number, or text in quotes",
    "str": "text of whole Unicode characters",
}


def _flat(text: object) -> str:
    return " ".join(str(text).split())


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
