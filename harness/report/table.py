"""A table as templates see it: text only, every number already spelled, every note numbered."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from harness.analysis.rows import Point
from harness.report.format import NONE, counts
from harness.report.text import plain

R = TypeVar("R")
LONGEST_REASON = 120
ALL_ROWS = "All rows"
NOTHING = frozenset({"", NONE, "no", "none"})
"""What says nothing: a column of no more is left out."""


@dataclass(frozen=True)
class Cell:
    """One cell; `span` is how many columns it takes where a format can, `covered` one that such a cell takes."""

    text: str
    note: str | None = None
    mark: str = ""
    span: int = 1
    covered: bool = False
    tone: str = ""


@dataclass(frozen=True)
class Column:
    """A head with its unit, whether its cells are numbers, and whether they are sentences."""

    title: str
    numeric: bool
    prose: bool = False


@dataclass(frozen=True)
class Note:
    """A remark under a table, and the mark of the cells it belongs to."""

    mark: str
    text: str


@dataclass(frozen=True)
class Table:
    """One table; `name` is also the name of its README block."""

    name: str
    title: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[Note, ...]
    common: tuple[tuple[str, str], ...] = ()
    """Whose rows share which settings."""
    legend: str = ""
    """What words in its cells mean."""


@dataclass(frozen=True)
class Field(Generic[R]):
    """A column and how to fill it from a row.

    An `optional` column that says nothing in any row is left out; a `measured` one gives way to the outcome of a row
    that has no numbers (measured columns stand last). Cells of one of `prose` hold sentences.
    """

    title: str
    fill: Callable[[R], str | Cell]
    numeric: bool = True
    optional: bool = False
    measured: bool = False
    prose: bool = False

    def cell(self, row: R) -> Cell:
        """The cell of one row."""
        filled = self.fill(row)
        return Cell(filled) if isinstance(filled, str) else filled

    def says_something(self, rows: Sequence[R]) -> bool:
        """Whether any row has more than that in this column."""
        return any(self.cell(row).text not in NOTHING for row in rows)


def make_table(name: str, heads: tuple[str, str], rows: Sequence[R], fields: Sequence[Field[R]]) -> Table:
    """Fill a table; `heads` are its title and caption."""
    shown = [each for each in fields if not each.optional or each.says_something(rows)]
    marks: dict[str, str] = {}
    filled = tuple(tuple(numbered(cell, marks) for cell in cells(row, shown)) for row in rows)
    return Table(
        name=name,
        title=heads[0],
        caption=heads[1],
        columns=tuple(Column(each.title, each.numeric, each.prose) for each in shown),
        rows=filled,
        notes=tuple(Note(mark, text) for text, mark in marks.items()),
    )


def with_common(table: Table, settings: Mapping[str, str]) -> Table:
    """Say which settings all rows share, and those of one backend."""
    shared: dict[str, list[str]] = {}
    for name, value in settings.items():
        backend, apart, own = name.rpartition(": ")
        shared.setdefault(f"Rows of {backend}" if apart else ALL_ROWS, []).append(f"{own}={value}")
    ordered = sorted(shared, key=lambda whose: whose != ALL_ROWS)
    return replace(table, common=tuple((plain(whose), plain("; ".join(shared[whose]))) for whose in ordered))


def cells(row: R, fields: Sequence[Field[R]]) -> list[Cell]:
    """The cells of one row; without numbers, its outcome stands in their place."""
    point = getattr(row, "point", None)
    measured = [each for each in fields if each.measured]
    if not isinstance(point, Point) or point.ok or not measured:
        return [each.cell(row) for each in fields]
    tone = "mixed" if point.simulated else next(iter(point.outcomes))
    outcome = Cell(outcome_text(point), span=len(measured), tone=tone)
    kept = [each.cell(row) for each in fields if not each.measured]
    return [*kept, outcome, *[Cell(NONE, covered=True)] * (len(measured) - 1)]


def outcome_text(point: Point) -> str:
    """Outcome and reason of a point without numbers; the whole reason stands in the table of outcomes."""
    kinds = counts(point.outcomes) if len(point.outcomes) > 1 else next(iter(point.outcomes))
    return f"{kinds}: {shorten(point.reason)}" if point.reason else kinds


def shorten(text: str) -> str:
    """The beginning of a long reason."""
    line = plain(text)
    return line if len(line) <= LONGEST_REASON else line[: LONGEST_REASON - 1].rstrip() + "…"


def numbered(cell: Cell, marks: dict[str, str]) -> Cell:
    """Give a cell the mark of its note; equal notes share one."""
    if cell.note is None:
        return cell
    return replace(cell, mark=marks.setdefault(cell.note, str(len(marks) + 1)))
