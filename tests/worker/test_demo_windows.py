"""Windows of several stretches in real trials of the demo backend: training, evaluation, several ranks."""

from pathlib import Path
from typing import Any

import demo_backend
import pytest
from records import MACHINE, demo_trial

from harness.errors import BackendError, DivergedError
from harness.hookspecs import Context
from harness.results.store import Store
from harness.runner.run import Door, Run, Task
from harness.schema.result import DataPaths
from harness.schema.trial import DataNames
from harness.worker.phases import PHASES
from harness.worker.record import PhaseRecord

VAL = "synthetic:32x24:7"
CONTEXT = Context(rank=0, local_rank=0, world_size=1, train=VAL, val=VAL)


def drive(record: PhaseRecord, scratch: Path, **fields: Any) -> None:
    """Drive a trial of the demo backend in this process."""
    trial = demo_trial(**fields)
    PHASES[trial.phase](demo_backend.Work(trial, CONTEXT), trial, record, scratch, CONTEXT)


def values(record: PhaseRecord, name: str) -> tuple[float, ...]:
    """The values of a raw series."""
    return next(series.values for series in record.measurements if series.name == name)


def test_a_target_ends_a_window_in_a_later_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluations go on, cut into each round alike, and the target stops before the seconds are reached."""
    scored: list[int] = []
    monkeypatch.setattr("harness.worker.phases.reached", lambda *_: len(scored) == 3 or scored.append(1))
    record = PhaseRecord(rank=0)
    asked = {"timed_steps": 5, "timed_seconds": 3600.0, "evaluate_every_steps": 3, "target": {"bbox_ap": 0.5}}
    drive(record, tmp_path, phase="train", warmup_steps=1, **asked)
    (window,) = record.windows
    assert (window.ended_by, window.stretch_images) == ("target", (3, 2, 3, 2))
    assert [accuracy.after_steps for accuracy in record.accuracy] == [4, 6, 9, 11]
    assert record.time_to_target_s is not None


def test_a_loss_that_is_no_number_ends_a_window(tmp_path: Path) -> None:
    """In the stretch in which it comes, with all that was measured until then."""
    record = PhaseRecord(rank=0)
    with pytest.raises(DivergedError, match="loss is nan at step 3"):
        drive(
            record, tmp_path, phase="train", warmup_steps=0, timed_steps=2, timed_seconds=60.0, options={"fault": "nan"}
        )
    (window,) = record.windows
    assert (window.ended_by, window.steps) == ("diverged", 4)
    assert len(values(record, "loss")) == 4


def test_training_that_is_scored_at_its_end_is_scored_once(tmp_path: Path) -> None:
    """After the last round, however many there were; every step's loss is kept."""
    record = PhaseRecord(rank=0)
    drive(record, tmp_path, phase="train", warmup_steps=1, timed_steps=2, timed_interval=0.9, evaluate=True)
    (window,) = record.windows
    assert window.ended_by in {"interval", "limit"}
    assert [accuracy.after_steps for accuracy in record.accuracy] == [window.steps + 1]
    assert len(values(record, "loss")) == window.steps >= 10


def test_an_evaluation_is_one_stretch_that_the_set_ends(tmp_path: Path) -> None:
    """Every step has its time by both clocks, and every one is a latency."""
    record = PhaseRecord(rank=0)
    drive(record, tmp_path, phase="eval", batch_size_per_gpu=2, options={"step_ms": 5.0})
    (window,) = record.windows
    ((start, end),) = window.spans_ns
    assert (window.ended_by, window.stretch_images, window.interval) == ("set", (7,), None)
    assert window.elapsed_s == (end - start) / 1e9
    assert window.device_s is not None
    assert {len(values(record, name)) for name in ("latency_ms", "latency_device_ms", "device_ms", "step_ms")} == {4}
    assert min(values(record, "latency_device_ms")) >= 4.999
    parts = [sum(values(record, name)) for name in ("step_ms", "data_wait_ms", "encode_ms", "drain_ms")]
    assert len(values(record, "drain_ms")) == 1
    assert sum(parts) <= window.elapsed_s * 1000 < sum(parts) + 100


def test_a_step_that_compiled_is_no_latency_of_the_device_either(tmp_path: Path) -> None:
    """Each shape's first step is in the pass and its compiling apart."""
    record = PhaseRecord(rank=0)
    drive(record, tmp_path, phase="eval", warmup_steps=0, options={"compile_ms": 2.0, "shape_steps": 4})
    assert len(values(record, "device_ms")) == 7
    assert len(values(record, "latency_device_ms")) == len(values(record, "latency_ms")) == 5
    assert len(values(record, "compile_ms")) == 2


class Forgetful(demo_backend.Work):
    """Synchronises as it should in so many stretches or passes, and then no longer."""

    good = 0
    begun = 0

    def barrier(self) -> None:
        super().barrier()
        self.begun += 1

    def synchronize(self) -> None:
        if self.begun <= self.good:
            super().synchronize()


@pytest.mark.parametrize("phase", ["train", "infer"])
@pytest.mark.parametrize("good", [0, 1, 2])
def test_a_synchronisation_that_goes_missing_is_caught_in_any_stretch(phase: str, good: int, tmp_path: Path) -> None:
    """The warm-up's, the first of the window, a later one: the trial ends there."""
    trial = demo_trial(phase=phase, warmup_steps=2, timed_steps=2, timed_seconds=3600.0, options={"step_ms": 130.0})
    work = Forgetful(trial, CONTEXT)
    work.good = good
    with pytest.raises(BackendError, match="before the device was done"):
        PHASES[phase](work, trial, PhaseRecord(rank=0), tmp_path, CONTEXT)
    assert work.begun == good + 1


def test_ranks_take_the_same_stretches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real processes, a warm-up and a window that both go on as one rank decides: the same number on every rank."""
    monkeypatch.setenv("DEMO_MEETING_PLACE", str(tmp_path / "meeting"))
    data = {DataNames(): DataPaths(train=VAL, val=VAL)}
    run = Run("test", Store(tmp_path / "store"), {"demo": Door("demo_backend", ("local",))}, data, MACHINE, {})
    options = {"step_ms": 2.0}
    asked = {"max_warmup_steps": 66, "timed_seconds": 0.1, "timed_interval": 0.5, "max_timed_steps": 300}
    trial = demo_trial(phase="train", gpus=3, timed_steps=5, **asked, options=options)
    run.carry_out([Task(trial)])
    result = run.store.load(trial.trial_id)
    assert result.outcome.kind == "ok", result.outcome
    first, *others = result.windows
    assert len(others) == 2
    for window in others:
        told = ("steps", "stretch_images", "ended_by", "interval", "warmup_steps", "warmup_steady")
        assert [getattr(window, name) for name in told] == [getattr(first, name) for name in told]
    assert first.ended_by in {"seconds", "interval", "limit"}
    assert first.warmup_steady is not None
    assert first.interval is not None
    assert result.timer is not None
    assert result.timer.mark_ns is not None
