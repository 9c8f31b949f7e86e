import json
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_results import START, make_result, make_series

from harness.analysis.metrics import throughput
from harness.cli import main
from harness.errors import ReportError
from harness.exchange import dllogger
from harness.exchange.dllogger_import import Told, imported
from harness.exchange.dllogger_lines import read_log
from harness.results.store import Store
from harness.schema.measurement import Window
from harness.schema.result import Outcome, TrialResult

S = 10**9
TOLD = Told(backend="published", matrix="logs")


def timed_result(**given_fields: object) -> TrialResult:
    """Two warm-up steps of 1 s, then two stretches of 2 and 3 steps, 2 s a step, 10 s apart."""
    window = Window(
        rank=0,
        images=40,
        steps=5,
        elapsed_s=10.0,
        warmup_steps=2,
        warmup_s=2.0,
        spans_ns=((5 * S, 9 * S), (19 * S, 25 * S)),
        stretch_images=(16, 24),
    )
    fields: dict[str, object] = {
        "windows": (window,),
        "batch_size_per_gpu": 8,
        "warmup_steps": 2,
        "timed_steps": 5,
        "measurements": (
            make_series("step_ms", [1500.0] * 5),
            make_series("data_wait_ms", [500.0] * 5),
            make_series("loss", [2.5, 2.0, float("inf"), 1.5, 1.0]),
        ),
        "started_ns": 0,
        "duration_s": 30.0,
    }
    return make_result(**(fields | given_fields))


def parsed(result: TrialResult) -> list[dict]:
    """The objects of its lines."""
    lines = list(dllogger.lines(result))
    assert all(line.startswith("DLLL ") and "\n" not in line for line in lines)
    return [json.loads(line[5:]) for line in lines]


def write(folder: Path, *objects: object) -> Path:
    """A log of these objects."""
    path = folder / "log.json"
    path.write_text("".join(f"DLLL {json.dumps(each)}\n" for each in objects))
    return path


def log_line(second: float, step: object, **data: object) -> dict:
    """A LOG line."""
    return {"timestamp": str(1.5e9 + second), "datetime": "x", "type": "LOG", "step": step, "data": data}


def test_a_log_tells_settings_units_steps_and_a_summary() -> None:
    """In the order and with the fields of the published logs."""
    found = parsed(timed_result())
    assert (found[0]["type"], found[0]["step"]) == ("LOG", "PARAMETER")
    assert found[0]["data"]["batch_size"] == 8
    units = {each["metric"]: each["metadata"] for each in found if each["type"] == "METADATA"}
    assert units == {"train.step_ms": {"unit": "ms"}, "train.data_wait_ms": {"unit": "ms"}, "train.loss": {}}
    steps = [each for each in found if each["type"] == "LOG"][1:-1]
    assert [each["step"] for each in steps] == [*([1, n] for n in range(1, 5)), *([2, n] for n in range(4, 8))]
    assert steps[5]["data"] == {"train.step_ms": 1500.0, "train.data_wait_ms": 500.0, "train.loss": "inf"}
    assert found[-1]["step"] == []
    assert found[-1]["data"]["train.throughput_images_per_s"] == 4.0


def test_steps_are_dated_by_the_spans_of_the_window() -> None:
    """The warm-up comes before them; a stretch after a pause begins with a line without values, at its start."""
    steps = [each for each in parsed(timed_result()) if each["type"] == "LOG"][1:-1]
    seconds = [round(float(each["elapsedtime"]), 3) for each in steps]
    assert seconds == [4.0, 5.0, 7.0, 9.0, 19.0, 21.0, 23.0, 25.0]
    assert steps[4]["data"] == {}
    start = START.timestamp()
    assert [round(float(each["timestamp"]) - start, 3) for each in steps] == seconds


