"""Speed-up, weak scaling and efficiency against the throughputs and times that they are made of."""

from collections.abc import Iterator
from dataclasses import dataclass

from harness.analysis.audit.figures import (
    ANY,
    EFFICIENCY,
    FULL_PRECISIONS,
    GLOBAL_BATCH,
    SCALING,
    SPEEDUP,
    THROUGHPUT,
    TIME,
    TIME_SPEEDUP,
    Figure,
)
from harness.analysis.audit.findings import CheckName
from harness.analysis.audit.intervals import Interval
from harness.analysis.audit.judging import Judged, cited, compare, judged
from harness.analysis.audit.ledger import Ledger

CHECKS: dict[str, CheckName] = {SPEEDUP: "ratio", TIME_SPEEDUP: "ratio", SCALING: "scaling", EFFICIENCY: "efficiency"}
OF_RANKS = frozenset({"nodes", "launcher"})
"""One rank has none of them, or no use for them."""
SUPERLINEAR = 0.02
"""What noise may add to N times the throughput of one GPU: the tolerance that comparisons of results use too."""


@dataclass(frozen=True, slots=True)
class Sides:
    """Two inputs of a ratio."""

    top: Figure
    bottom: Figure

    def allowed(self, figure: Figure) -> Interval:
        """What the ratio can be."""
        if self.top is self.bottom:
            quotient = Interval(1.0, 1.0, 1.0)
        elif figure.measure == TIME_SPEEDUP:
            quotient = self.bottom.interval / self.top.interval
        else:
            quotient = self.top.interval / self.bottom.interval
        share = figure.gpus if figure.measure == EFFICIENCY else None
        return quotient.scaled(1 / share) if share else quotient

    @property
    def batches_differ(self) -> bool:
        """Whether they are of unequal batch sizes."""
        return None not in (self.top.batch, self.bottom.batch) and self.top.batch != self.bottom.batch

    def spelled(self, figure: Figure) -> str:
        """The sum that was done."""
        first, second = (self.bottom, self.top) if figure.measure == TIME_SPEEDUP else (self.top, self.bottom)
        over = f" / {figure.gpus}" if figure.measure == EFFICIENCY else ""
        return f"{cited(first)} / {cited(second)}{over}"


def check_ratios(ledger: Ledger) -> Iterator[Judged]:
    """Every printed ratio against its sides, and whether these can be compared."""
    for figure in ledger.of(*CHECKS):
        check = CHECKS[figure.measure]
        counted = "gpus" not in (figure.against or {}) or figure.gpus is not None
        sides = sides_of(ledger, figure) if counted else None
        if sides is None:
            detail = "the table has no row that this could be a ratio of and to"
            yield judged(figure, None, "baseline", "missing", detail)
            continue
        yield compare(figure, sides.allowed(figure), check, sides.spelled(figure) + other_side(ledger, figure, sides))
        yield batches(figure, sides)
        yield precisions(figure, sides)


def other_side(ledger: Ledger, figure: Figure, sides: Sides) -> str:
    """Of a ratio that its sides do not give: the one other row of the table that would, if there is one."""
    if figure.interval.gap(sides.allowed(figure)) == 0:
        return ""
    alike = ("gpus", "precision", "xla")
    fitting = [
        Sides(sides.top, other)
        for other in ledger.of(sides.bottom.measure)
        if other.table == sides.bottom.table
        and other is not sides.bottom
        and all(other.point.get(name) == sides.bottom.point.get(name) for name in alike)
        and figure.interval.gap(Sides(sides.top, other).allowed(figure)) == 0
    ]
    if len(fitting) != 1:
        return ""
    return f"; it fits {fitting[0].spelled(figure)}, of {fitting[0].bottom.row}, instead"


def batches(figure: Figure, sides: Sides) -> Judged:
    """Ratios of unequal batch sizes compare two things at once."""
    if not sides.batches_differ or figure.disclosed:
        return Judged("batch")
    detail = f"compares batch size {sides.top.batch} with {sides.bottom.batch}: the factor is of both changes together"
    return judged(figure, None, "batch", "mismatch", detail)


def precisions(figure: Figure, sides: Sides) -> Judged:
    """A column that names one precision, in a table that measured another."""
    named, found = figure.point.get("precision"), sides.top.point.get("precision")
    if named is None or found is None or named == found:
        return Judged("precision")
    return judged(figure, None, "precision", "mismatch", f"named {named}, but what was measured is {found}")


