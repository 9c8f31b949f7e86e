"""Compiling in the tables: what it took, where it is part of a throughput, and XLA beside no XLA."""

import pytest
from made_results import make_accuracy, make_compiling, make_result

from harness.analysis.frame import trial_frame
from harness.analysis.performance import inference_rows, training_rows
from harness.analysis.tables import analyse


def rate(images, **settings):
    """A trial of so many images in a second."""
    return make_result(rates=[(images, 1.0)], **settings)


def test_compiling_is_that_of_the_slowest_rank():
    """Ranks compile at the same time; the warm-up's steps count, and those in the window are told."""
    ranks = (make_compiling([500.0], [4000.0]), make_compiling([700.0, 100.0], [3000.0], rank=1))
    (row,) = training_rows([make_result(rates=[(10, 1.0)] * 2, measurements=ranks)])
    assert row.compiling.spent_s.values == (4.5,)
    assert (row.compiling.window_steps, row.compiling.window_s) == (2, pytest.approx(0.8))


def test_nothing_compiled_is_no_zero():
    """A backend that never compiles has no such number."""
    assert training_rows([make_result()])[0].compiling is None


@pytest.mark.parametrize(
    ("inside", "note"), [([], None), ([1500.0], "1 step of the timed window compiled first, 1.5 s")]
)
def test_an_outcome_says_what_its_throughput_contains(inside, note):
    """A row that went well and is no plain measurement is marked."""
    (row,) = analyse([make_result(measurements=(make_compiling(inside, [9.0]),))]).outcomes
    assert row.note == (note and f"{note}: the throughput contains compiling")


def test_evaluation_tells_of_compiling_too():
    """A pass over the set meets shapes that the warm-up did not."""
    result = make_result(phase="eval", accuracy=(make_accuracy(0.1),), measurements=(make_compiling([2000.0]),))
    (row,) = analyse([result]).evaluation
    assert (row.compiling.window_steps, row.compiling.spent_s.median) == (1, 2.0)


def test_xla_is_an_axis_of_its_own():
    """It is compared with the same precision without it, and precision within equal XLA."""
    rows = inference_rows(
        [
            rate(images, phase="infer", precision=precision, xla=xla)
            for images, precision, xla in (
                (10, "fp32", False),
                (15, "fp32", True),
                (20, "amp", False),
                (60, "amp", True),
            )
        ]
    )
    assert [row.speedup_of_xla.value for row in rows] == [None, 1.5, None, 3.0]
    assert [row.speedup_vs_fp32.value for row in rows] == [None, None, 2.0, 4.0]
    assert rows[0].speedup_of_xla.reason == "this row is the side without XLA"


def test_xla_without_its_other_side():
    """No number, and the reason."""
    (row,) = training_rows([rate(10, xla=True)])
    assert (row.speedup_of_xla.value, row.speedup_of_xla.reason) == (None, "no trial of this point without XLA")


def test_a_ratio_with_compiling_in_it_says_so():
    """Of whichever side it is."""
    plain, compiled = rate(10), rate(5, xla=True, measurements=(make_compiling([500.0]),))
    rows = training_rows([plain, compiled])
    assert rows[1].speedup_of_xla.value == 0.5
    assert rows[1].speedup_of_xla.caveat == "with XLA compiled in the timed window"
    clean = training_rows([plain, rate(5, xla=True, measurements=(make_compiling([], [500.0]),))])
    assert clean[1].speedup_of_xla.caveat is None


# Published: NVIDIA DeepLearningExamples, EfficientDet-D0, DGX A100, 1 GPU: TF32 at 104, mixed precision at 200: 2.45.
def test_speedup_across_batch_sizes_of_a_published_table():
    """A number of its own that names both batch sizes; the speed-up at equal ones stays unknown."""
    rows = training_rows(
        [
            rate(162, precision="tf32", batch_size_per_gpu=104),
            rate(397, precision="amp", batch_size_per_gpu=200),
        ]
    )
    across = rows[1].speedup_across_batch_sizes
    assert round(across.value, 2) == 2.45
    assert (across.of, across.to) == ("amp at batch size 200", "tf32 at batch size 104")
    assert rows[1].speedup_vs_tf32.value is None
    assert rows[0].speedup_across_batch_sizes is None


@pytest.mark.parametrize("sizes", [(200,), (104, 128)])
def test_no_speedup_across_batch_sizes_where_it_is_not_needed_or_not_one(sizes):
    """Equal batch sizes go before; of several others none is the one."""
    base = [rate(162, precision="fp32", batch_size_per_gpu=size) for size in sizes]
    assert (
        training_rows([*base, rate(397, precision="amp", batch_size_per_gpu=200)])[-1].speedup_across_batch_sizes
        is None
    )


def test_scaling_does_not_ask_who_started_one_rank():
    """One rank has no use for a launcher."""
    rows = training_rows([rate(10), make_result(rates=[(9, 1.0)] * 2, launcher="horovod")])
    assert rows[1].scaling.factor.value == pytest.approx(1.8)


def test_rows_of_a_backend_stand_together_and_models_too():
    """Whatever the order of the blocks: models and backends come in the order in which they first appear."""

    def of(backend, model, batch):
        source = make_result().provenance.model_copy(update={"model": model})
        return make_result(backend=backend, provenance=source, batch_size_per_gpu=batch)

    results = [
        of("torch_m", "M", 1), of("tf_d", "D", 1), of("tf_m", "M", 1), of("torch_m", "M", 2), of("tf_d", "D", 2)
    ]  # fmt: skip
    assert [(row.point.backend, row.point.batch_size_per_gpu) for row in training_rows(results)] == [
        ("torch_m", 1),
        ("torch_m", 2),
        ("tf_m", 1),
        ("tf_d", 1),
        ("tf_d", 2),
    ]


def test_the_table_of_trials_has_compiling():
    """In seconds, and how many steps of the window it touched."""
    frame = trial_frame([make_result(measurements=(make_compiling([250.0], [750.0]),)), make_result()])
    assert list(frame["compile_s"]) == [1.0, None]
    assert list(frame["compiled_timed_steps_count"]) == [1, 0]