def test_every_rank_is_told_apart() -> None:
    """The first rank's metrics have the plain names."""
    series = (make_series("step_ms", [1.0, 2.0]), make_series("step_ms", [3.0, 4.0], rank=1))
    steps = [each for each in parsed(make_result(measurements=series)) if isinstance(each.get("step"), int)][2:]
    assert [each["data"] for each in steps] == [
        {"train.step_ms": 1.0, "train.rank1.step_ms": 3.0},
        {"train.step_ms": 2.0, "train.rank1.step_ms": 4.0},
    ]


def there_and_back(result: TrialResult, folder: Path, told: Told = TOLD) -> TrialResult:
    """A result as a log, read again."""
    path = folder / "log.json"
    path.write_text("".join(f"{line}\n" for line in dllogger.lines(result)))
    return imported(read_log(path), told, 0)


def in_one_stretch(seconds: float = 10.0, **changes: object) -> Window:
    """The window of `timed_result` without its pause."""
    (window,) = timed_result().windows
    spans = {"spans_ns": ((5 * S, 5 * S + round(seconds * S)),), "stretch_images": (40,), "elapsed_s": seconds}
    return window.model_copy(update=spans | changes)


ROUND_TRIPS: dict[str, dict[str, object]] = {
    "one stretch": {"windows": (in_one_stretch(),)},
    "a pause for an evaluation": {},
    "no warm-up": {"windows": (in_one_stretch(warmup_steps=0, warmup_s=0.0),), "warmup_steps": 0},
    "no warm-up and a pause": {
        "windows": (timed_result().windows[0].model_copy(update={"warmup_steps": 0, "warmup_s": 0.0}),),
        "warmup_steps": 0,
    },
    "the second rank is slower": {"windows": (in_one_stretch(), in_one_stretch(12.0, rank=1)), "gpus": 2},
    "accumulation": {"windows": (in_one_stretch(images=80),), "gradient_accumulation_steps": 2},
    "no times of steps": {"measurements": (make_series("loss", [3.0, 2.0, 1.5, 1.2, 1.0]),)},
    "no series": {"measurements": ()},
    "with XLA on the CPU": {"xla": True},
    "a GPU of a name": {"device": "cuda", "device_name": "Some A100", "image_size": 800},
}


@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_an_exported_log_is_imported_with_the_same_throughput(name: str, tmp_path: Path) -> None:
    """The times between its lines are its window, whatever lies between; what was run is read back too."""
    result = timed_result(**ROUND_TRIPS[name])
    back = there_and_back(result, tmp_path)
    assert throughput(back) == pytest.approx(throughput(result), rel=1e-6)
    told = {"gpus", "batch_size_per_gpu", "gradient_accumulation_steps", "precision", "xla", "device", "warmup_steps"}
    told |= {"image_size", "data"}
    assert back.trial.model_dump(include=told) == result.trial.model_dump(include=told)
    assert back.device_name == result.device_name
    assert back.trial.timed_steps == 5
    assert back.imported is not None
    assert back.imported.timed_by == "timestamps"


def test_an_imported_series_is_the_exported_one(tmp_path: Path) -> None:
    """Under the log's name, without the value that JSON has not."""
    loss = next(each for each in there_and_back(timed_result(), tmp_path).measurements if each.name == "train.loss")
    assert loss.values == (2.5, 2.0, 1.5, 1.0)


def test_a_trial_that_failed_comes_back_as_one(tmp_path: Path) -> None:
    """A log that says how its run ended is no run that went well."""
    ended = Outcome(kind="skipped", reason="too large")
    back = there_and_back(make_result(outcome=ended, windows=(), measurements=()), tmp_path)
    assert (back.outcome.kind, back.outcome.reason, back.windows) == ("skipped", "too large", ())


