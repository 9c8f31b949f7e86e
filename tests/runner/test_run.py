"""Every way a trial can end, through real processes of the demo backend."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import psutil
import pytest
from records import MACHINE, demo_trial

from harness.errors import StoreError
from harness.results.store import Store
from harness.runner.run import Door, Run, Task
from harness.schema.result import DataPaths, Outcome, TrialResult
from harness.schema.trial import DataNames, Trial


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run into an empty store."""
    return run_in(tmp_path / "store")


def run_in(folder: Path) -> Run:
    """A run of the demo backend on made-up data."""
    data = {DataNames(): DataPaths(train="synthetic:32x24:6", val="synthetic:32x24:7")}
    return Run("test", Store(folder), {"demo": Door("demo_backend", ("local",))}, data, MACHINE, {})


def result(run: Run, trial: Trial) -> TrialResult:
    """Carry out one trial and read its record."""
    run.carry_out([Task(trial)])
    return run.store.load(trial.trial_id)


ENDINGS = [
    ("none", "ok", None),
    ("chatter", "ok", None),
    ("declines", "unsupported", "the fake device has no such mode"),
    ("none_returned", "unsupported", "declines this train trial and gives no reason"),
    ("raises", "failed", "ValueError: boom over two lines"),
    ("ends", "failed", "batches() ended after 1 steps"),
    ("memory", "out_of_memory", "no memory left on the fake device"),
    ("nan", "diverged", "loss is nan at step 3"),
    ("exits", "crashed", "exit code 7 without a result"),
    ("no_record", "failed", "exit code 0, but 1 of the workers left no result"),
    ("killed", "crashed", "killed by SIGSEGV"),
    ("hangs", "timeout", "not done after 1.5 s"),
]


@pytest.mark.parametrize(("fault", "kind", "reason"), ENDINGS)
def test_every_ending_is_an_outcome_with_its_reason(run: Run, fault: str, kind: str, reason: str | None) -> None:
    """An outcome of the closed set, never a hole."""
    timeout_s = 1.5 if fault == "hangs" else 30.0
    trial = demo_trial(phase="train", timeout_s=timeout_s, warmup_steps=1, timed_steps=4, options={"fault": fault})
    outcome = result(run, trial).outcome
    assert outcome.kind == kind
    assert (outcome.reason is None) == (reason is None)
    assert reason is None or reason in str(outcome.reason)


@pytest.mark.parametrize("phase", ["train", "eval", "infer"])
@pytest.mark.parametrize("synchronizes", [True, False])
def test_a_backend_that_does_not_synchronise_is_caught(run: Run, phase: str, synchronizes: bool) -> None:
    """In every phase: its figures would be those of its queue, so the trial fails and says why."""
    options = {"step_ms": 150.0, "synchronizes": synchronizes}
    outcome = result(run, demo_trial(phase=phase, options=options)).outcome
    assert outcome.kind == ("ok" if synchronizes else "failed")
    assert synchronizes or "synchronize() returned before the device was done" in str(outcome.reason)


def test_a_failure_brings_its_evidence(run: Run) -> None:
    """The last lines of the log, the exit code, and what was measured before."""
    failed = result(run, demo_trial(phase="train", options={"fault": "raises"}))
    assert failed.outcome.exit_code == 1
    assert any("ValueError: boom" in line for line in failed.outcome.log_tail)
    diverged = result(run, demo_trial(phase="train", options={"fault": "nan"}))
    assert {"step_ms", "data_wait_ms", "loss"} <= {series.name for series in diverged.measurements}


def test_raw_samples_and_warm_up_are_kept_apart(run: Run) -> None:
    """Every latency and every step's time is in the record."""
    measured = {
        series.name: series
        for series in result(run, demo_trial(warmup_steps=2, timed_steps=5, options={"step_ms": 2.0})).measurements
    }
    assert len(measured["latency_ms"].values) == 5
    assert (len(measured["step_ms"].values), len(measured["step_ms"].warmup_values)) == (5, 2)
    assert min(measured["latency_ms"].values) >= 2.0


