"""One configuration printed twice: with two values, or as the same row again."""

from collections import defaultdict
from collections.abc import Iterator

from harness.analysis.audit.figures import Figure
from harness.analysis.audit.judging import Judged, judged
from harness.analysis.audit.ledger import Ledger

Key = tuple[object, ...]


def check_repeats(ledger: Ledger) -> Iterator[Judged]:
    """Every figure of a configuration that was printed before agrees with the first, and no row stands twice."""
    twice = copies(ledger)
    first: dict[Key, Figure] = {}
    for index, figure in enumerate(ledger.figures):
        original = first.setdefault(key(figure), figure)
        if original is figure or index in twice:
            continue
        yield judge_repeat(figure, original)
    for index, (leads, earlier) in sorted(twice.items()):
        if leads:
            yield judge_copy(ledger.figures[index], ledger.figures[earlier])


def key(figure: Figure) -> Key:
    """What a figure is of, in full."""
    return (figure.measure, figure.statistic, tuple(sorted(figure.point.items())), str(figure.against))


def judge_repeat(figure: Figure, original: Figure) -> Judged:
    """Two prints of one figure share a value, as far as both were rounded."""
    if figure.interval.gap(original.interval) == 0:
        return Judged("repeated")
    where = f"table {original.table!r}" + ("" if original.line is None else f", line {original.line}")
    detail = f"the same configuration has {original.text} in {where}"
    return judged(figure, original.interval, "repeated", "error", detail)


def copies(ledger: Ledger) -> dict[int, tuple[bool, int]]:
    """Figures of rows that stand in their table twice: whether a figure leads its row, and the index of the original.

    Rows are alike if they have the same figures of the same configuration, to the letter. A figure that stands twice in
    one row, as a record repeated in a file does, is a copy too.
    """
    rows: dict[object, dict[Key, int]] = defaultdict(dict)
    found: dict[int, tuple[bool, int]] = {}
    for index, figure in enumerate(ledger.figures):
        same = rows[figure.place].setdefault(spelled(figure), index)
        if same != index:
            found[index] = (True, same)
    seen: dict[object, int] = {}
    for row in rows.values():
        first = min(row.values())
        original = seen.setdefault((ledger.figures[first].table, frozenset(row)), first)
        if original != first:
            found.update({index: (index == first, original) for index in row.values()})
    return found


def spelled(figure: Figure) -> Key:
    """A figure to the letter."""
    return (*key(figure), figure.column, figure.text)


def judge_copy(figure: Figure, original: Figure) -> Judged:
    """A row that stands twice."""
    line = "" if original.line is None else f" at line {original.line}"
    detail = f"the same row, figure for figure, stands{line} already"
    return judged(figure, original.interval, "duplicate", "error", detail)
