"""Finds figures by what they are of."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from harness.analysis.audit.figures import Figure

NOTHING: frozenset[str] = frozenset()


class Ledger:
    """The figures of one file; those of one row and of one measure stand together."""

    def __init__(self, figures: Iterable[Figure]) -> None:
        """Index the figures."""
        self.figures = tuple(figures)
        self._measures: dict[str, list[Figure]] = defaultdict(list)
        self._tables: dict[tuple[str, str], list[Figure]] = defaultdict(list)
        for figure in self.figures:
            self._measures[figure.measure].append(figure)
            self._tables[figure.table, figure.measure].append(figure)

    def of(self, *measures: str) -> Iterator[Figure]:
        """All figures of some measures, in their order."""
        return (figure for measure in measures for figure in self._measures[measure])

    def find(
        self, asking: Figure, measure: str, point: Mapping[str, str], free: frozenset[str] = NOTHING
    ) -> list[Figure]:
        """Figures of a measure at a point: of the asking figure's table, or else of its file.

        What one of the two points does not say is no difference, nor what is `free`. Of parts that only tell rows apart
        as few as possible differ.
        """
        for place in (self._tables[asking.table, measure], self._measures[measure]):
            found = [
                (differences(figure, point, asking.loose), figure) for figure in place if fits(figure, point, free)
            ]
            if found:
                fewest = min(count for count, _ in found)
                return [figure for count, figure in found if count == fewest]
        return []

    def rows(self) -> Iterator[list[Figure]]:
        """The figures of each row of each table that are of one point."""
        rows: dict[object, list[Figure]] = defaultdict(list)
        for figure in self.figures:
            rows[figure.place, tuple(sorted(figure.point.items()))].append(figure)
        yield from rows.values()


def fits(figure: Figure, point: Mapping[str, str], free: frozenset[str]) -> bool:
    """Whether a figure is of this point, as far as both say."""
    passed = free | figure.loose
    return all(figure.point.get(name, value) == value for name, value in point.items() if name not in passed)


def differences(figure: Figure, point: Mapping[str, str], loose: frozenset[str]) -> int:
    """How many of the parts that only tell rows apart are unequal."""
    return sum(figure.point.get(name) != point.get(name) for name in loose | figure.loose)
