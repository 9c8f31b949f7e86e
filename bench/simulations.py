"""What docs/statistics.md says of our statistics, by simulation and against LoadGen: its tables, made again.

The noise is that of the tests.
"""

import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from loadgen import PRINTED, runs
from many_points import TERMS, identical, slower, with_tails, worse
from noise import LATENCIES, NORMAL, PROCESSES, SERIES, autocorrelated

from harness.analysis.compare_many import settled
from harness.statistics.comparing import MIN_PROCESSES, Comparison, _resampled_ranks, compare_processes
from harness.statistics.early_stopping import early_stopping
from harness.statistics.percentiles import interval_ranks, order_rank
from harness.statistics.rates import rate_interval
from harness.statistics.series import AUTOCORRELATED, DRIFTING, series_flags

PAIRS = 1000
SIMULATIONS = 2000
RUNS = 1000
COUNTS = (MIN_PROCESSES, 10, 20)
STORES = {30: 1000, 100: 200}
"""How many are simulated of so many points."""
STRETCHES = (5, 10, 20, 100)
STRETCH_TIMES: dict[str, Callable[[np.random.Generator, tuple[int, int]], NDArray[np.float64]]] = {
    "normal 5 %": lambda draws, shape: draws.normal(1, 0.05, shape),
    "log-normal 20 %": lambda draws, shape: draws.lognormal(-0.02, 0.2, shape),
    "memory 0.5": lambda draws, shape: 1 + 0.03 * autocorrelated(draws, shape, 0.5).clip(-30, 30),
    "memory 0.8": lambda draws, shape: 1 + 0.02 * autocorrelated(draws, shape, 0.8).clip(-45, 45),
}


def row(*cells: object) -> None:
    """Print one row of a markdown table, shares in percent."""
    print("| " + " | ".join(f"{100 * cell:.1f}" if isinstance(cell, float) else str(cell) for cell in cells) + " |")


def head(title: str, *cells: str) -> None:
    """Print a title and the head of a table."""
    print(f"\n{title}\n", flush=True)
    row(*cells)
    row(*["---"] * len(cells))


def share(found: Sequence[Comparison], *verdicts: str) -> float:
    """Share of the comparisons with one of these verdicts."""
    return sum(each.verdict in verdicts for each in found) / len(found)


def outside(each: Comparison) -> bool:
    """Whether the interval alone lies wholly outside 2 %."""
    return each.low is not None and each.high is not None and (each.low > 1.02 or each.high < 0.98)


def comparisons() -> None:
    """False alarms on identical code, those of the interval without the ranks, and how often +10 % is found."""
    head(
        f"verdicts of {PAIRS} pairs, % of pairs, at {', '.join(map(str, COUNTS))} processes a side",
        *("noise", "false alarms", "without the ranks", "+10 % found"),
    )
    for name, draw in PROCESSES.items():
        alarms, alone, power = [], [], []
        for count in COUNTS:
            pairs = draw(np.random.default_rng(count), (2, PAIRS, count))
            same = [compare_processes(one, two) for one, two in zip(*pairs, strict=True)]
            other = [compare_processes(one, 1.1 * two) for one, two in zip(*pairs, strict=True)]
            alarms.append(share(same, "higher", "lower"))
            alone.append(sum(map(outside, same)) / PAIRS)
            power.append(share(other, "higher"))
        row(name, *(" / ".join(f"{100 * one:.1f}" for one in each) for each in (alarms, alone, power)))


def gates() -> None:
    """How often a store of many points is called worse: points alone, all together; and +10 % at one of its points.

    Of identical points the two numbers are independent, when most can go wrong; of the slower one the second says what
    the first says, when least is found.
    """
    for points, stores in STORES.items():
        head(
            f"{stores} stores of {points} points, % called worse, at {', '.join(map(str, COUNTS))} processes a side",
            *("noise", "identical, points alone", "identical, together", "+10 % at one point"),
        )
        for name, draw in PROCESSES.items():
            cells = []
            for count in COUNTS:
                draws = np.random.default_rng([points, count])
                wrong = np.mean([worse(identical(draw, draws, points, count)) for _ in range(stores)], axis=0)
                others = [identical(draw, draws, points - 1, count) for _ in range(10)]
                found = [
                    settled([slower(draw, draws, count, 1.1), *others[each % 10]], TERMS) for each in range(stores)
                ]
                cells.append((*wrong, np.mean([rows[0].verdict == "worse" for rows in found])))
            row(name, *(" / ".join(f"{100 * one:.1f}" for one in each) for each in zip(*cells, strict=True)))


