"""Reads the tables of a markdown file: cells as text, with headings and line numbers.

Tables as GitHub writes them (https://github.github.com/gfm/#tables-extension-): a head, a line of dashes of as many
cells, rows up to a blank line or another block. Code blocks are passed over.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

MOST_COLUMNS = 200
_CELL = re.compile(r"(?:\\.|[^|\\])*")
_DELIMITER = re.compile(r" *\|?(?: *:?-+:? *\|)* *:?-+:? *\|? *")
_HEADING = re.compile(r" {0,3}(#{1,6})(?:\s+(.*?))?(?:\s+#+)?\s*")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_BLOCK = re.compile(r"\s*<!-- harness:begin ([\w-]+) -->\s*")
_BLOCK_END = re.compile(r"\s*<!-- harness:end ([\w-]+) -->\s*")
_EMPHASIS = re.compile(r"(?<!\\)(\*\*|\*|`)(.+?)(?<!\\)\1")
_OTHER_BLOCK = re.compile(r" {0,3}(?:#{1,6}\s|>|`{3,}|~{3,}|<[A-Za-z!/])")


@dataclass(frozen=True, slots=True)
class Row:
    """Cells as text and the line they stand at, counted from 1."""

    line: int
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TextTable:
    """One table: `section` is the headings above it, `lead` the last line of text between these and it."""

    section: str
    lead: str
    heads: tuple[str, ...]
    rows: tuple[Row, ...]
    line: int


def read_tables(text: str) -> Iterator[TextTable]:
    """All tables of a markdown text."""
    lines = text.splitlines()
    headings: list[tuple[int, str]] = []
    block, lead, fence, index = "", "", "", 0
    while index < len(lines):
        line = lines[index]
        opened = _FENCE.match(line)
        if opened and (not fence or opened[1].startswith(fence)):
            fence = "" if fence else opened[1]
        if opened or fence:
            index += 1
            continue
        if heads := table_head(lines, index):
            rows = tuple(table_rows(lines, index + 2, len(heads)))
            section = " > ".join([title for _, title in headings] + [block] * bool(block))
            yield TextTable(section, lead, heads, rows, index + 1)
            index += 2 + len(rows)
            continue
        if heading := _HEADING.fullmatch(line):
            above = [each for each in headings if each[0] < len(heading[1])]
            headings, lead = [*above, (len(heading[1]), plain_cell(heading[2] or ""))], ""
        elif begun := _BLOCK.fullmatch(line):
            block = begun[1]
        elif _BLOCK_END.fullmatch(line):
            block = ""
        elif line.strip():
            lead = plain_cell(line)
        index += 1


def table_head(lines: list[str], index: int) -> tuple[str, ...]:
    """The heads of a table that begins at a line; none if no table does."""
    if index + 1 >= len(lines) or "|" not in lines[index] or not _DELIMITER.fullmatch(lines[index + 1].rstrip()):
        return ()
    heads, marks = cells_of(lines[index]), cells_of(lines[index + 1])
    return heads if len(heads) == len(marks) and len(heads) <= MOST_COLUMNS else ()


def table_rows(lines: list[str], start: int, width: int) -> Iterator[Row]:
    """Rows from a line on; a short one is filled up, as it is when shown."""
    for number, line in enumerate(lines[start:], start + 1):
        if not line.strip() or _OTHER_BLOCK.match(line):
            return
        cells = cells_of(line)[:width]
        yield Row(number, cells + ("",) * (width - len(cells)))


def cells_of(line: str) -> tuple[str, ...]:
    """The cells of a line; a bar behind a backslash divides none."""
    inner = line.strip().removeprefix("|")
    cells, at = [], 0
    while at <= len(inner):
        found = _CELL.match(inner, at)
        end = found.end() if found else at
        if end == at < len(inner) and inner[at] == "\\":
            end = len(inner)
        cells.append(inner[at:end])
        at = end + 1
    if len(cells) > 1 and not cells[-1].strip():
        cells.pop()
    return tuple(plain_cell(cell) for cell in cells)


def plain_cell(text: str) -> str:
    """A cell as it is shown: without emphasis, escapes and entities."""
    bare = _EMPHASIS.sub(r"\2", text.strip())
    return html.unescape(re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", bare)).strip()
