"""Mean and standard deviation of a row of seeds, and a value against the range beside it."""

from collections import defaultdict
from collections.abc import Iterator

from harness.analysis.audit.figures import Figure
from harness.analysis.audit.intervals import Interval, deviation_of, mean_of
from harness.analysis.audit.judging import Judged, compare
from harness.analysis.audit.ledger import Ledger

KINDS = {False: "population", True: "sample"}


def check_spreads(ledger: Ledger) -> Iterator[Judged]:
    """Every printed mean and deviation against the seeds of its row."""
    rows: dict[object, list[Figure]] = defaultdict(list)
    for figure in ledger.figures:
        rows[figure.place, figure.measure].append(figure)
    for row in rows.values():
        seeds = [figure for figure in row if figure.statistic.startswith("seed")]
        if len(seeds) < 2:
            continue
        values = [seed.interval for seed in seeds]
        spelled = ", ".join(seed.text for seed in seeds)
        for figure in row:
            if figure.statistic == "mean":
                yield compare(figure, mean_of(values), "mean", f"mean of {spelled}")
            if figure.statistic == "std":
                yield judge_deviation(figure, values, spelled)


def judge_deviation(figure: Figure, values: list[Interval], spelled: str) -> Judged:
    """A deviation by either divisor; which of the two it can be is remarked."""
    allowed = {sample: deviation_of(values, sample=sample) for sample in KINDS}
    fitting = [KINDS[sample] for sample, interval in allowed.items() if figure.interval.gap(interval) == 0]
    if fitting:
        which = f"{fitting[0]} only" if len(fitting) == 1 else "either, as rounded"
        return Judged("deviation", remark=f"standard deviation: {which}")
    either = Interval(allowed[False].low, allowed[True].high, allowed[True].value)
    return compare(figure, either, "deviation", f"standard deviation of {spelled}, population or (recomputed) sample")


def check_brackets(ledger: Ledger) -> Iterator[Judged]:
    """A value lies inside the range that is printed in brackets behind it."""
    for figure in ledger.figures:
        if figure.bounds is not None:
            low, high = (bound.interval.scaled(figure.scale) for bound in figure.bounds)
            inside = Interval(low.low, max(high.high, low.low))
            yield compare(figure, inside, "bracket", f"the range {figure.bounds[0].text} to {figure.bounds[1].text}")
