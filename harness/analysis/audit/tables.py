"""Makes figures of the tables of a markdown file."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from harness.analysis.audit.cells import NOTE, against_of, bounds_of, number_in, unit_behind, values_of
from harness.analysis.audit.columns import EACH, STRICT, Head, of_accuracy, precisions, read_head
from harness.analysis.audit.figures import (
    ACCURACY,
    FULL_PRECISIONS,
    GLOBAL_BATCH,
    SCALING,
    SEEDS,
    SPEEDUP,
    THROUGHPUT,
    TIME,
    TIME_SPEEDUP,
    Figure,
    Sheet,
    Unit,
)
from harness.analysis.audit.intervals import Printed, read_number
from harness.analysis.audit.markdown import Row, TextTable, read_tables
from harness.analysis.audit.units import unit_of_seeds, with_unit
from harness.errors import AuditError

LONGEST_LEAD = 60
"""A line before a table that is no longer and names one precision says that of all its rows: FP16 Inference Latency."""
_SETTING = re.compile(r"[\w.]+=[^,]*")
_NO_RATE = re.compile(
    r"loss|error|perplexity|\bppl|dice|score|\bf1\b|bleu|\bwer\b|mem|param|size|flop|power|epoch|step"
)
"""What a column counts that no speed-up is a ratio of."""
_DERIVED = (SPEEDUP, TIME_SPEEDUP)


def read_markdown(text: str, name: str) -> Sheet:
    """The figures of all tables of a file that is known by `name`.

    Raises:
        AuditError: no table has a column that is recognised.
    """
    figures: list[Figure] = []
    tables = 0
    seen: dict[str, int] = {}
    for table in read_tables(text):
        title = title_of(table, seen)
        found = list(figures_of(table, title, name))
        figures += found
        tables += bool(found)
    if not figures:
        raise AuditError(
            f"{name}: no table of figures; heads such as throughput, latency, speed-up or mAP are recognised"
        )
    return Sheet(name, tables, tuple(figures))


def title_of(table: TextTable, seen: dict[str, int]) -> str:
    """The nearest heading, and a number where several tables stand under it."""
    title = table.section.rpartition(" > ")[2] or "table"
    count = seen[table.section] = seen.get(table.section, 0) + 1
    return title if count == 1 else f"{title} ({count})"


def figures_of(table: TextTable, title: str, file: str) -> Iterator[Figure]:
    """The figures of one table."""
    heads = settled([read_head(head) for head in table.heads], table)
    if all(head.measure in (None, "other", GLOBAL_BATCH) for head in heads):
        return
    reader = TableReader(table, title, file, heads)
    for row in table.rows:
        yield from reader.row(row)


def settled(heads: list[Head], table: TextTable) -> list[Head]:
    """Columns in the light of each other: what a ratio is of, where its own head does not say."""
    measures = {head.measure for head in heads}
    if measures.isdisjoint({THROUGHPUT, TIME}) and measures & {SPEEDUP, SCALING}:
        heads = [as_rate(head, index, table) for index, head in enumerate(heads)]
    elif TIME in measures and THROUGHPUT not in measures:
        heads = [replace(head, measure=TIME_SPEEDUP) if head.measure == SPEEDUP else head for head in heads]
    return scaled_over(heads, table)


def as_rate(head: Head, index: int, table: TextTable) -> Head:
    """A column of numbers that names one precision beside a ratio: with nothing else in its table it is a rate."""
    named = precisions(head.name)
    counted = any(read_number(row.cells[index]) for row in table.rows)
    other = head.measure is not None or strict(head.name) or _NO_RATE.search(head.name)
    if other or len(named) != 1 or not counted:
        return head
    return replace(head, measure=THROUGHPUT, statistic="avg", unit="other", point={"precision": named[0]})


def scaled_over(heads: list[Head], table: TextTable) -> list[Head]:
    """Scaling in a table that counts no GPUs is over nodes, else over batch sizes, from the least of them on."""
    names = [head.name for head in heads]
    axis = next((name for name in ("gpus", "nodes", "batch") if name in names), "gpus")
    if axis == "gpus":
        return heads
    found = [number[0].value for row in table.rows if (number := read_number(row.cells[names.index(axis)]))]
    if not found:
        return heads
    base = {axis: f"{min(found):g}"}
    told = axis == "batch"
    return [replace(head, against=base, disclosed=told) if head.measure == SCALING else head for head in heads]


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell that begins with a number, and what stands behind that."""

    head: Head
    text: str
    statistic: str
    printed: Printed
    rest: str
    row: str
    line: int


