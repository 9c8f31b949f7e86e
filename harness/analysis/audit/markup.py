"""Reads the tables that a markdown file has as HTML; cells that span others stand in each place that they take."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

MOST_COLUMNS = 200
MOST_ROWS = 10_000
TABLE = re.compile(r"\s*(?:<(?:div|center|p)\b[^<>]*>\s*)*<table\b", re.IGNORECASE)
TABLE_END = re.compile(r"</table\s*>", re.IGNORECASE)
_TAG = re.compile(
    r"</?(?:a|b|big|br|center|code|del|div|em|font|i|ins|kbd|p|small|span|strong|sub|u)\b[^<>]*>", re.IGNORECASE
)
_RAISED = re.compile(r"<sup\b[^<>]*>(.{0,200}?)</sup\s*>", re.IGNORECASE)
_BREAK = re.compile(r"<(?:br|p|div)\b[^<>]*>", re.IGNORECASE)
Line = tuple[int, tuple[str, ...]]


def without_tags(text: str) -> str:
    """Text as it is shown; what is raised stands in brackets: AP (val), 38.0 (2)."""
    raised = _RAISED.sub(r" (\1)", _BREAK.sub(" ", text))
    return " ".join(_TAG.sub("", raised).replace(")(", ") (").split())


@dataclass
class HtmlCell:
    """One cell as it is written."""

    head: bool
    columns: int
    rows: int
    parts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """What it shows."""
        return " ".join("".join(self.parts).split())


class TableParser(HTMLParser):
    """Collects the rows of one table; cells before the first row are one."""

    def __init__(self, line: int) -> None:
        """Begin at a line of the file."""
        super().__init__(convert_charrefs=True)
        self.first = line
        self.rows: list[tuple[int, list[HtmlCell]]] = []
        self.cell: HtmlCell | None = None
        self.in_row = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A row, a cell, or what sets text apart inside one."""
        if tag == "tr":
            self.begin_row()
        elif tag in ("th", "td"):
            if not self.in_row:
                self.begin_row()
            given = dict(attrs)
            self.cell = HtmlCell(tag == "th", span(given.get("colspan")), span(given.get("rowspan")))
            self.rows[-1][1].append(self.cell)
        elif self.cell is not None and tag in ("br", "p", "div", "sup"):
            self.cell.parts.append(" (" if tag == "sup" else " ")

    def handle_endtag(self, tag: str) -> None:
        """The end of a row or a cell."""
        if tag in ("tr", "thead", "tbody"):
            self.in_row, self.cell = False, None
        elif tag in ("th", "td"):
            self.cell = None
        elif tag == "sup" and self.cell is not None:
            self.cell.parts.append(")")

    def handle_data(self, data: str) -> None:
        """Text of a cell."""
        if self.cell is not None:
            self.cell.parts.append(data)

    def begin_row(self) -> None:
        """Another row."""
        self.rows.append((self.first + self.getpos()[0] - 1, []))
        self.in_row, self.cell = True, None


def span(text: str | None) -> int:
    """How many columns or rows a cell takes."""
    return max(1, min(int(text), MOST_COLUMNS)) if text and text.isascii() and text.isdigit() and len(text) < 6 else 1


def html_table(text: str, line: int) -> tuple[tuple[str, ...], list[Line]] | None:
    """Heads and rows of a table that begins at a line; None of one without heads, or too large.

    Heads are the rows of head cells that it begins with; of several, those above one column are one head together.
    """
    parser = TableParser(line)
    parser.feed(text)
    parser.close()
    rows = [(number, cells) for number, cells in parser.rows if cells]
    above = next((index for index, (_, cells) in enumerate(rows) if not all(cell.head for cell in cells)), len(rows))
    if above == 0 or len(rows) > MOST_ROWS:
        return None
    laid = lay_out([cells for _, cells in rows])
    width = max(map(len, laid))
    if width > MOST_COLUMNS:
        return None
    filled = [tuple(row) + ("",) * (width - len(row)) for row in laid]
    heads = tuple(" ".join(dict.fromkeys(filter(None, column))) for column in zip(*filled[:above], strict=True))
    return heads, [(number, row) for (number, _), row in zip(rows[above:], filled[above:], strict=True)]


def lay_out(rows: list[list[HtmlCell]]) -> list[list[str]]:
    """The texts of all places, row by row."""
    laid: list[list[str]] = []
    below: dict[int, tuple[int, str]] = {}
    for cells in rows:
        row: list[str] = []
        waiting = list(cells)
        taken, below = below, {}
        while (waiting or any(column >= len(row) for column in taken)) and len(row) <= MOST_COLUMNS:
            if len(row) in taken:
                left, text, columns = *taken[len(row)], 1
            elif waiting:
                cell = waiting.pop(0)
                left, text, columns = cell.rows, cell.text, cell.columns
            else:
                left, text, columns = 1, "", 1
            if left > 1:
                below.update({len(row) + offset: (left - 1, text) for offset in range(columns)})
            row += [text] * columns
        laid.append(row)
    return laid
