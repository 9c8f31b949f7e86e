"""Stores side by side: verdicts, their precedence, and what keeps numbers from being compared."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_results import MACHINE, PROVENANCE, START, make_accuracy, make_machine, make_result, make_series, make_store
from scipy.stats import ttest_ind

from harness.analysis.compare import compare_stores, split
from harness.analysis.compare_quality import judge, welch
from harness.analysis.compare_speed import Terms, processes_needed
from harness.errors import ReportError
from harness.schema.measurement import Window
from harness.schema.result import Outcome
from harness.schema.telemetry import Energy, GpuTelemetry, HostTelemetry, Telemetry

CRASH = Outcome(kind="crashed", reason="SIGSEGV")


def store(slowness=1.0, count=10, first=0, **changes):
    """Processes of one point, 2 % of noise around `slowness`, taking turns with those of a store of another `first`."""
    return [
        make_result(
            rates=[(100, slowness * (10 + 0.02 * ((7 * n + first) % 10)))],
            repeat=n,
            started_at=START + timedelta(minutes=2 * n + first),
            **changes,
        )
        for n in range(count)
    ]


def compared(base, other, **terms):
    """The one comparison of two stores."""
    return compare_stores([("a", base), ("b", other)], Terms(**terms)).stores[0]


def only_pair(base, other, **terms):
    """The one point of two stores."""
    (found,) = compared(base, other, **terms).pairs
    return found


def speed(pair, metric="throughput"):
    """One number of a point."""
    return next(row for row in pair.speed if row.metric == metric)


@pytest.mark.parametrize(
    ("slowness", "verdict", "point"),
    [(0.8, "faster", "better"), (1.2, "slower", "worse"), (1.0, "same", "same")],
)
def test_throughput_has_its_verdict(slowness, verdict, point):
    """Higher is better, and a ratio has both medians, an interval and an effect."""
    pair = only_pair(store(), store(slowness, first=1))
    row = speed(pair)
    assert (row.verdict, pair.verdict) == (verdict, point)
    assert row.ratio == pytest.approx(row.other.median / row.base.median)
    assert row.low <= row.ratio <= row.high
    assert row.effect == {"faster": 1, "slower": -1}.get(verdict, row.effect)


def test_latency_is_better_lower_and_percentiles_wait_for_samples():
    """p50 from 11 samples a process, p90 from 64; of 20 samples there is no p90."""
    series = [{"measurements": (make_series("latency_ms", [scale * 10.0] * 20),)} for scale in (1.0, 0.5)]
    given = [store(phase="infer", first=side, **each) for side, each in enumerate(series)]
    pair = only_pair(*given)
    assert [row.metric for row in pair.speed] == ["throughput", "latency p50"]
    assert speed(pair, "latency p50").verdict == "faster"


def test_too_few_processes_are_inconclusive_and_say_how_many_would_do():
    """Three against three tell nothing, however far apart."""
    row = speed(only_pair(store(count=3), store(2.0, count=3)))
    assert (row.verdict, row.low, row.needed) == ("inconclusive", None, 20)
    assert "3 and 3 processes" in row.reason


def test_noise_is_inconclusive_and_says_how_many_processes_would_do():
    """An interval that reaches both sides of the tolerance."""
    sides = [
        [make_result(rates=[(100, 10.0 + 0.2 * (n % 5) + shift)], repeat=n) for n in range(12)] for shift in (0, 0.05)
    ]
    row = speed(only_pair(*sides))
    assert row.verdict == "inconclusive"
    assert row.needed > 12


@given(st.integers(1, 500), st.floats(0, 2), st.floats(0, 2))
def test_needed_processes_are_more_than_there_are(count, half, gap):
    """Or unknown, where they would be more than a thousand."""
    needed = processes_needed(count, half, gap)
    assert needed is None or count < needed <= 1000


@settings(max_examples=30)
@given(st.lists(st.floats(1, 100), min_size=1, max_size=12), st.lists(st.floats(1, 100), min_size=1, max_size=12))
def test_swapping_the_sides_swaps_the_verdict(base, other):
    """Nothing is faster than what is faster than it."""
    sides = [[make_result(rates=[(100, each)], repeat=n) for n, each in enumerate(side)] for side in (base, other)]
    there, back = speed(only_pair(*sides)), speed(only_pair(*reversed(sides)))
    opposite = {"faster": "slower", "slower": "faster"}
    assert there.effect == pytest.approx(-back.effect)
    assert there.ratio == pytest.approx(1 / back.ratio)
    for one, two in ((there, back), (back, there)):
        assert one.verdict not in opposite or two.verdict in {opposite[one.verdict], "inconclusive"}


@settings(max_examples=20)
@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=12))
def test_a_store_is_the_same_as_itself(values):
    """However few and noisy its processes are; and it is said that nothing was run twice."""
    results = [
        each.model_copy(update={"windows": make_result(rates=[(100, value)]).windows})
        for each, value in zip(store(count=len(values)), values, strict=True)
    ]
    pair = only_pair(results, results)
    assert (pair.verdict, pair.differences) == ("same", ())
    assert pair.notes == ("both sides hold the same records: nothing was run twice",)


def scored(aps, first=0, **changes):
    """Training processes of equal speed, scored after 20 steps."""
    return [
        each.model_copy(update={"accuracy": (make_accuracy(ap, None, 20),)})
        for each, ap in zip(store(count=len(aps), first=first, evaluate=True, **changes), aps, strict=True)
    ]


@pytest.mark.parametrize(
    ("other", "verdict"),
    [
        ([0.350, 0.351, 0.352, 0.349, 0.350], "better"),
        ([0.250, 0.251, 0.252, 0.249, 0.250], "worse"),
        ([0.301, 0.300, 0.302, 0.299, 0.300], "same"),
        ([0.330, 0.270, 0.310, 0.290, 0.300], "inconclusive"),
        ([0.320], "inconclusive"),
    ],
)
def test_accuracy_has_its_own_verdict(other, verdict):
    """AP of repeats as a difference of means; the values stay visible."""
    pair = only_pair(scored([0.300, 0.301, 0.302, 0.299, 0.300]), scored(other, first=1))
    (row,) = pair.quality
    assert (row.kind, row.verdict, row.other.values) == ("bbox", verdict, tuple(other))
    assert pair.verdict == ("inconclusive" if len(other) == 1 else verdict)


def test_worse_accuracy_outweighs_speed():
    """Faster and worse is worse."""
    fast = [each.model_copy(update={"windows": store(0.5)[0].windows}) for each in scored([0.2] * 6, first=1)]
    pair = only_pair(scored([0.3] * 6), fast)
    assert (speed(pair).verdict, pair.quality[0].verdict, pair.verdict) == ("faster", "worse", "worse")


def test_scorings_after_unequal_steps_are_no_comparison():
    """AP after 40 steps against AP after 20 says nothing about either, and decides nothing."""
    later = [
        each.model_copy(update={"accuracy": (make_accuracy(0.5 + 0.001 * n, None, 40),)})
        for n, each in enumerate(scored([0.3] * 6, first=1))
    ]
    pair = only_pair(scored([0.3] * 6), later)
    assert (pair.quality[0].verdict, pair.quality[0].decides, pair.verdict) == ("inconclusive", False, "same")
    assert pair.quality[0].reason == "scored after 20 steps against 40"


@pytest.mark.parametrize(("ap", "verdict"), [(0.3, "same"), (0.301, "same"), (0.31, "better"), (0.29, "worse")])
def test_evaluating_equal_weights_needs_no_repeats(ap, verdict):
    """There is no chance in it: one number a side is enough."""
    given = [
        make_result(phase="eval", weights_read={"weights": "ab" * 32}, accuracy=(make_accuracy(value),))
        for value in (0.3, ap)
    ]
    assert only_pair(given[:1], given[1:]).quality[0].verdict == verdict


@pytest.mark.parametrize("count", [2, 5, 20])
def test_equal_accuracy_is_called_different_in_at_most_1_percent(count):
    """Of 2,000 pairs of runs whose AP spreads by five times the tolerance; an interval alone errs in up to 2 %."""
    pairs = np.random.default_rng(3).normal(0.3, 0.01, (2000, 2, count)).tolist()
    found = [judge((base, other), welch(base, other, 0.95), Terms()).verdict for base, other in pairs]
    assert (found.count("better") + found.count("worse")) / len(found) <= 0.01


def test_what_lies_beyond_the_tolerance_by_chance_says_so():
    """The interval is wholly outside, but ranks and means as far apart are not rare: that is the reason, in words."""
    values = [0.7, 0.7, 0.8, 1.0, 1.1, 1.1, 1.4, 1.5], [0.7, 1.5, 1.5, 1.5, 1.5, 1.9, 2.0, 2.1]
    sides = [[make_result(rates=[(100, 10 / each)], repeat=n) for n, each in enumerate(side)] for side in values]
    row = speed(only_pair(*sides))
    assert (row.verdict, row.low > 1.02, row.needed) == ("inconclusive", True, 9)
    assert row.reason == "identical processes are as far apart in 1.5 % of comparisons, and at most 1 % counts"
    given = scored([0.300, 0.310, 0.305]), scored([0.316, 0.326, 0.321], first=1)
    (quality,) = only_pair(*given).quality
    assert (quality.verdict, quality.low > 0.002, quality.needed) == ("inconclusive", True, 4)
    assert quality.reason == "identical processes are as far apart in 1.7 % of comparisons, and at most 1 % counts"


def test_welch_gives_the_textbook_interval():
    """Against the two-sample example worked by hand: means 3 and 7, variances 2.5 and 2.5, 8 degrees of freedom."""
    found = welch([1, 2, 3, 4, 5], [5, 6, 7, 8, 9], 0.95)
    assert (found.low, found.high) == (pytest.approx(4 - 2.306004), pytest.approx(4 + 2.306004))
    assert found.chance == pytest.approx(ttest_ind([1, 2, 3, 4, 5], [5, 6, 7, 8, 9]).pvalue)


def test_time_to_target_is_better_lower_and_a_missed_target_is_no_number():
    """All that reached it against none that did is slower; some that missed it is no verdict."""
    target = {"target": {"bbox_ap": 0.3}}
    base = [each.model_copy(update={"time_to_target_s": 100.0 + n}) for n, each in enumerate(store(**target))]
    half = [each.model_copy(update={"time_to_target_s": 50.0 + n}) for n, each in enumerate(store(first=1, **target))]
    assert speed(only_pair(base, half), "time to target").verdict == "faster"
    assert speed(only_pair(base, store(first=1, **target)), "time to target").verdict == "slower"
    some = speed(only_pair(base, [*half[:9], store(first=1, **target)[9]]), "time to target")
    assert (some.verdict, some.reason) == (
        "inconclusive",
        "target not reached by 0 of 10 processes of the base and 1 of 10 of the other",
    )


def trained(steps, first=0, **changes):
    """Runs that reached their target after so many steps; None is one that did not."""
    return [
        each.model_copy(
            update={
                "accuracy": (make_accuracy(0.31 if after else 0.2, None, after or 900),),
                "time_to_target_s": 10.0 * after if after else None,
            }
        )
        for each, after in zip(
            store(count=len(steps), first=first, target={"bbox_ap": 0.3}, **changes), steps, strict=True
        )
    ]


POLICY_BASE = [200, 210, 210, 200, 220, 220, 210, 210, 200, 200]


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([190, 190, 190, 200, 210], "193 steps, the base after 208"),
        ([190, 190, 190, 200, None], "193 steps, the base after 208"),
        ([200, 200, 200, 210, 210], None),
        ([190, 190, 190, None, None], None),
        ([100, 100, 100, 100], None),
    ],
)
def test_converging_faster_than_the_base_allows_is_said(steps, told):
    """The second worked example of MLPerf's policy, each epoch ten steps: 4.12 % faster at most."""
    found = only_pair(trained(POLICY_BASE), trained(steps, first=1)).notes
    notes = [note for note in found if "MLPerf" in note]
    assert [f"after {told}" in note and note.endswith("4.1% faster at most") for note in notes] == [True] * bool(told)