def tails() -> None:
    """The same of identical code with four numbers a point, which agree less and less."""
    head("400 stores of 10 points, 20 processes a side, % called worse", "own noise", "each point", "alone", "together")
    for own in (0.05, 0.3, 1.0):
        draws = np.random.default_rng(4)
        stores = [with_tails(draws, 10, 20, own) for _ in range(400)]
        single = float(np.mean([each.verdict == "worse" for rows in stores for each in rows]))
        row(f"{own:.0%}", single, *(float(each) for each in np.mean([worse(rows) for rows in stores], axis=0)))


def ends_of(base: NDArray[np.float64], other: NDArray[np.float64]) -> dict[str, tuple[float, float]]:
    """Return three bootstrap intervals of the log of the ratio: percentile, basic, and BCa (Efron, 1987)."""
    count = len(base)
    draws = np.sort(base)[_resampled_ranks(count, 0, 0)].sum(axis=0), np.sort(other)[_resampled_ranks(count, 0, 1)]
    logs = np.sort(np.log(draws[1].sum(axis=0) / draws[0]))
    found = float(np.log(np.median(other) / np.median(base)))
    low, high = np.quantile(logs, [0.025, 0.975])
    left = [np.log(np.median(other) / np.median(np.delete(base, each))) for each in range(count)]
    left += [np.log(np.median(np.delete(other, each)) / np.median(base)) for each in range(count)]
    apart = np.concatenate([np.mean(side) - side for side in np.split(np.array(left), 2)])
    spread = float(apart @ apart) ** 1.5
    skew = float((apart**3).sum()) / (6 * spread) if spread else 0.0
    bias = NORMAL.inv_cdf(min(0.999, max(0.001, float(np.mean(logs < found) + np.mean(logs <= found)) / 2)))
    moved = [bias + NORMAL.inv_cdf(tail) for tail in (0.025, 0.975)]
    ends = np.quantile(logs, [NORMAL.cdf(bias + each / (1 - skew * each)) for each in moved])
    return {"percentile": (low, high), "basic": (2 * found - high, 2 * found - low), "BCa": (ends[0], ends[1])}


def methods() -> None:
    """Three kinds of bootstrap interval of the ratio of medians, by what each covers and how often it cries wolf."""
    cells: dict[str, list[str]] = {}
    for count in COUNTS:
        pairs = PROCESSES["log-normal 5 %"](np.random.default_rng(count), (2, PAIRS, count))
        found = [ends_of(one, two) for one, two in zip(*pairs, strict=True)]
        for name in found[0]:
            low, high = np.array([each[name] for each in found]).T
            held = float(np.mean((low <= 0) & (high >= 0)))
            alarms = float(np.mean((low > np.log(1.02)) | (high < np.log(0.98))))
            power = float(np.mean(low + np.log(1.1) > np.log(1.02)))
            cells.setdefault(name, []).append(f"{100 * held:.1f} / {100 * alarms:.1f} / {100 * power:.1f}")
    head(
        f"bootstrap intervals alone, {PAIRS} pairs: % that hold the truth / false alarms / +10 % found",
        *("interval", *(f"{count} a side" for count in COUNTS)),
    )
    for name, shown in cells.items():
        row(name, *shown)


def orders() -> None:
    """False alarms on a machine whose speed wanders: all of one side first, or in turns."""
    draws = np.random.default_rng(1)
    wander = np.cumsum(draws.normal(0, 0.01, (PAIRS, 40)), axis=1)
    speed = np.exp(wander + 0.02 * draws.normal(size=wander.shape))
    head(f"a machine that wanders, {PAIRS} pairs of 20 a side, % false alarms", "order", "false alarms")
    for name, base, other in (
        ("A A … B B", speed[:, :20], speed[:, 20:]),
        ("A B A B …", speed[:, 0::2], speed[:, 1::2]),
    ):
        found = [compare_processes(one, two) for one, two in zip(base, other, strict=True)]
        row(name, share(found, "higher", "lower"))