def test_a_declined_point_is_recorded_without_a_process(run: Run) -> None:
    """A point dropped by a rule, or impossible here, is a row with its reason."""
    trial = demo_trial()
    counts = run.carry_out([Task(trial, Outcome(kind="skipped", reason="not published"))])
    assert counts == {"skipped": 1}
    assert run.store.load(trial.trial_id).outcome.reason == "not published"
    assert not run.store.log(trial.trial_id).exists()


def test_what_is_recorded_is_not_run_again(run: Run) -> None:
    """Resuming runs the rest only."""
    first, second = Task(demo_trial(seed=1)), Task(demo_trial(seed=2))
    run.carry_out([first])
    before = run.store.load(first.trial.trial_id)
    assert run.carry_out([first, second]) == {"ok": 2}
    assert run.store.load(first.trial.trial_id) == before


def test_failed_points_run_again_when_asked(run: Run) -> None:
    """Their earlier records are kept aside; the others are left alone."""
    good, bad = Task(demo_trial()), Task(demo_trial(options={"fault": "raises"}))
    run.carry_out([good, bad])
    before = run.store.load(good.trial.trial_id)
    run.carry_out([good, bad], redo=frozenset({"failed"}))
    assert run.store.load(good.trial.trial_id) == before
    assert len(list((run.store.folder / "superseded").iterdir())) == 1


@pytest.mark.parametrize(
    ("kind", "cause", "counts"),
    [("skipped", "excluded", {"ok": 1}), ("unsupported", "infeasible", {"ok": 1}), ("skipped", None, {"skipped": 1})],
)
def test_a_point_that_was_declined_runs_once_nothing_speaks_against_it(
    run: Run, kind: Any, cause: Any, counts: dict[str, int]
) -> None:
    """A rule that is gone, a machine that can: it was never tried. Older records do not say why, so they stay."""
    trial = demo_trial()
    declined = Outcome(kind=kind, cause=cause, reason="not published")
    for _ in range(2):
        assert run.carry_out([Task(trial, declined)]) == {kind: 1}
    assert not (run.store.folder / "superseded").exists()
    assert run.carry_out([Task(trial)]) == counts


