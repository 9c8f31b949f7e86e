"""What the worker records of steps that compile and of intermediate tensors, through processes of the demo backend."""

from pathlib import Path

import pytest
from records import MACHINE, demo_trial

from harness.results.store import Store
from harness.runner.run import Door, Run, Task
from harness.schema.result import DataPaths, TrialResult
from harness.schema.trial import DataNames, Trial


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run of the demo backend into an empty store."""
    data = {DataNames(): DataPaths(train="synthetic:32x24:6", val="synthetic:32x24:7")}
    return Run("test", Store(tmp_path / "store"), {"demo": Door("demo_backend", ("local",))}, data, MACHINE, {})


def result(run: Run, trial: Trial) -> TrialResult:
    """Carry out one trial and read its record."""
    run.carry_out([Task(trial)])
    return run.store.load(trial.trial_id)


def series(found: TrialResult, name: str) -> tuple[int, int]:
    """How many values a series has, in the timed window and outside."""
    return next(((len(s.values), len(s.warmup_values)) for s in found.measurements if s.name == name), (0, 0))


@pytest.mark.parametrize(
    ("phase", "shape_steps", "expected"),
    [
        ("train", 0, (0, 1)),  # one shape, compiled in the warm-up
        ("train", 3, (1, 1)),  # warm-up steps 0 and 1, timed 2 to 5: the second shape begins at 3
        ("infer", 0, (0, 1)),
        ("infer", 3, (1, 3)),  # and latencies of batches 6 to 9, where two shapes begin
        ("eval", 0, (0, 1)),
        ("eval", 3, (0, 3)),  # seven images; the warm-up goes on with the shapes that it has not met
    ],
)
def test_compiling_is_recorded_apart(run: Run, phase: str, shape_steps: int, expected: tuple[int, int]) -> None:
    """A step that compiled is in a series of its own, in the window or outside; each takes as long as compiling."""
    options = {"compile_ms": 20.0, "shape_steps": shape_steps}
    found = result(run, demo_trial(phase=phase, warmup_steps=2, timed_steps=4, options=options))
    assert series(found, "compile_ms") == expected
    compile_ms = next(s for s in found.measurements if s.name == "compile_ms")
    assert all(value >= 20.0 for value in compile_ms.values + compile_ms.warmup_values)


@pytest.mark.parametrize(("phase", "count"), [("infer", 4), ("eval", 7)])
def test_no_latency_holds_compiling(run: Run, phase: str, count: int) -> None:
    """In infer the batch is taken again; a pass over the set compiles nothing after its warm-up."""
    options = {"compile_ms": 50.0, "shape_steps": 3}
    found = result(run, demo_trial(phase=phase, warmup_steps=2, timed_steps=4, options=options))
    latency_ms = next(s for s in found.measurements if s.name == "latency_ms")
    assert len(latency_ms.values) == count
    assert min(latency_ms.values) < 50.0


def test_a_pass_without_warm_up_compiles_in_its_window(run: Run) -> None:
    """And says so; its batches that compiled have no latency, for each image is taken once."""
    options = {"compile_ms": 50.0, "shape_steps": 3}
    found = result(run, demo_trial(phase="eval", warmup_steps=0, options=options))
    assert series(found, "compile_ms") == (3, 0)
    assert series(found, "latency_ms") == (4, 0)
    assert found.windows[0].images == 7


def test_a_backend_that_never_compiles_has_no_such_series(run: Run) -> None:
    """Nothing was compiled is not the same as nothing took long."""
    assert series(result(run, demo_trial(phase="train")), "compile_ms") == (0, 0)


def test_a_probe_samples_every_tensor_of_the_first_batch(run: Run) -> None:
    """Ends included, with shape and absolute maximum of the whole; small tensors are whole."""
    probe = result(run, demo_trial(phase="eval", probe=True, batch_size_per_gpu=2)).probe
    assert probe is not None
    assert len(probe.image_ids) == 2
    c2, logits = probe.tensors
    assert (c2.name, c2.shape, c2.largest) == ("C2", (2, 2, 30, 40), 6.0 * (2 * 2 * 30 * 40 - 1))
    assert len(c2.values) == 256
    assert (c2.values[0], c2.values[-1]) == (0.0, c2.largest)
    steps = [(b - a) / 6.0 for a, b in zip(c2.values, c2.values[1:], strict=False)]
    assert {*steps} <= {18.0, 19.0}
    assert (logits.shape, logits.largest, logits.values) == ((3, 5), 0.5, (-0.5,) * 15)


def test_no_probe_is_taken_unasked(run: Run) -> None:
    """A probe costs time and memory outside the window, but costs them."""
    assert result(run, demo_trial(phase="eval")).probe is None


def test_an_evaluation_in_training_that_compiles_is_outside_the_window(run: Run) -> None:
    """What the scoring pass compiled is no cost of training's throughput."""
    trial = demo_trial(phase="train", evaluate=True, options={"compile_ms": 20.0})
    assert series(result(run, trial), "compile_ms") == (0, 2)
