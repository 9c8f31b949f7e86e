"""A gate over many points: how often it cries wolf, what it still finds, and what a point says that does not pass."""

import re
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_results import START, make_accuracy, make_result
from many_points import TERMS, identical, point, slower, worse
from noise import MEASURED, PROCESSES
from scipy.stats import false_discovery_control

from harness.analysis.compare import compare_stores
from harness.analysis.compare_many import settled
from harness.statistics.comparing import MAX_CHANCE

STORES = 200
POINTS = 30


@pytest.mark.parametrize(("name", "points", "count"), [("log-normal 30 %", 30, 20), ("two levels", 30, 10)])
def test_identical_stores_are_called_worse_in_about_1_percent(name, points, count):
    """Point by point thirty points cry wolf far more often; the bound leaves room for what 200 stores can tell."""
    draws = np.random.default_rng(21)
    alone, together = np.mean([worse(identical(PROCESSES[name], draws, points, count)) for _ in range(STORES)], axis=0)
    assert alone > 0.05
    assert together <= 0.01 + 2 * np.sqrt(0.01 / STORES)


@pytest.mark.parametrize("name", MEASURED)
def test_ten_percent_at_one_of_thirty_points_are_found(name):
    """With twenty processes a side in nine of ten stores, though latency adds nothing to what throughput says."""
    draws = np.random.default_rng(22)
    others = [identical(PROCESSES[name], draws, POINTS - 1, 20) for _ in range(4)]
    found = [settled([slower(PROCESSES[name], draws, 20, 1.1), *others[each % 4]], TERMS)[0] for each in range(STORES)]
    assert np.mean([row.verdict == "worse" for row in found]) >= 0.9


def test_a_single_point_is_judged_as_ever():
    """Nothing is taken from a store of one point: not even at five a side, where ranks are rare in 0.8 %."""
    (row,) = settled([slower(quiet, np.random.default_rng(23), 5, 1.5)], TERMS)
    assert (row.verdict, [each.verdict for each in row.speed]) == ("worse", ["slower", "slower"])
    assert row.worse_chance == pytest.approx(1 / 252)


def test_few_processes_prove_nothing_of_one_point_among_many_and_say_how_many_would():
    """Five a side at thirty points: the rarest order there is comes too often, of seven a side it would not."""
    draws = np.random.default_rng(24)
    rows = [slower(quiet, draws, 5, 1.5), *(slower(quiet, draws, 5, 1.0) for _ in range(29))]
    row, *_ = settled(rows, TERMS)
    assert (row.verdict, row.reason) == ("inconclusive", None)
    for each in row.speed:
        assert (each.verdict, each.needed) == ("inconclusive", 7)
        assert each.reason == (
            "slower if it were alone: identical processes are as far apart in 0.79 % of comparisons, "
            "and with 30 points at most 0.067 % counts"
        )
    enough = [slower(quiet, draws, 7, 1.5), *(slower(quiet, draws, 7, 1.0) for _ in range(29))]
    assert settled(enough, TERMS)[0].verdict == "worse"


def test_what_slows_most_points_is_found_with_few_processes():
    """Each alone would not pass among thirty; that all of them agree is no chance."""
    draws = np.random.default_rng(25)
    rows = [slower(quiet, draws, 5, 1.5) for _ in range(25)] + [slower(quiet, draws, 5, 1.0) for _ in range(5)]
    assert [row.verdict for row in settled(rows, TERMS)[:25]] == ["worse"] * 25


def test_what_is_better_lends_nothing_to_what_looks_worse():
    """Twenty-nine points that are faster do not make the thirtieth, rare at 0.8 %, worth calling slower."""
    draws = np.random.default_rng(26)
    rows = [slower(quiet, draws, 5, 1.5), *(slower(quiet, draws, 5, 0.5) for _ in range(29))]
    assert [row.verdict for row in settled(rows, TERMS)] == ["inconclusive", *["better"] * 29]


@given(st.integers(0, 10_000), st.integers(2, 12))
@settings(max_examples=40, deadline=None)
def test_what_is_doubted_is_not_as_rare_as_its_own_words_ask(seed, points):
    """Whatever its numbers and the others' are, chance reaches it more often than it may, and more processes tell."""
    draws = np.random.default_rng(seed)
    values = draws.lognormal(0, 0.06, (points, 2, 2, 9)) * np.array([[1, 0.9], [1, 1.1]])[None, :, :, None]
    for row in settled([point(*each) for each in values], TERMS):
        for each in row.speed:
            if found := re.search(r"apart in (\S+) % of .* at most (\S+) % counts", each.reason or ""):
                assert float(found[1]) >= float(found[2])
                assert each.needed is None or each.needed > 9


def quiet(draws, shape):
    """Processes within half a per cent."""
    return draws.uniform(0.995, 1.005, shape)