def test_ctrl_c_sets_all_old_records_aside_or_none(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """However soon it comes: half a store of old records would pass for new ones when the run goes on."""
    tasks = [Task(demo_trial(seed=seed)) for seed in range(3)]
    run.carry_out(tasks)
    supersede = Store.supersede

    def interrupted(store: Store, trial_id: str) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        supersede(store, trial_id)

    monkeypatch.setattr(Store, "supersede", interrupted)
    assert not run.begun_anew
    with pytest.raises(KeyboardInterrupt):
        run.carry_out(tasks, redo=frozenset({"ok"}))
    assert (run.store.done(), run.begun_anew) == (frozenset(), True)


def test_old_records_stay_in_place_where_no_new_ones_can_be_written(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk nothing is moved aside, so that what was known stays in sight."""
    task = Task(demo_trial())
    run.carry_out([task])
    monkeypatch.setattr(Store, "require_room", Mock(side_effect=StoreError("cannot write: No space left on device")))
    with pytest.raises(StoreError, match="No space left"):
        run.carry_out([task], redo=frozenset({"ok"}))
    assert run.store.done() == {task.trial.trial_id}


def test_ranks_are_summed_and_meet(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rank has its own window; evaluation is sharded and scored once."""
    monkeypatch.setenv("DEMO_MEETING_PLACE", str(tmp_path / "meeting"))
    trained = result(run, demo_trial(phase="train", gpus=3, batch_size_per_gpu=2))
    assert [window.rank for window in trained.windows] == [0, 1, 2]
    assert sum(window.images for window in trained.windows) == 3 * 2 * 3
    assert len(trained.peak_memory_bytes) == 3


def test_one_failing_rank_ends_the_others(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that would wait for it for ever."""
    monkeypatch.setenv("DEMO_MEETING_PLACE", str(tmp_path / "meeting"))
    start = time.monotonic()
    outcome = result(run, demo_trial(phase="train", gpus=2, options={"fault": "raises"})).outcome
    assert outcome.kind == "failed"
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_perfect_detections_have_ap_1_on_any_number_of_ranks(
    run: Run, ranks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven images do not divide by two or three, and are scored once each."""
    monkeypatch.setenv("DEMO_MEETING_PLACE", str(tmp_path / "meeting"))
    scored = result(run, demo_trial(phase="eval", gpus=ranks, batch_size_per_gpu=2))
    assert scored.outcome.kind == "ok"
    assert scored.accuracy[0].images == 7
    assert scored.accuracy[0].metrics[0].ap == pytest.approx(1.0, abs=1e-12)
    assert sum(window.images for window in scored.windows) == 7


def test_either_scorer_gives_the_same_numbers(run: Run) -> None:
    """A trial may name hotcoco; the numbers of record are pycocotools', and equal."""
    first, second = (result(run, demo_trial(phase="eval", scorer=scorer)) for scorer in ("pycocotools", "hotcoco"))
    assert first.accuracy[0].metrics == second.accuracy[0].metrics
    assert second.accuracy[0].scorer.startswith("hotcoco")


def test_another_time_out_is_the_same_point(run: Run) -> None:
    """Patience decides no result: what is recorded is not run again for it."""
    patient, hasty = demo_trial(timeout_s=60.0), demo_trial(timeout_s=30.0)
    assert patient.trial_id == hasty.trial_id
    before = result(run, patient)
    assert result(run, hasty) == before


def test_training_stops_at_its_target(run: Run) -> None:
    """Scored every two steps outside the window, stopped at the first that reaches it."""
    wanted = {"evaluate_every_steps": 2, "timed_steps": 8, "target": {"bbox_ap": 0.5}, "save_weights": "small"}
    reached = result(run, demo_trial(phase="train", **wanted))
    assert reached.outcome.kind == "ok"
    assert [accuracy.after_steps for accuracy in reached.accuracy] == [3]
    assert reached.windows[0].steps == 2
    assert reached.time_to_target_s is not None
    assert reached.weights is not None
    assert (run.store.folder / reached.weights).read_bytes() == b"learnt"


def test_nothing_is_left_behind(run: Run) -> None:
    """Not even a process that put itself into a session of its own."""
    assert result(run, demo_trial(phase="train", options={"fault": "starts_daemon"})).outcome.kind == "ok"
    left = [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "3600.25"]]
    assert left == []


def test_the_stopwatch_outside_agrees(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorded throughput is images over time as another process sees the timed window, within 2 %.

    A busy machine can hold the stopwatch up, so one of three attempts must agree; a wrong window never would.
    """
    ratios = [stopwatch_ratio(run, tmp_path / f"pipe{attempt}", attempt, monkeypatch) for attempt in range(3)]
    assert min(abs(ratio - 1) for ratio in ratios) < 0.02, ratios


def stopwatch_ratio(run: Run, pipe: Path, attempt: int, monkeypatch: pytest.MonkeyPatch) -> float:
    """Recorded throughput over that of an observer who sees barriers and synchronisations only."""
    os.mkfifo(pipe)
    monkeypatch.setenv("DEMO_STOPWATCH", str(pipe))
    events: list[tuple[float, str]] = []
    reader = threading.Thread(target=listen, args=(pipe, events), daemon=True)
    reader.start()
    keep_open = os.open(pipe, os.O_RDWR)
    options = {"step_ms": 50.0}
    trial = demo_trial(warmup_steps=2, timed_steps=20, batch_size_per_gpu=4, seed=attempt, options=options)
    window = result(run, trial).windows[0]
    os.write(keep_open, b"end\n")
    reader.join(10)
    os.close(keep_open)
    barriers = [number for number, (_, name) in enumerate(events) if name == "barrier"]
    start, end = events[barriers[1]][0], events[barriers[1] + 1][0]
    return (window.images / window.elapsed_s) / (80 / (end - start))


def listen(pipe: Path, events: list[tuple[float, str]]) -> None:
    """Note when each event comes."""
    with pipe.open() as lines:
        for line in lines:
            events.append((time.monotonic(), line.strip()))
            if line == "end\n":
                return


def test_a_log_that_cannot_be_written_is_one_line(run: Run) -> None:
    """The store that lost its folder in the middle says so."""
    run.store.open()
    (run.store.folder / "logs").rmdir()
    with run.observer, pytest.raises(StoreError, match="cannot run demo-infer"):
        run.run_trial(demo_trial())