class TableReader:
    """Reads the rows of one table, whose columns are known."""

    def __init__(self, table: TextTable, title: str, file: str, heads: Sequence[Head]) -> None:
        """Settle what only the whole table tells: units, its precision, what tells its rows apart."""
        self.table, self.title, self.file = table, title, file
        self.heads = [with_unit(head, index, table, heads) for index, head in enumerate(heads)]
        named = precisions(table.lead) if len(table.lead) <= LONGEST_LEAD else []
        self.lead = named[0] if len(named) == 1 else None
        # Samples counted apart: the latencies have a window of their own.
        self.pipelined = any(head.title.lower() == "samples" for head in heads)
        self.told = told_by(heads)

    def row(self, row: Row) -> Iterator[Figure]:
        """The figures of one row."""
        point, loose = self.point(row)
        label = ", ".join(self.label(row))
        seeds = unit_of_seeds(self.heads, row)
        for head, cell in zip(self.heads, row.cells, strict=True):
            for index, text in enumerate(values_of(head, cell)):
                statistic = f"seed{index + 1}" if head.statistic == EACH else head.statistic
                found = number_in(head, text)
                if found is not None:
                    own = self.figure_point(head, point)
                    figure = Cell(head, text, statistic, found[0], found[1], label or f"line {row.line}", row.line)
                    yield self.figure(figure, own, loose, seeds)

    def figure(self, cell: "Cell", point: dict[str, str], loose: frozenset[str], seeds: Unit) -> Figure:
        """One cell as a figure."""
        head = cell.head
        measure = measure_of(head, cell.row)
        return Figure(
            file=self.file,
            table=self.title,
            row=cell.row,
            column=head.title,
            line=cell.line,
            text=cell.text,
            printed=cell.printed,
            measure=measure,
            statistic=cell.statistic,
            unit=unit_behind(cell.rest) or head.unit or (seeds if measure.startswith(ACCURACY) else "other"),
            point=point,
            against=against_of(head, point, cell.rest),
            loose=loose,
            disclosed=head.disclosed or NOTE.search(cell.text) is not None,
            pipelined=self.pipelined,
            bounds=bounds_of(cell.rest),
        )

    def point(self, row: Row) -> tuple[dict[str, str], frozenset[str]]:
        """What a row says was measured, and which parts of that only tell rows apart."""
        point = {"section": self.table.section} | ({} if self.lead else {"lead": self.table.lead})
        loose: set[str] = set()
        for index in self.told:
            for name, value in parts(self.heads[index], NOTE.sub("", row.cells[index]).strip()):
                point[name] = value
                if not strict(name):
                    loose.add(name)
        if not set(point) - {"section", "lead"}:
            point["row"] = str(row.line)
            loose.add("row")
        if self.lead:
            point.setdefault("precision", self.lead)
        return point, frozenset(loose)

    def label(self, row: Row) -> Iterator[str]:
        """A row in words."""
        for index in self.told:
            head, cell = self.heads[index], row.cells[index]
            if cell not in ("", "-", "–"):
                yield cell if head.name in STRICT or head.name == "precision" else f"{head.title} {cell}"

    def figure_point(self, head: Head, point: dict[str, str]) -> dict[str, str]:
        """What one cell is of: a column may name a precision; a speed-up between columns is that of AMP."""
        own = {**point, **head.point}
        between = head.measure in _DERIVED and "precision" not in own
        columns = {each.point.get("precision") for each in self.heads if each.measure in (THROUGHPUT, TIME)}
        if between and "AMP" in columns and columns & FULL_PRECISIONS:
            own["precision"] = "AMP"
        return own


def measure_of(head: Head, row: str) -> str:
    """The measure of a cell; of a row of seeds, what the row says in words."""
    if head.measure != SEEDS:
        return head.measure or "other"
    return f"{ACCURACY if of_accuracy(row.lower()) else SEEDS} {row.lower()}"


def told_by(heads: Sequence[Head]) -> list[int]:
    """The columns that say what was measured: those before the first measurement, and any of a known name.

    What stands behind and is not recognised was measured too, as memory or power are.
    """
    first = next(index for index, head in enumerate(heads) if head.measure not in (None, "other", GLOBAL_BATCH))
    return [index for index, head in enumerate(heads) if head.measure is None and (index < first or strict(head.name))]


def strict(name: str) -> bool:
    """Whether two sides of a ratio agree in a part of what was measured."""
    known = ("gpus", "nodes", "batch", "precision", "xla", "section", "lead")
    return name in known or name in STRICT or (name.startswith("setting ") and name != "setting launcher")


def parts(head: Head, cell: str) -> Iterator[tuple[str, str]]:
    """A cell as parts of what was measured; a list of settings is one part for each."""
    if head.name in ("gpus", "nodes", "batch"):
        found = read_number(cell)
        if found:
            several = head.name == "batch" and re.search(r"\d", found[1])  # 128 at one precision, 64 at another
            yield head.name, cell.lower() if several else f"{found[0].value:g}"
        return
    if head.name == "precision":
        named = precisions(cell)
        yield "precision", named[0] if len(named) == 1 else cell.upper()
    elif head.name == "settings":
        for setting in _SETTING.findall(cell):
            name, _, value = setting.partition("=")
            yield ("launcher" if name == "launcher" else f"setting {name}"), value.strip()
    elif cell not in ("", "-", "–"):
        yield head.name, cell.lower()