def test_a_reference_holds_for_one_batch_size_and_for_runs_that_all_converge():
    """Other batches take other numbers of steps, and a base that missed its target is no reference."""
    fast = [100] * 5
    one, two = trained(POLICY_BASE, batch_size_per_gpu=1), trained(fast, first=1, batch_size_per_gpu=2)
    assert not any("MLPerf" in note for note in only_pair(one, two, across=("batch_size_per_gpu",)).notes)
    lost = trained([*POLICY_BASE, None])
    assert not any("MLPerf" in note for note in only_pair(lost, trained(fast, first=1)).notes)


def with_energy(results, joules):
    """Results whose one GPU used so much."""
    gpu = GpuTelemetry(uuid="GPU-0", name="Some GPU", samples=100, energy=Energy(joules=joules))
    seen = Telemetry(
        interval_s=0.1, samples=100, longest_gap_s=0.1, window_s=10, sampler_cpu_s=0, gpus=(gpu,), host=HostTelemetry()
    )
    return [each.model_copy(update={"telemetry": seen, "machine": make_machine(1)}) for each in results]


def test_energy_is_compared_where_it_is_known():
    """Images per joule, higher is better; unknown energy is no verdict and decides nothing."""
    base, other = store(device="cuda"), store(device="cuda", first=1)
    row = speed(only_pair(with_energy(base, 10.0), with_energy(other, 5.0)), "images per joule")
    assert (row.verdict, row.base.median, row.other.median) == ("faster", 10.0, 20.0)
    pair = only_pair(with_energy(base, 10.0), with_energy(other, None))
    assert (speed(pair, "images per joule").verdict, pair.verdict) == ("inconclusive", "same")