def store(points, first, slow=(), count=6):
    """Processes of many points, taking turns with those of another `first`; some points are slow."""
    draws = np.random.default_rng(first)
    return [
        make_result(
            batch_size_per_gpu=1 + point,
            rates=[(100, draws.uniform(10, 10.1) * (1.3 if point in slow else 1))],
            repeat=n,
            started_at=START + timedelta(minutes=2 * (points * n + point) + first),
        )
        for n in range(count)
        for point in range(points)
    ]


def test_point_store_and_whole_agree():
    """What does not pass is inconclusive everywhere; the number of points is that of all stores of one command."""
    two = compare_stores([("a", store(8, 0)), ("b", store(8, 1, slow={2}))])
    assert (two.tested, two.verdict, two.stores[0].counts["worse"]) == (8, "worse", 1)
    three = compare_stores([("a", store(8, 0)), ("b", store(8, 1, slow={2})), ("c", store(8, 2))])
    assert (three.tested, three.verdict) == (16, "inconclusive")
    assert three.stores[0].verdict == three.stores[0].pairs[2].verdict == "inconclusive"
    assert three.stores[0].pairs[2].speed[0].needed == 7
    assert (two.stores[0].pairs[2].worse_chance, two.stores[0].pairs[1].worse_chance) == (pytest.approx(1 / 924), 1)


def test_a_reader_of_the_rows_can_follow_the_verdicts():
    """By scipy's adjustment of the points' chances, as many as were tested, held to the share of false alarms."""
    found = compare_stores([("a", store(9, 0)), ("b", store(9, 1, slow={0, 2, 5, 6})), ("c", store(9, 2, slow={3}))])
    pairs = [pair for each in found.stores for pair in each.pairs]
    adjusted = false_discovery_control([pair.worse_chance for pair in pairs])
    assert len(pairs) == found.tested
    assert [pair.verdict == "worse" for pair in pairs] == (adjusted <= found.false_alarms).tolist()
    assert [pair.verdict for pair in pairs].count("worse") == 5


def test_a_point_that_stops_working_is_worse_among_however_many():
    """There is no chance in an outcome, and in weights scored twice."""
    crashed = {"kind": "crashed", "reason": "SIGSEGV"}
    other = [
        each.model_copy(update={"outcome": each.outcome.model_copy(update=crashed)})
        if each.trial.batch_size_per_gpu == 3
        else each
        for each in store(30, 1, count=1)
    ]
    found = compare_stores([("a", store(30, 0, count=1)), ("b", other)])
    assert (found.verdict, found.tested) == ("worse", 0)
    evaluated = [
        [
            make_result(
                phase="eval",
                batch_size_per_gpu=1 + point,
                weights_read={"weights": "ab" * 32},
                accuracy=(make_accuracy(0.3 - loss * (point == 4)),),
            )
            for point in range(30)
        ]
        for loss in (0, 0.1)
    ]
    found = compare_stores([("a", evaluated[0]), ("b", evaluated[1])])
    assert (found.verdict, found.tested, found.stores[0].counts["worse"]) == ("worse", 0, 1)


def test_a_target_that_one_side_missed_is_one_of_the_points_numbers():
    """All of five against none of five comes by chance as often as all ranks apart: among thirty points too often."""
    target = {"target": {"bbox_ap": 0.3}}
    sides = [
        [
            make_result(
                batch_size_per_gpu=1 + point,
                repeat=n,
                rates=[(100, 10.0)],
                time_to_target_s=None if side and not point else 100.0 + point,
                **target,
            )
            for n in range(5)
            for point in range(30)
        ]
        for side in (0, 1)
    ]
    row = next(
        each
        for each in compare_stores([("a", sides[0]), ("b", sides[1])]).stores[0].pairs[0].speed
        if each.metric == "time to target"
    )
    assert (row.verdict, row.chance, row.needed) == ("inconclusive", pytest.approx(2 / 252), 8)
    assert row.reason.startswith(
        "target not reached by 0 of 5 processes of the base and 5 of 5 of the other; slower if it were alone: identical"
    )


def test_accuracy_is_one_of_the_points_numbers():
    """A drop of AP that is rare enough alone is not among forty points; the text says what it would be."""
    draws = np.random.default_rng(27)
    sides = [
        [
            make_result(
                evaluate=True,
                batch_size_per_gpu=1 + point,
                repeat=n,
                rates=[(100, 10.0)],
                accuracy=(make_accuracy(0.3 - loss * (point == 0) + 0.004 * draws.uniform(-1, 1), None, 20),),
            )
            for n in range(5)
            for point in range(40)
        ]
        for loss in (0, 0.008)
    ]
    (pair,) = compare_stores([(name, side[::40]) for name, side in zip("ab", sides, strict=True)]).stores[0].pairs
    assert (pair.quality[0].verdict, pair.verdict) == ("worse", "worse")
    assert pair.quality[0].chance <= MAX_CHANCE
    row = compare_stores([("a", sides[0]), ("b", sides[1])]).stores[0].pairs[0].quality[0]
    assert (row.verdict, row.chance) == ("inconclusive", pair.quality[0].chance)
    assert row.reason.startswith("worse if it were alone: identical processes are as far apart in ")
    assert 5 < row.needed < 20