def intervals() -> None:
    """How often the intervals of percentiles hold the true one."""
    counts = {50: (11, 100, 1000), 90: (64, 200, 1000), 95: (130, 300, 1000), 99: (662, 1000, 2000)}
    head(
        f"{SIMULATIONS} series, % of intervals that hold the true percentile",
        *("distribution", *(f"p{p} at n = {', '.join(map(str, sizes))}" for p, sizes in counts.items())),
    )
    draws = np.random.default_rng(3)
    for name, (draw, truth) in LATENCIES.items():
        cells = []
        for p, sizes in counts.items():
            held = []
            for size in sizes:
                ordered = np.sort(draw(draws, (SIMULATIONS, size)), axis=1)
                low, high = interval_ranks(size, p) or (1, size)
                true = truth(p / 100)
                held.append(np.mean((ordered[:, low - 1] <= true) & (true <= ordered[:, high - 1])))
            cells.append(" / ".join(f"{100 * one:.1f}" for one in held))
        row(name, *cells)


def flags() -> None:
    """How often white noise is flagged, and how often memory and drift are."""
    draws = np.random.default_rng(2)
    shape = (RUNS, 200)
    kinds = {f"white, {name}": draw(draws, shape) for name, draw in SERIES.items()}
    kinds |= {f"memory {memory}": 10 + 0.3 * autocorrelated(draws, shape, memory) for memory in (0.3, 0.5, 0.9)}
    for drift in (0.02, 0.05, 0.1):
        kinds[f"drift {drift:.0%} in noise of 3 %"] = draws.normal(1, 0.03, shape) + np.linspace(0, drift, shape[1])
    head(f"{RUNS} series of {shape[1]} samples, % flagged", "series", AUTOCORRELATED, DRIFTING)
    for name, series in kinds.items():
        found = [series_flags(each).flags for each in series]
        row(name, *(sum(flag in each for each in found) / RUNS for flag in (AUTOCORRELATED, DRIFTING)))


def rates() -> None:
    """How often a window's interval holds the true rate."""
    head(f"{RUNS} windows, % of intervals that hold the true rate", "stretches", *map(str, STRETCHES))
    for name, draw in STRETCH_TIMES.items():
        cells = []
        for count in STRETCHES:
            elapsed = draw(np.random.default_rng(count), (RUNS, count))
            rate = count / elapsed.sum(axis=1)
            half = np.array([rate_interval([1] * count, each) for each in elapsed], dtype=np.float64)
            cells.append(float(np.mean(np.abs(rate - 1) <= half * rate)))
        row(name, *cells)


def loadgen() -> None:
    """Our order statistics beside those that LoadGen itself prints."""
    same = {"early-stopping estimate": 0, "least count": 0, "percentiles": 0, "percentiles at a whole rank": 0}
    whole = 0
    with tempfile.TemporaryDirectory() as folder:
        for run in runs(RUNS, 900, Path(folder), seed=1):
            ordered, size = sorted(run.latencies_ns), len(run.latencies_ns)
            found, text = early_stopping(run.latencies_ns, run.target), str(run.log["early_stopping_result"])
            least = re.search(r"at least (\d+) queries", text)
            same["early-stopping estimate"] += run.log["early_stopping_latency_ss"] == (found.estimate or 0)
            same["least count"] += least is not None and int(least[1]) == found.needed
            for p in PRINTED:
                at = (p * 10 * size) % 1000 == 0
                whole += at
                equal = run.printed(p) == ordered[order_rank(size, p) - 1 + at]
                same["percentiles at a whole rank" if at else "percentiles"] += equal
    totals = (RUNS, RUNS, RUNS * len(PRINTED) - whole, whole)
    head(f"{RUNS} runs of MLPerf's LoadGen", "what", "equal", "of")
    for (name, equal), total in zip(same.items(), totals, strict=True):
        row(name, equal, total)


def main() -> None:
    """Print every table."""
    for table in (comparisons, gates, tails, methods, orders, intervals, flags, rates, loadgen):
        table()


if __name__ == "__main__":
    main()