@pytest.mark.parametrize(
    ("base", "other", "verdict"),
    [
        ("ok", "out_of_memory", "worse"),
        ("crashed", "ok", "better"),
        ("ok", "skipped", "not comparable"),
        ("out_of_memory", "out_of_memory", "same"),
        ("timeout", "crashed", "not comparable"),
    ],
)
def test_outcomes_are_compared(base, other, verdict):
    """A point that stops working is worse; one without numbers on either side is a row with a reason."""
    sides = [store(outcome=Outcome(kind=kind, reason="why")) for kind in (base, other)]
    pair = only_pair(*sides)
    assert pair.verdict == verdict
    assert pair.reason.startswith(f"outcome {base} against {other}")


def test_processes_that_went_wrong_keep_a_point_from_being_the_same():
    """Two of ten crashed on the other side and none on the base."""
    pair = only_pair(store(), [*store(first=1)[:8], *store(first=1, outcome=CRASH)[8:]])
    assert pair.verdict == "inconclusive"
    assert pair.reason.startswith("2 of 10 processes of the other have no numbers")


def test_a_different_framework_version_is_not_comparable_unless_declared():
    """The field is named; declared, it is what is measured."""
    other = store(0.8, first=1, provenance=PROVENANCE.model_copy(update={"packages": {"torch": "9", "numpy": "2.3.0"}}))
    pair = only_pair(store(), other)
    assert (pair.verdict, pair.speed) == ("not comparable", ())
    assert "provenance.packages.torch (2.14.1 against 9)" in pair.reason
    assert only_pair(store(), other, across=("packages.torch",)).verdict == "better"


