"""The tables of a store: latency, quality, stability, outcomes and provenance."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_results import PROVENANCE, make_accuracy, make_machine, make_metrics, make_result, make_series, make_store

from harness.analysis.frame import trial_frame
from harness.analysis.performance import inference_rows, latency
from harness.analysis.tables import analyse
from harness.report.build import build
from harness.schema.measurement import Accuracy
from harness.schema.result import Outcome
from harness.schema.trial import Target


@settings(max_examples=15)
@given(st.lists(st.floats(0.01, 1e4), min_size=1, max_size=700))
def test_percentiles_are_order_statistics(samples):
    """Each known percentile is NumPy's inverse of the empirical distribution function, and lies in its interval."""
    found = latency(samples)
    assert found.samples == len(samples)
    assert found.mean_ms == pytest.approx(np.mean(samples))
    for quantile in found.percentiles_ms:
        if quantile.value is not None:
            assert quantile.value == np.percentile(samples, quantile.p, method="inverted_cdf")
        if quantile.low is not None and quantile.value is not None:
            assert quantile.low <= quantile.value <= quantile.high


# The counts are those of MLPerf's early-stopping rule at 99 % confidence.
@pytest.mark.parametrize(("p", "needed"), [(50, 11), (90, 64), (95, 130), (99, 662)])
def test_percentiles_wait_for_enough_samples(p, needed):
    """One sample fewer than the rule asks for, and the value is unknown."""
    for count in (needed - 1, needed):
        (found,) = [q for q in latency(list(range(1, count + 1))).percentiles_ms if q.p == p]
        assert (found.value is not None) == (count == needed)
        assert found.needed == needed


def test_latency_pools_ranks_and_repeats():
    """Every raw sample of a point counts once."""
    results = [
        make_result(
            phase="infer",
            rates=[(4, 1.0)] * 2,
            repeat=n,
            measurements=tuple(make_series("latency_ms", [n + 1.0, 4.0], rank) for rank in (0, 1)),
        )
        for n in range(2)
    ]
    (row,) = inference_rows(results)
    assert row.latency.samples == 8
    assert row.latency.mean_ms == pytest.approx((1 + 4 + 1 + 4 + 2 + 4 + 2 + 4) / 8)
    assert inference_rows([make_result(phase="infer")])[0].latency is None


def test_evaluation_takes_the_last_scoring():
    """Numbers, images and scorer are those of the last scoring; kinds that were not scored are unknown."""
    scored = Accuracy(metrics=(make_metrics("bbox", 0.5),), images=7, detections=9, scorer="pycocotools")
    (row,) = analyse([make_result(phase="eval", accuracy=(make_accuracy(0.1), scored))]).evaluation
    assert (row.bbox.ap, row.bbox.ap50, row.segm) == (0.5, 0.75, None)
    assert (row.images, row.detections, row.scorer) == (7, 9, "pycocotools")


def test_training_accuracy_is_a_mean_by_steps():
    """Two seeds scored after 10 and 20 steps make two rows of means; the time to the target stands in the last."""
    results = [
        make_result(
            seed=seed,
            evaluate_every_steps=10,
            target=Target(bbox_ap=0.3),
            accuracy=(make_accuracy(early, after_steps=10), make_accuracy(0.4, after_steps=20)),
            time_to_target_s=reached,
        )
        for seed, early, reached in ((1, 0.1, 50.0), (2, 0.2, None))
    ]
    first, last = analyse(results).training_accuracy
    assert (first.after_steps, last.after_steps) == (10, 20)
    assert first.bbox.ap == pytest.approx(0.15)
    assert (first.time_to_target_s, last.target, last.time_to_target_s.values) == (None, "bbox AP 0.3", (50.0,))


def test_training_without_scoring_has_no_accuracy_row():
    """A trial that was never to be scored leaves no hole in the table; one that failed leaves its outcome."""
    failed = make_result(evaluate=True, batch_size_per_gpu=2, outcome=Outcome(kind="diverged", reason="loss is nan"))
    (row,) = analyse([make_result(), failed]).training_accuracy
    assert (row.bbox, row.point.outcomes) == (None, {"diverged": 1})


# Published: NVIDIA DeepLearningExamples, TensorFlow 2 Mask R-CNN, bbox AP of five seeds with their mean and std.
def test_stability_of_a_published_table():
    """Five seeds of 0.377, 0.378, 0.379, 0.376, 0.379 have mean 0.378 and deviation 0.001."""
    values = (0.377, 0.378, 0.379, 0.376, 0.379)
    results = [make_result(seed=n, accuracy=(make_accuracy(ap, after_steps=9),)) for n, ap in enumerate(values, 1)]
    (row,) = [row for row in analyse(results).stability if row.metric == "bbox AP"]
    assert round(row.spread.mean, 3) == 0.378
    assert round(row.spread.sd, 3) == 0.001
    assert row.labels[4] == "seed 5, repeat 0"


