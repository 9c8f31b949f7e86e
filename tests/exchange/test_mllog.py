import json
from pathlib import Path

import pytest
from made_results import PROVENANCE, make_accuracy, make_result, make_series
from mlperf_logging.compliance_checker import mlp_compliance, mlp_parser
from mlperf_logging.mllog import constants

from harness.cli import main
from harness.errors import ReportError
from harness.exchange import mllog
from harness.results.store import Store
from harness.schema.measurement import Window
from harness.schema.result import TrialResult

S = 10**9
SUBMISSION = mllog.Submission(org="somebody", platform="node", train_samples=640)


def trained(reached: float | None = 31.0, **given: object) -> TrialResult:
    """A training of Mask R-CNN: 2 s of warm-up, three stretches of 10 steps and 10 s, an evaluation after each."""
    window = Window(
        rank=0,
        images=480,
        steps=30,
        elapsed_s=30.0,
        warmup_steps=2,
        warmup_s=2.0,
        spans_ns=((4 * S, 14 * S), (20 * S, 30 * S), (36 * S, 46 * S)),
        stretch_images=(160, 160, 160),
    )
    fields: dict[str, object] = {
        "windows": (window,),
        "batch_size_per_gpu": 16,
        "evaluate_every_steps": 10,
        "target": {"bbox_ap": 0.3},
        "time_to_target_s": None if reached is None else 50.0,
        "accuracy": tuple(make_accuracy(0.1 * n, 0.09 * n, after_steps=2 + 10 * n) for n in (1, 2, 3)),
        "settings": {"learning_rate": "0.02", "optimizer": "sgd"},
        "provenance": PROVENANCE.model_copy(update={"model": "Mask R-CNN"}),
        "started_ns": 0,
        "duration_s": 60.0,
    }
    return make_result(**(fields | given))


def events(result: TrialResult, submission: mllog.Submission = SUBMISSION) -> list[dict]:
    """The objects of its lines, read by MLPerf's own parser."""
    lines = list(mllog.lines(result, submission))
    parsed, failed = mlp_parser.ruleset_310.parse_generator(iter(lines))
    assert (len(parsed), failed) == (len(lines), [])
    return [json.loads(line.removeprefix(":::MLLOG ")) for line in lines]


@pytest.mark.parametrize("reached", [31.0, None])
def test_a_training_passes_the_compliance_checker_of_the_open_division(reached: float | None, tmp_path: Path) -> None:
    """MLPerf training 3.1, the last edition with Mask R-CNN, checked by MLPerf's program."""
    path = tmp_path / "result_0.txt"
    path.write_text("".join(f"{line}\n" for line in mllog.lines(trained(reached), SUBMISSION)))
    checker = mlp_compliance.make_checker(usage="training", ruleset="3.1.0", quiet=True, werror=True)
    valid, *_ = mlp_compliance.main(str(path), "training_3.1.0/common.yaml", checker)
    assert valid


def test_the_checker_misses_what_nobody_told(tmp_path: Path) -> None:
    """So that the test above can fail: without the size of the set there is no epoch."""
    path = tmp_path / "result_0.txt"
    path.write_text("".join(f"{line}\n" for line in mllog.lines(trained(), mllog.Submission())))
    checker = mlp_compliance.make_checker(usage="training", ruleset="3.1.0", quiet=True, werror=True)
    valid, *_ = mlp_compliance.main(str(path), "training_3.1.0/common.yaml", checker)
    assert not valid


def test_a_stretch_lasts_as_long_as_its_slowest_rank() -> None:
    """And no longer than to the next one, if the clocks of two nodes differ."""
    result = trained()
    (first,) = result.windows
    slower = ((4 * S, 15 * S), (20 * S, 33 * S), (36 * S, 100 * S))
    ranks = (first, first.model_copy(update={"rank": 1, "spans_ns": slower}))
    found = events(result.model_copy(update={"windows": ranks, "duration_s": 120.0}))
    start = found[0]["time_ms"]
    ended = [(each["time_ms"] - start) / 1000 for each in found if each["key"] == "block_stop"]
    assert ended == [15.0, 33.0, 100.0]


def test_events_stand_where_they_happened() -> None:
    """Warm-up begins the run, evaluations lie between stretches, the run ends when the target was reached."""
    found = events(trained())
    start = found[0]["time_ms"]
    told = [(each["key"], (each["time_ms"] - start) / 1000) for each in found if each["event_type"] != "POINT_IN_TIME"]
    assert told == [
        ("init_start", 0.0),
        *(("init_stop", 2.0), ("run_start", 2.0)),
        *(("block_start", 2.0), ("block_stop", 14.0), ("eval_start", 14.0), ("eval_stop", 20.0)),
        *(("block_start", 20.0), ("block_stop", 30.0), ("eval_start", 30.0), ("eval_stop", 36.0)),
        *(("block_start", 36.0), ("block_stop", 46.0), ("eval_start", 46.0), ("eval_stop", 52.0)),
        ("run_stop", 52.0),
    ]
    assert [each["value"] for each in found if each["key"] == "eval_accuracy"][-1] == {
        "BBOX": pytest.approx(0.3),
        "SEGM": pytest.approx(0.27),
    }
    assert found[-1]["metadata"] == {"status": "success"}


def test_a_training_that_misses_its_target_was_aborted() -> None:
    """Only a quality that was reached is a success."""
    assert events(trained(reached=None))[-1]["metadata"] == {"status": "aborted"}


def test_keys_are_mlperfs() -> None:
    """Every key is one of the constants of MLPerf's library."""
    known = {value for name, value in vars(constants).items() if name.isupper()}
    # NVIDIA's submissions write tracked_stats, and the checkers pass it over.
    assert {each["key"] for each in events(trained())} <= known | {"tracked_stats"}


def test_inference_is_throughput_and_latency() -> None:
    """Percentiles stand only where there are samples enough."""
    window = Window(
        rank=0,
        images=100,
        steps=100,
        elapsed_s=10.0,
        warmup_steps=1,
        warmup_s=0.1,
        spans_ns=((S, 11 * S),),
        stretch_images=(100,),
    )
    result = make_result(
        phase="infer",
        windows=(window,),
        measurements=(make_series("latency_ms", [float(n) for n in range(1, 101)]),),
        started_ns=0,
    )
    (stats,) = [each for each in events(result) if each["key"] == "tracked_stats"]
    assert stats["value"] == {
        "throughput": 10.0,
        "latency_p50_ms": 50.0,
        "latency_p90_ms": 90.0,
        "early_stopping_latency_p50_ms": 64.0,
        "early_stopping_latency_p90_ms": 98.0,
    }


def test_a_record_without_times_is_left_out_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Other trials of the store are exported all the same."""
    store = Store(tmp_path / "store")
    store.open()
    store.commit(trained())
    old = make_result(repeat=7)
    store.commit(old)
    output = tmp_path / "out"
    assert main(["export", str(store.folder), "--format", "mllog", "--output", str(output)]) == 0
    assert [path.stem for path in output.iterdir()] == [trained().trial_id]
    assert old.trial_id in capsys.readouterr().err
    with pytest.raises(ReportError, match="does not say when its windows were"):
        list(mllog.lines(old, SUBMISSION))