def test_a_store_of_two_machines_is_not_comparable():
    """Half of a side from elsewhere is no side."""
    elsewhere = store(first=1, machine=MACHINE.model_copy(update={"cpu_model": "Other CPU"}))
    pair = only_pair(store(), [*store(first=1)[:5], *elsewhere[5:]])
    assert pair.verdict == "not comparable"
    assert "machine.cpu_model (Some CPU 3000 against Other CPU; Some CPU 3000)" in pair.reason


def test_a_declared_setting_must_have_one_value_a_side():
    """Two precisions in one store are not one side of anything."""
    mixed = [*store(precision="amp"), *store(precision="fp32")]
    pair = only_pair(mixed, store(precision="fp32", first=1), across=("precision",))
    assert pair.verdict == "not comparable"
    assert "trial.precision" in pair.reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"trial": store(count=1)[0].trial.model_copy(update={"rehearsal": True})}, "rehearsed in a"),
        ({"device_name": "FAKE clock"}, "simulated device FAKE clock"),
    ],
)
def test_numbers_that_measure_nothing_are_not_compared(changes, reason):
    """Neither rehearsals nor simulated devices, not even with one another."""
    pair = only_pair(store(**changes), store(first=1, **changes))
    assert (pair.verdict, pair.speed) == ("not comparable", ())
    assert pair.reason.startswith(reason)


def test_a_point_that_is_gone_names_what_its_nearest_differs_in():
    """A changed setting shows as what it is; a new point harms nothing."""
    found = compared(store(timed_steps=100), store(timed_steps=200, first=1))
    assert [pair.verdict for pair in found.pairs] == ["not comparable", "new"]
    assert "trial.timed_steps (100 against 200)" in found.pairs[0].reason
    more = compared(store(), [*store(first=1), *store(batch_size_per_gpu=7)])
    assert (more.verdict, more.counts) == ("same", {"same": 1, "new": 1})


def test_worse_outweighs_not_comparable_and_that_inconclusive():
    """The verdict of the whole is its most serious one."""
    good, slow, other = store(), store(1.3, first=1), store(first=1)
    few, fewer = (store(count=2, first=side, batch_size_per_gpu=2) for side in (0, 1))
    lost = store(batch_size_per_gpu=3)
    assert compared([*good, *few, *lost], [*slow, *fewer]).verdict == "worse"
    assert compared([*good, *few, *lost], [*other, *fewer]).verdict == "not comparable"
    assert compared([*good, *few], [*other, *fewer]).verdict == "inconclusive"
    assert compared(good, other).verdict == "same"


