"""Reads the tables of a markdown file: cells as text, with headings and line numbers.

Tables as GitHub writes them (https://github.github.com/gfm/#tables-extension-): a head, a line of dashes of as many
cells, rows up to a blank line or another block; or as HTML. Code blocks and comments are passed over.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from harness.analysis.audit.markup import MOST_COLUMNS, TABLE, TABLE_END, html_table, without_tags

_CELL = re.compile(r"(?:\\.|[^|\\])*")
_DELIMITER = re.compile(r" *\|?(?: *:?-+:? *\|)* *:?-+:? *\|? *")
_HEADING = re.compile(r" {0,3}(#{1,6})(?:\s+(.*?))?(?:\s+#+)?\s*")
_FENCE = re.compile(r" {0,3}(`{3,}(?!.*`)|~{3,})")
_BLOCK = re.compile(r"\s*<!-- harness:begin ([\w-]+) -->\s*")
_BLOCK_END = re.compile(r"\s*<!-- harness:end ([\w-]+) -->\s*")
_EMPHASIS = re.compile(r"(?<!\\)(\*\*|\*|`)(.+?)(?<!\\)\1")
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*\)")
_COMMENT = re.compile(r" {0,3}<!--(?!.*-->)")
_COMMENT_END = re.compile("-->")
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
    page = Page(text.splitlines())
    while page.index < len(page.lines):
        table = page.passed_over() or page.table()
        if isinstance(table, TextTable):
            yield table
        elif not table:
            page.note()
            page.index += 1


@dataclass
class Page:
    """A markdown text while it is read: where, under which headings, after which line of text."""

    lines: list[str]
    index: int = 0
    headings: list[tuple[int, str]] = field(default_factory=list)
    block: str = ""
    lead: str = ""

    @property
    def section(self) -> str:
        """The headings above, and the block of generated tables."""
        return " > ".join([title for _, title in self.headings] + [self.block] * bool(self.block))

    def passed_over(self) -> bool:
        """Whether code or a comment of several lines begins here; then all of it is passed over."""
        line = self.lines[self.index]
        if opened := _FENCE.match(line):
            self.index = self.after(re.compile(rf" {{0,3}}{opened[1]}"), self.index + 1)
        elif _COMMENT.match(line):
            self.index = self.after(_COMMENT_END, self.index)
        else:
            return False
        return True

    def after(self, end: re.Pattern[str], start: int) -> int:
        """The line after the first one from `start` on that has `end`; that after the last where none has it."""
        found = (index for index in range(start, len(self.lines)) if end.search(self.lines[index]))
        return next(found, len(self.lines)) + 1

    def table(self) -> "TextTable | bool":
        """The table that begins here, if any; True of one in HTML that has no heads."""
        start = self.index
        if heads := table_head(self.lines, start):
            rows = tuple(table_rows(self.lines, start + 2, len(heads)))
            self.index += 2 + len(rows)
            return TextTable(self.section, self.lead, heads, rows, start + 1)
        if not TABLE.match(self.lines[start]):
            return False
        self.index = self.after(TABLE_END, start)
        found = html_table("\n".join(self.lines[start : self.index]), start + 1)
        if found is None:
            return True
        rows = tuple(Row(line, cells) for line, cells in found[1])
        return TextTable(self.section, self.lead, found[0], rows, start + 1)

    def note(self) -> None:
        """Remember a line of text for the tables after it."""
        line = self.lines[self.index]
        if heading := _HEADING.fullmatch(line):
            above = [each for each in self.headings if each[0] < len(heading[1])]
            self.headings, self.lead = [*above, (len(heading[1]), plain_cell(heading[2] or ""))], ""
        elif begun := _BLOCK.fullmatch(line):
            self.block = begun[1]
        elif _BLOCK_END.fullmatch(line):
            self.block = ""
        elif line.strip():
            self.lead = plain_cell(line)


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
    """A cell as it is shown: without tags, links, emphasis, escapes and entities."""
    bare = _EMPHASIS.sub(r"\2", _LINK.sub(r"\1", without_tags(text)))
    return html.unescape(re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", bare)).strip()
