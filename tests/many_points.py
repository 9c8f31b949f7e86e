"""Comparisons of stores of many points, simulated without the stores: what the gate over all of them says."""

from functools import cache

from made_results import make_result

from harness.analysis.compare_many import settled
from harness.analysis.compare_pairs import judged_again, plain_row
from harness.analysis.compare_speed import QUANTITIES, Terms, speed_row
from harness.analysis.points import Group, describe
from harness.statistics.comparing import MAX_CHANCE, cliffs_delta, rank_chance

NUMBERS = QUANTITIES[:4]
THROUGHPUT, LATENCY = NUMBERS[:2]
TERMS = Terms()


def number(quantity, base, other):
    """A row; of ranks that are not rare only their chance, since it can claim nothing whatever its interval."""
    chance = rank_chance(cliffs_delta(base, other), len(base), len(other))
    if chance > MAX_CHANCE:
        return nothing_known(quantity).model_copy(update={"chance": chance})
    return speed_row(quantity, base, other, TERMS)


@cache
def nothing_known(quantity):
    """A row without a verdict."""
    return speed_row(quantity, [1.0], [2.0], TERMS)


@cache
def empty():
    """A point of ten processes a side, without numbers."""
    point = describe(Group((make_result(),)), frozenset())
    return plain_row(point, ({"ok": 10}, {"ok": 10}), "inconclusive", None)


def point(throughputs, latencies):
    """One point judged alone."""
    rows = number(THROUGHPUT, *throughputs), number(LATENCY, *latencies)
    return judged_again(empty().model_copy(update={"speed": rows}))


def identical(draw, draws, points, count):
    """Points of identical code; throughput and latency know nothing of one another, which is when most can go wrong."""
    values = draw(draws, (points, 2, 2, count))
    return [point(*each) for each in values]


def with_tails(draws, points, count, own):
    """Points of identical code with p90 and p99 too; what processes share is 30 %, each number has `own` besides."""
    shared = draws.lognormal(0, 0.3, (points, 1, 2, count))
    values = shared * draws.lognormal(0, own, (points, len(NUMBERS), 2, count))
    rows = [tuple(number(each, *sides) for each, sides in zip(NUMBERS, found, strict=True)) for found in values]
    return [judged_again(empty().model_copy(update={"speed": each})) for each in rows]


def slower(draw, draws, count, by):
    """One point that is slower; its latency says what its throughput says, and adds nothing."""
    base, other = draw(draws, (2, count))
    return point((base, other / by), (1 / base, by / other))


def worse(rows):
    """Whether the whole is called worse: each point judged alone, and all of them together."""
    return any(row.verdict == "worse" for row in rows), any(row.verdict == "worse" for row in settled(rows, TERMS))