def test_a_published_log_becomes_a_window_by_its_time_stamps(tmp_path: Path) -> None:
    """Epochs apart: what lies between them is in no window; the rates that the log prints are kept as series only."""
    path = write(
        tmp_path,
        log_line(0, "PARAMETER", batch_size=4, world_size=2, amp=True),
        {"timestamp": "1500000000", "type": "METADATA", "metric": "train.ips", "metadata": {"unit": "img/s"}},
        *(log_line(10 + n, [0, 5 * n], **{"train.ips": 999.0, "lr": "0.1 (0.2)"}) for n in range(4)),
        log_line(13.5, [0, 15], lr=0.1),
        log_line(50, [0, 20, 5], **{"val.ips": 1.0}),
        *(log_line(100 + 2 * n, [1, 5 * n], **{"train.ips": 998.0}) for n in range(3)),
        log_line(200, [], **{"train.ips": 998.5}),
    )
    result = imported(read_log(path), TOLD, 3)
    assert (result.trial.precision, result.trial.gpus, result.trial.repeat) == ("amp", 2, 3)
    (window,) = result.windows
    assert (window.steps, window.images, window.elapsed_s) == (25, 200, 7.0)
    assert {each.name: (each.unit, len(each.values)) for each in result.measurements} == {
        "train.ips": ("images/s", 7),
        "lr": ("1", 1),
    }
    assert result.duration_s == 200.0


def test_a_log_without_two_steps_has_no_throughput(tmp_path: Path) -> None:
    """A rate that the log states is not taken for one."""
    path = write(tmp_path, log_line(0, "PARAMETER", batch_size=4), log_line(9, [], throughput=321.0))
    result = imported(read_log(path), TOLD, 0)
    assert (throughput(result), result.windows) == (None, ())
    assert result.imported is not None
    assert result.imported.timed_by == "none"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nothing\n", "holds no line of DLLogger"),
        ("DLLL {\nDLLL {}\n", "line 1 is no line of DLLogger"),
        ('DLLL {"type": "LOG", "timestamp": "NaN"}\nDLLL {}\n', "line 1 is no line of DLLogger"),
        ("DLLL " + "[" * 100_000 + "\nDLLL {}\n", "line 1 is no line of DLLogger"),
        ('DLLL {"type": "LOG", "timestamp": "1", "step": 3, "data": {}}\n', "no batch size"),
    ],
)
def test_a_log_that_cannot_be_understood_is_named_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, problem: str
) -> None:
    """With its line, exit code 2, and nothing is written."""
    path = tmp_path / "log.json"
    path.write_text(text)
    assert main(["import", str(path), "--results", str(tmp_path / "store")]) == 2
    captured = capsys.readouterr()
    assert problem in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "store").exists()


def test_a_torn_last_line_is_left_out_and_said(tmp_path: Path) -> None:
    """As a run that was killed leaves it."""
    path = write(tmp_path, log_line(0, "PARAMETER", batch_size=1))
    path.write_text(path.read_text() + 'DLLL {"type": "LO')
    log = read_log(path)
    assert log.notes == ["log.json: line 2, the last, is torn and left out"]


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Nothing but one of ours is ever raised."""
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(b"DLLL " + content)
    with suppress(ReportError):
        assert read_log(path).first_s >= 0


def test_logs_become_a_store_that_reports_and_says_where_it_comes_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Several logs are repeats of one point; importing twice is refused."""
    paths = []
    for n in range(2):
        folder = tmp_path / f"{n}"
        folder.mkdir()
        lines = [log_line(0, "PARAMETER", batch_size=4), *(log_line(1 + (1 + n) * s, s, loss=1.0) for s in range(5))]
        paths.append(str(write(folder, *lines)))
    store = tmp_path / "store"
    command = ["import", *paths, "--results", str(store), "--backend", "published", "--machine", "DGX A100"]
    assert main(command) == 0
    assert [result.trial.repeat for result in Store(store).load_all()] in ([0, 1], [1, 0])
    assert "a window by its time stamps" in capsys.readouterr().out
    assert main(["report", str(store)]) == 0
    assert "DGX A100" in capsys.readouterr().out
    assert main(command) == 2
    assert "already" in capsys.readouterr().err


