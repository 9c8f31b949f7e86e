"""Speed-up and weak scaling against published tables and against sums by hand."""

import pytest
from made_results import make_result

from harness.analysis.performance import training_rows
from harness.schema.result import Outcome


def rows_of(*trials):
    """Training rows of trials given as keyword arguments."""
    return training_rows([make_result(**trial) for trial in trials])


def at_rate(images_per_s, ranks=1, **settings):
    """A trial of so many images/s, all ranks together."""
    return {"rates": [(images_per_s * 10 / ranks, 10.0)] * ranks, **settings}


# Published: NVIDIA DeepLearningExamples, TensorFlow 2 Mask R-CNN, DGX-1, 8 GPUs, batch size 2: 27.8, 47.3 and 1.701.
def test_speedup_of_a_published_table():
    """Amp over fp32 at the same batch size, as published to three decimals."""
    base, amp = rows_of(
        {"rates": [(278, 10.0)], "batch_size_per_gpu": 2},
        {"rates": [(473, 10.0)], "batch_size_per_gpu": 2, "precision": "amp"},
    )
    assert round(amp.speedup_vs_fp32.value, 3) == 1.701
    assert (amp.speedup_vs_fp32.of, amp.speedup_vs_fp32.to) == ("amp at batch size 2", "fp32 at batch size 2")
    assert base.speedup_vs_fp32.value is None
    assert base.speedup_vs_fp32.reason == "this row is the fp32 side"


# Published: NVIDIA DeepLearningExamples, EfficientDet-D0, DGX A100 and DGX-1: images/s of 1 and 8 GPUs, and the factor.
@pytest.mark.parametrize(("one", "eight", "factor"), [(162, 1266, 7.81), (397, 2711, 6.83), (113, 645, 5.71)])
def test_weak_scaling_of_a_published_table(one, eight, factor):
    """The factor is T(8) / T(1); efficiency is an eighth of it."""
    first, last = rows_of({"rates": [(one, 1.0)]}, {"rates": [(eight // 8, 1.0)] * 7 + [(eight - eight // 8 * 7, 1.0)]})
    assert round(last.scaling.factor.value, 2) == factor
    assert last.scaling.efficiency == pytest.approx(eight / one / 8)
    assert (last.scaling.factor.of, last.scaling.factor.to) == ("8 ranks", "1 rank")
    assert (first.scaling.factor.value, first.scaling.efficiency) == (1.0, 1.0)


def test_speedup_compares_medians_of_repeats():
    """An outlier among the repeats moves no median."""
    base = [{"rates": [(rate, 1.0)], "repeat": n} for n, rate in enumerate((10, 11, 99))]
    amp = [{"rates": [(rate, 1.0)], "repeat": n, "precision": "amp"} for n, rate in enumerate((1, 22, 23))]
    assert rows_of(*base, *amp)[1].speedup_vs_fp32.value == 2.0


def test_speedup_over_tf32_stands_beside_that_over_fp32():
    """Each names its own other side."""
    rows = rows_of(*[{"rates": [(n, 1.0)], "precision": p} for n, p in ((10, "fp32"), (20, "tf32"), (50, "amp"))])
    assert rows[2].speedup_vs_fp32.value == 5.0
    assert rows[2].speedup_vs_tf32.value == 2.5
    assert rows[0].speedup_vs_tf32.value == 0.5


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"batch_size_per_gpu": 104}, "fp32 ran at batch size 104 only"),
        ({"batch_size_per_gpu": 200, "xla": True}, "no fp32 trial of this point"),
        ({"batch_size_per_gpu": 200, "backend": "other"}, "no fp32 trial of this point"),
        ({"batch_size_per_gpu": 200, "options": {"flavour": "x"}}, "no fp32 trial of this point"),
        ({"batch_size_per_gpu": 200, "matrix_name": "rehearsal"}, "no fp32 trial of this point"),
        (
            {"batch_size_per_gpu": 200, "outcome": Outcome(kind="out_of_memory", reason="full")},
            "fp32 at batch size 200 ended as out_of_memory",
        ),
    ],
)
def test_no_speedup_over_something_else(other, reason):
    """A side that differs in anything but precision, or has no number, gives no ratio but a reason."""
    row = rows_of({"batch_size_per_gpu": 200, "precision": "amp"}, other)[0]
    assert row.speedup_vs_fp32.value is None
    assert row.speedup_vs_fp32.reason == reason


def test_no_factor_without_one_rank():
    """A factor needs one rank at the same batch size per rank; a lacking one is unknown, never zero."""
    row = rows_of(at_rate(8, ranks=2, batch_size_per_gpu=2), at_rate(4, batch_size_per_gpu=4))[0]
    assert (row.scaling.factor.value, row.scaling.efficiency) == (None, None)
    assert row.scaling.factor.reason == "no 1-rank trial at this batch size per rank"


def test_factor_of_a_point_that_crashed():
    """The side that has no number is named."""
    crashed = {"rates": [(1, 1.0)] * 2, "outcome": Outcome(kind="crashed", reason="signal")}
    row = rows_of({"rates": [(1, 1.0)]}, crashed)[1]
    assert row.scaling.factor.reason == "2 ranks ended as crashed"


def test_nodes_count_as_ranks():
    """Two nodes of one GPU scale from one node of one GPU."""
    rows = rows_of({"rates": [(10, 1.0)]}, {"rates": [(9, 1.0)] * 2, "nodes": 2, "gpus": 1})
    assert rows[1].scaling.factor.value == pytest.approx(1.8)
    assert rows[1].scaling.efficiency == pytest.approx(0.9)
