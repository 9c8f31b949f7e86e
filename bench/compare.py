"""A/A on real processes: how often comparing cries wolf over identical code, and how often it finds +10 %.

Runs of the demo backend one after another, each with a zygote of its own; in each, rounds of two identical processes
and one of 10 % more device time. Interleaved: sides take one of the two of each round, by lot. Apart: all of one run
against all of the next. The draws share processes: their number says how finely a rate is known, not how surely.
"""

import os
import random
import sys
import tempfile
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stderr
from io import StringIO
from itertools import pairwise
from pathlib import Path

from harness.analysis.compare import compare_stores
from harness.analysis.compare_speed import Terms
from harness.measure.machine import machine
from harness.results.store import Store
from harness.runner.run import Door, Run, Task
from harness.schema.result import DataPaths, TrialResult
from harness.schema.trial import DataNames, Trial

SIDES = (10, 20)
"""Processes a side."""
STEP_MS = 2.0
MORE = 1.1
WARMUP, STEPS = 3, 20
ROUNDS = 10
"""Of one run."""


def say(line: str) -> None:
    """Print one line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def trials(first: int) -> list[Trial]:
    """The rounds of one run: in each, two processes of one device time and, between them, one of more."""
    steps_ms = (STEP_MS, MORE * STEP_MS, STEP_MS)
    places = [
        (2 * each + place // 2, step_ms)
        for each in range(first, first + ROUNDS)
        for place, step_ms in enumerate(steps_ms)
    ]
    base = Trial(backend="demo", phase="infer", warmup_steps=WARMUP, timed_steps=STEPS)
    return [base.model_copy(update={"repeat": repeat, "options": {"step_ms": step_ms}}) for repeat, step_ms in places]


def run(first: int) -> list[TrialResult]:
    """Every trial of one run in a process of its own, one after another.

    Raises:
        RuntimeError: a trial went wrong.
    """
    data = {DataNames(): DataPaths(train="synthetic", val="synthetic")}
    given = trials(first)
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(StringIO()) as said:
        store = Store(Path(folder))
        made = Run("bench", store, {"demo": Door("demo_backend", ("local",))}, data, machine(), {})
        outcomes = made.carry_out([Task(trial) for trial in given])
        if outcomes != {"ok": len(given)}:
            raise RuntimeError(f"the demo backend's trials ended badly:\n{said.getvalue()}")
        return store.load_all()


def verdicts(base: Sequence[TrialResult], other: Sequence[TrialResult], across: tuple[str, ...] = ()) -> dict[str, str]:
    """The verdict of each number of the one point."""
    found = compare_stores([("base", base), ("other", other)], Terms(across=across))
    return {row.metric: row.verdict for row in found.stores[0].pairs[0].speed}


Pair = tuple[Sequence[TrialResult], Sequence[TrialResult]]


def interleaved(rounds: Sequence[Sequence[TrialResult]], a_side: int, lot: random.Random) -> list[Pair]:
    """Neighbouring rounds, as many as a side has processes, each round's two processes given to the sides by lot."""
    starts = range(lot.randrange(a_side), len(rounds) - a_side + 1, a_side)
    drawn = [[lot.sample(list(each), 2) for each in rounds[start : start + a_side]] for start in starts]
    return [([first for first, _ in each], [second for _, second in each]) for each in drawn]


def tell(what: str, pairs: Sequence[Pair], wanted: str, across: tuple[str, ...] = ()) -> None:
    """A line for each number: how often each verdict came."""
    found: dict[str, Counter[str]] = {}
    for base, other in pairs:
        for metric, verdict in verdicts(base, other, across).items():
            found.setdefault(metric, Counter())[verdict] += 1
    for metric, counts in found.items():
        shares = {verdict: count / counts.total() for verdict, count in counts.most_common()}
        wrong = shares.get("faster", 0.0) + (0.0 if across else shares.get("slower", 0.0))
        listed = ", ".join(f"{share:.1%} {verdict}" for verdict, share in shares.items())
        say(f"{what}, {metric}: of {counts.total()} pairs {wrong:.2%} {wanted}; {listed}")


def main() -> None:
    """Run and print; --runs and --draws for more of them."""
    parser = ArgumentParser()
    parser.add_argument("--runs", type=int, default=15, help=f"of {ROUNDS} rounds each")
    parser.add_argument("--draws", type=int, default=40)
    given = parser.parse_args()
    before = os.getloadavg()[0]
    runs = [run(first * ROUNDS) for first in range(given.runs)]
    count = sum(map(len, runs))
    say(f"{count} processes of {STEPS} batches of {STEP_MS:g} ms; load {before:.1f} to {os.getloadavg()[0]:.1f}")
    equal = [[each for each in done if each.trial.options["step_ms"] == STEP_MS] for done in runs]
    more = [each for done in runs for each in done if each.trial.options["step_ms"] != STEP_MS]
    rounds = [done[place : place + 2] for done in equal for place in range(0, len(done), 2)]
    lot = random.Random(0)  # noqa: S311  no secret: the same draws each time
    for a_side in SIDES:
        drawn = [each for _ in range(given.draws) for each in interleaved(rounds, a_side, lot)]
        tell(f"A/A interleaved, {a_side} a side", drawn, "cry wolf (bar: 2 %)")
    tell(f"A/A apart, {2 * ROUNDS} a side", list(pairwise(equal)), "cry wolf (bar: 2 %)")
    for a_side in SIDES:
        starts = range(len(rounds) - a_side + 1)
        planted = [([each[0] for each in rounds[at : at + a_side]], more[at : at + a_side]) for at in starts]
        tell(f"+10 % interleaved, {a_side} a side", planted, "call it faster", across=("step_ms",))


if __name__ == "__main__":
    main()