def test_export_writes_a_log_for_each_trial(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Into a new folder only."""
    store = Store(tmp_path / "store")
    store.open()
    for repeat in range(2):
        store.commit(timed_result(repeat=repeat, started_at=START + timedelta(minutes=repeat)))
    command = ["export", str(store.folder), "--format", "dllogger", "--output", str(tmp_path / "out")]
    assert main(command) == 0
    assert len(list((tmp_path / "out").glob("*.json"))) == 2
    assert main(command) == 2
    assert "exists" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["dllogger", "mllog"])
def test_a_simulated_device_is_in_no_log(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its numbers measure nothing; without any other trial there is nothing to write."""
    store = Store(tmp_path / "store")
    store.open()
    store.commit(timed_result(device_name="FAKE A100"))
    command = ["export", str(store.folder), "--format", form, "--output", str(tmp_path / "out")]
    assert main(command) == 2
    assert "simulated device FAKE A100" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def committed(folder: Path, *results: TrialResult) -> Store:
    """A store of these results."""
    store = Store(folder)
    store.open()
    for result in results:
        store.commit(result)
    return store


@pytest.mark.parametrize("form", ["dllogger", "mllog"])
def test_a_rehearsal_is_in_no_log(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A log has no place for saying that a small stand-in ran."""
    result = timed_result()
    trial = result.trial.model_copy(update={"rehearsal": True})
    rehearsed = result.model_copy(update={"trial": trial, "trial_id": trial.trial_id})
    store = committed(tmp_path / "store", rehearsed, timed_result(batch_size_per_gpu=2))
    command = ["export", str(store.folder), "--format", form, "--output", str(tmp_path / "out")]
    assert main(command) == 0
    assert len(list((tmp_path / "out").iterdir())) == 1
    assert ": a rehearsal: its numbers measure nothing" in capsys.readouterr().err


def test_a_log_of_a_simulated_device_has_no_number_in_a_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever wrote it: the name of the device comes with it."""
    steps = (log_line(second, second, loss=1.0) for second in range(1, 5))
    path = write(tmp_path, log_line(0, "PARAMETER", batch_size=77777, device_name="FAKE A100"), *steps)
    assert main(["import", str(path), "--results", str(tmp_path / "store")]) == 0
    capsys.readouterr()
    for form in ("md", "html", "csv", "json"):
        assert main(["report", str(tmp_path / "store"), "--format", form]) == 0
        text = capsys.readouterr().out.replace(",", "")
        assert "simulated device FAKE A100" in text
        assert "77777.0" not in text


def test_what_a_log_does_not_say_is_unknown(tmp_path: Path) -> None:
    """A published system was not trained on this harness's own data."""
    path = write(tmp_path, log_line(0, "PARAMETER", batch_size=4, xla="yes", device=3), log_line(1, 0, loss=1.0))
    trial = imported(read_log(path), TOLD, 0).trial
    assert (trial.data.train, trial.data.val, trial.xla, trial.device) == ("unknown", "unknown", False, "cuda")


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (["{log}", "{log}"], "log.json is given twice"),
        (["{folder}"], "cannot read"),
    ],
)
def test_a_wrong_command_is_refused_in_one_line(
    command: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and no store."""
    path = write(tmp_path, log_line(0, "PARAMETER", batch_size=4), log_line(1, 0, loss=1.0))
    filled = [part.format(log=path, folder=tmp_path) for part in command]
    assert main(["import", *filled, "--results", str(tmp_path / "store")]) == 2
    said = capsys.readouterr().err
    assert problem in said
    assert said.count("\n") == 1
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("option", "value", "least"), [("--warmup-steps", "-3", 0), ("--gpus", "0", 1), ("--gpus", "1.5", 1)]
)
def test_numbers_of_the_command_line_are_checked(
    option: str, value: str, least: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before any file is opened."""
    with pytest.raises(SystemExit, match="2"):
        main(["import", "log.json", "--results", "store", option, value])
    assert f"'{value}' is not a whole number from {least} on" in capsys.readouterr().err