def sides_of(ledger: Ledger, figure: Figure) -> Sides | None:
    """The two inputs: alike if possible, else of unequal batch sizes, else of another full precision than was named."""
    for relaxed in relaxations(figure):
        own = {name: value for name, value in figure.point.items() if name not in relaxed}
        other = {name: value for name, value in own.items() if name not in (figure.against or {})}
        other |= {name: value for name, value in (figure.against or {}).items() if value != ANY}
        found = best(figure, tops(ledger, figure, own), bottoms(ledger, figure, other))
        if found is not None:
            return found
    return None


def relaxations(figure: Figure) -> Iterator[frozenset[str]]:
    """What may be given up to find the sides, least first."""
    yield frozenset()
    yield frozenset({"batch"})
    if figure.measure in (SCALING, EFFICIENCY) and figure.point.get("precision") in FULL_PRECISIONS:
        yield frozenset({"precision"})


def tops(ledger: Ledger, figure: Figure, point: dict[str, str]) -> list[Figure]:
    """What was measured at the figure's own point; its batch size is its own wherever it says one."""
    measure = TIME if figure.measure == TIME_SPEEDUP else THROUGHPUT
    wanted = point | ({"batch": figure.point["batch"]} if "batch" in figure.point else {})
    return plausible(figure, ledger.find(figure, measure, wanted))


def bottoms(ledger: Ledger, figure: Figure, point: dict[str, str]) -> list[Figure]:
    """What was measured on the other side."""
    measure = TIME if figure.measure == TIME_SPEEDUP else THROUGHPUT
    free = OF_RANKS if "gpus" in (figure.against or {}) else frozenset[str]()
    found = plausible(figure, ledger.find(figure, measure, point, free))
    if (figure.against or {}).get("precision") != ANY:
        return found
    full = [each for each in found if each.point.get("precision") in FULL_PRECISIONS]
    return [each for each in full if each.point.get("precision") == figure.point.get("precision")] or full


def plausible(figure: Figure, found: list[Figure]) -> list[Figure]:
    """Where a precision is named, AMP is never taken for another, nor another for it."""
    named = figure.point.get("precision")
    if "precision" in (figure.against or {}) or named not in FULL_PRECISIONS:
        return found
    return [each for each in found if each.point.get("precision", named) in FULL_PRECISIONS]


def best(figure: Figure, top: list[Figure], bottom: list[Figure]) -> Sides | None:
    """Of all pairs those of equal batch size, if any, and of these the nearest to what was printed."""
    pairs = [Sides(first, second) for first in top for second in bottom]
    alike = [pair for pair in pairs if not pair.batches_differ] or pairs
    return min(alike, key=lambda pair: figure.interval.gap(pair.allowed(figure)), default=None)


def check_superlinear(ledger: Ledger) -> Iterator[Judged]:
    """More than N times the throughput of one GPU; said of the scaling factor where one is printed."""
    for figure in ledger.of(THROUGHPUT):
        bases = ledger.find(figure, THROUGHPUT, {**figure.point, "gpus": "1"}, OF_RANKS)
        if not bases or figure.gpus is None or figure.gpus < 2:
            continue
        base = min(bases, key=lambda each: (figure.interval / each.interval).low)
        factor = figure.interval / base.interval
        if factor.low <= figure.gpus * (1 + SUPERLINEAR):
            yield Judged("superlinear")
            continue
        printed = [each for each in ledger.find(figure, SCALING, figure.point) if each.place == figure.place]
        detail = f"{cited(figure)} / {cited(base)} = {factor.low:.4g} to {factor.high:.4g} on {figure.gpus} GPUs"
        most = figure.gpus * (1 + SUPERLINEAR)
        if printed:
            linear = Interval(0.0, most, factor.value)
            yield judged(printed[0], linear, "superlinear", "implausible", detail)
        else:
            linear = Interval(0.0, most * base.interval.high)
            yield judged(figure, linear, "superlinear", "implausible", detail)


def check_products(ledger: Ledger) -> Iterator[Judged]:
    """Global batch size against GPUs times batch size per GPU."""
    for figure in ledger.of(GLOBAL_BATCH):
        if figure.gpus is not None and figure.batch is not None:
            product = float(figure.gpus * figure.batch)
            inputs = f"{figure.gpus} GPUs × batch size {figure.batch}"
            yield compare(figure, Interval(product, product, product), "product", inputs)