def test_one_trial_has_no_stability():
    """A deviation needs two processes."""
    assert analyse([make_result(accuracy=(make_accuracy(0.4),))]).stability == ()


def test_every_outcome_is_a_row():
    """A point that ended in two ways has two rows, and numbers of the trial that went well."""
    crash = Outcome(kind="crashed", reason="SIGKILL", signal="SIGKILL")
    found = analyse([make_result(), make_result(repeat=1, outcome=crash)])
    assert [(row.kind, row.reason, row.trials) for row in found.outcomes] == [
        ("ok", None, 1),
        ("crashed", "SIGKILL", 1),
    ]
    (row,) = found.training
    assert row.throughput_images_per_s.values == (4.0,)
    assert (row.point.outcomes, row.point.reason) == ({"ok": 1, "crashed": 1}, "SIGKILL")


def test_numbers_of_a_trial_that_is_not_ok_do_not_count():
    """A window recorded before the crash is no throughput."""
    windows = make_result().windows
    crashed = make_result(outcome=Outcome(kind="crashed", reason="x")).model_copy(update={"windows": windows})
    assert analyse([crashed]).training[0].throughput_images_per_s is None


def test_circumstances_that_differ_are_flagged():
    """Another commit or host is mixed; another seed, date or choice of the backend is not."""
    other = PROVENANCE.model_copy(update={"git_commit": "fedcba"})
    results = [
        make_result(settings={"half type": "float16"}),
        make_result(seed=2, provenance=other, machine=make_machine(hostname="node-2"), settings={"half type": "none"}),
    ]
    found = analyse(results)
    assert {fact.name for fact in found.provenance if fact.mixed} == {"git commit", "host"}
    assert found.summary.mixed == ("git commit", "host")
    (commit,) = [fact for fact in found.provenance if fact.name == "git commit"]
    assert commit.values == {"0123456789abcdef": 1, "fedcba": 1}


def test_uncommitted_changes_are_said():
    """A dirty tree is another state than the clean commit."""
    dirty = PROVENANCE.model_copy(update={"git_dirty": True})
    (fact,) = [f for f in analyse([make_result(provenance=dirty)]).provenance if f.name == "git commit"]
    assert list(fact.values) == ["0123456789abcdef, with uncommitted changes"]


def test_packages_of_other_backends_are_no_mixture():
    """A package that only some trials use is not mixed."""
    other = PROVENANCE.model_copy(update={"packages": {"tensorflow": "2.21.0"}})
    assert analyse([make_result(), make_result(backend="tf", provenance=other)]).summary.mixed == ()


def test_summary_counts_all_trials():
    """Counts, phases, times and the sum of durations of the whole store."""
    found = analyse(make_store()).summary
    assert found.trials == 17
    assert found.outcomes == {"ok": 15, "unsupported": 1, "crashed": 1}
    assert found.phases == ("train", "eval", "infer")
    assert found.duration_s == 17 * 30.0
    assert (found.ended_at - found.started_at).total_seconds() == 9 * 60 + 30


def test_no_trials_make_empty_tables():
    """An empty store is no error."""
    found = analyse([])
    assert (found.summary.trials, found.training, found.outcomes) == (0, (), ())


def test_frame_has_a_row_per_trial():
    """Columns carry their units; unknown numbers are missing, and ids are unique."""
    results = make_store()
    frame = trial_frame(results)
    assert list(frame["trial_id"]) == [result.trial_id for result in results]
    first = frame.iloc[0]
    assert (first["throughput_images_per_s"], first["bbox_ap_fraction"], first["latency_p50_ms"]) == (3.0, 0.21, None)
    crashed = frame[frame["outcome"] == "crashed"].iloc[0]
    assert (crashed["throughput_images_per_s"], crashed["reason"]) == (None, "worker ended by SIGKILL after 12 s")


@pytest.mark.parametrize(
    ("times", "result"),
    [([50.0, 60.0, 70.0, 80.0, None], 70.0), ([50.0, 60.0, 70.0, None, None], None), ([50.0, 60.0, 70.0, 80.0], None)],
)
def test_mlperfs_result_leaves_out_the_best_and_the_worst_run(times: list[float | None], result: float | None) -> None:
    """Of five runs, one of which may miss the target."""
    trials = [
        make_result(
            repeat=repeat,
            target=Target(bbox_ap=0.3),
            accuracy=(make_accuracy(0.3, after_steps=20),),
            time_to_target_s=reached,
        )
        for repeat, reached in enumerate(times)
    ]
    (row,) = analyse(trials).training_accuracy
    assert row.mlperf_result_s == result
    markdown = build(trials, "md")
    assert ("MLPerf result" in markdown, "1 min 10 s" in markdown.partition("MLPerf result")[2]) == (
        result is not None,
        result is not None,
    )
