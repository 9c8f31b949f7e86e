"""The unit of a column whose head does not say it, from the size of its numbers."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from harness.analysis.audit.columns import Head
from harness.analysis.audit.figures import ACCURACY, EFFICIENCY, LATENCY, SEEDS, THROUGHPUT, TIME, Unit
from harness.analysis.audit.intervals import read_number
from harness.analysis.audit.markdown import Row, TextTable


def with_unit(head: Head, index: int, table: TextTable, heads: Sequence[Head]) -> Head:
    """A column with its unit; where the head has none, its values tell."""
    if head.measure is None or head.unit is not None:
        return head
    numbers = [found[0].value for row in table.rows if (found := read_number(row.cells[index]))]
    middle = median(numbers) if numbers else 0.0
    if head.measure == LATENCY:
        return replace(head, unit=latency_unit(table, heads))
    if head.measure == TIME:
        return replace(head, unit="hours")
    if head.measure == EFFICIENCY:
        return replace(head, unit="percent" if middle > 2 else "fraction")
    if head.measure.startswith(ACCURACY):
        return replace(head, unit=accuracy_unit(table, heads))
    return head


def accuracy_unit(table: TextTable, heads: Sequence[Head]) -> Unit:
    """Per cent where most accuracies of the table exceed 1."""
    columns = [index for index, head in enumerate(heads) if head.measure and head.measure.startswith(ACCURACY)]
    numbers = [found[0].value for row in table.rows for index in columns if (found := read_number(row.cells[index]))]
    return "percent" if numbers and median(numbers) > 1 else "fraction"


def latency_unit(table: TextTable, heads: Sequence[Head]) -> Unit:
    """Seconds where they go better with throughput and batch size than milliseconds do (Little's law), else those."""
    names = [head.measure or head.name for head in heads]
    averages = [index for index, head in enumerate(heads) if head.measure == LATENCY and head.statistic == "avg"]
    if THROUGHPUT not in names or "batch" not in names or not averages:
        return "ms"
    columns = (names.index(THROUGHPUT), averages[0], names.index("batch"))
    flights = []
    for row in table.rows:
        rate, latency, batch = (read_number(row.cells[index]) for index in columns)
        if rate and latency and batch and batch[0].value > 0:
            flights.append(rate[0].value * latency[0].value / batch[0].value)
    return "s" if flights and median(flights) < 30 else "ms"


def unit_of_seeds(heads: Sequence[Head], row: Row) -> Unit:
    """The unit of a row of seeds, if it is of an accuracy: above 1 it is in per cent."""
    cells = [
        cell for head, cell in zip(heads, row.cells, strict=True) if head.measure == SEEDS and head.statistic != "std"
    ]
    numbers = [found[0].value for cell in cells if (found := read_number(cell))]
    return "percent" if numbers and median(numbers) > 1 else "fraction"
