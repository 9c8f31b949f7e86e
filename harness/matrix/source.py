"""Where a value of the matrix stands in its file."""

import re
from dataclasses import dataclass
from typing import NoReturn

import yaml

from harness.errors import MatrixError

_WORD = re.compile(r"[\w-]+")

KeyPath = tuple[str | int, ...]


def spell(path: KeyPath) -> str:
    """Spell a key path as a reader of YAML would: trials[2].axes.precision; a key that is no word stands in quotes."""
    text = "".join(f".{part}" if isinstance(part, str) and _WORD.fullmatch(part) else f"[{part!r}]" for part in path)
    return text.removeprefix(".")


def shown(value: object) -> str:
    """A value as a file spells it, in brief."""
    if isinstance(value, tuple | dict):
        return f"a {'list' if isinstance(value, tuple) else 'mapping'} of {len(value)}"
    words = {True: "true", False: "false", None: "null"}
    text = words[value] if isinstance(value, bool) or value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


@dataclass(frozen=True, slots=True)
class Source:
    """A file's name and its YAML nodes; without nodes, as for a matrix made in memory, only key paths are known."""

    name: str | None = None
    root: yaml.Node | None = None

    def fail(self, path: KeyPath, problem: str, *, at_key: bool = False, cause: Exception | None = None) -> NoReturn:
        """Raise the one line for a problem with a value, or with its key: file:line:column: key path: problem.

        A path that leads beyond the file (a default, the only value of a scalar axis) ends where the file ends.

        Raises:
            MatrixError: always.
        """
        mark, known = self._find(path, at_key=at_key)
        self.fail_at(mark, known, problem, cause)

    def fail_at(self, mark: yaml.Mark | None, path: KeyPath, problem: str, cause: Exception | None = None) -> NoReturn:
        """Raise the one line for a problem at a place that is known already.

        Raises:
            MatrixError: always.
        """
        place = f"{self.name}:{mark.line + 1}:{mark.column + 1}" if mark else self.name
        raise MatrixError(printable(": ".join(part for part in (place, spell(path), problem) if part))) from cause

    def mark(self, path: KeyPath) -> yaml.Mark | None:
        """Line and column of a value, both from 0; None without nodes."""
        return self._find(path, at_key=False)[0]

    def _find(self, path: KeyPath, *, at_key: bool) -> tuple[yaml.Mark | None, KeyPath]:
        node = self.root
        if node is None:
            return None, path
        mark = node.start_mark
        for depth, part in enumerate(path):
            step = _child(node, part)
            if step is None:
                return mark, path[:depth]
            key, node = step
            mark = key.start_mark if at_key else node.start_mark
        return mark, path


def printable(text: str) -> str:
    """The text with characters that would break its line, or act on a terminal, spelt out."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def _child(node: yaml.Node, part: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """The key node and value node under `part`; an item of a list is its own key."""
    if isinstance(node, yaml.MappingNode):
        return next(((key, value) for key, value in node.value if key.value == part), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    return None