def test_tails_can_be_worse_but_need_not_be_known():
    """A p90 that nobody can tell leaves the whole as it is."""
    samples = [[10.0] * 60 + [20.0 + (n * 7 % 11) * side] * 10 for side in (1, 3) for n in range(10)]
    sides = [
        [
            each.model_copy(update={"measurements": (make_series("latency_ms", samples[10 * side + n]),)})
            for n, each in enumerate(store(phase="infer", first=side))
        ]
        for side in (0, 1)
    ]
    pair = only_pair(*sides)
    assert speed(pair, "latency p90").verdict == "inconclusive"
    assert pair.verdict == "same"


def test_one_side_after_the_other_is_said():
    """Drift of the machine would count as difference; sides that take turns have no such note."""
    assert only_pair(store(), store(first=1)).notes == ()
    (note,) = only_pair(store(), store(first=1000)).notes
    assert note.startswith("all processes of the base ran before those of the other")


def test_sides_that_ran_at_the_same_time_disturbed_one_another():
    """On one machine; on two they did not."""
    other = store(first=1)
    close = [each.model_copy(update={"duration_s": 300.0}) for each in other]
    assert any("at the same time" in note for note in only_pair(store(), close).notes)
    elsewhere = [each.model_copy(update={"machine": MACHINE.model_copy(update={"hostname": "b"})}) for each in close]
    assert only_pair(store(), elsewhere).notes == ()


def test_several_stores_are_compared_with_the_first():
    """Side by side, each with its verdict; the whole has the most serious."""
    found = compare_stores([("a", store()), ("b", store(0.8, first=1)), ("c", store(1.2, first=1))])
    assert [(each.other, each.verdict) for each in found.stores] == [("b", "better"), ("c", "worse")]
    assert (found.base, found.verdict) == ("a", "worse")


def test_one_store_splits_by_a_setting():
    """The first value that ran is the base, unless another is named; the rest of a point must agree."""
    results = [
        *store(options={"kernels": "framework"}, settings={"kernels": "framework"}),
        *store(0.8, first=1, options={"kernels": "native"}, settings={"kernels": "native"}),
    ]
    field, parts = split(results, "kernels")
    assert (field, [name for name, _ in parts]) == ("trial.options.kernels", ["kernels=framework", "kernels=native"])
    assert compare_stores(parts, Terms(across=(field,))).verdict == "better"
    _, turned = split(results, "kernels", "native")
    assert compare_stores(turned, Terms(across=(field,))).verdict == "worse"


@pytest.mark.parametrize(("field", "base"), [("kernles", None), ("precision", None), ("kernels", "none")])
def test_a_split_that_makes_no_sides_is_an_error(field, base):
    """A setting that nobody has, one with one value, a value that is not there."""
    results = [*store(options={"kernels": "a"}), *store(options={"kernels": "b"})]
    with pytest.raises(ReportError, match=f"--by {field}"):
        split(results, field, base)


def test_an_unknown_declaration_is_an_error():
    """A slip of the pen would otherwise declare nothing."""
    with pytest.raises(ReportError, match="--across torhc"):
        compare_stores([("a", store()), ("b", store())], Terms(across=("torhc",)))


def test_an_empty_base_is_not_comparable():
    """Points that are all new are no comparison."""
    found = compared([], store())
    assert (found.verdict, found.counts) == ("not comparable", {"new": 1})


MIXED = make_store()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(MIXED)), st.lists(st.sampled_from(MIXED)))
def test_any_two_stores_have_a_verdict(base, other):
    """Whatever phases, outcomes and repeats they hold; every point of either is in one row."""
    found = compared(base, other)
    assert found.verdict in {"better", "worse", "same", "inconclusive", "not comparable"}
    assert sum(found.counts.values()) == len(found.pairs)
    for side, rows in ((base, "base_outcomes"), (other, "other_outcomes")):
        assert sum(sum(getattr(pair, rows).values()) for pair in found.pairs) == len(side)


def test_one_store_alone_is_an_error():
    """There is nothing to compare with."""
    with pytest.raises(ReportError, match="1 store"):
        compare_stores([("a", store())])


def test_a_window_without_time_is_unknown_and_no_zero():
    """A rate of nothing is not the slowest of all."""
    stopped = Window(rank=0, images=0, steps=0, elapsed_s=1.0, warmup_steps=0, warmup_s=0)
    other = [each.model_copy(update={"windows": (stopped,)}) for each in store(first=1)]
    row = speed(only_pair(store(), other))
    assert (row.verdict, row.other) == ("inconclusive", None)
