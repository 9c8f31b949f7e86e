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
from harness.schema.result import TrialResult

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
    steps = [each for each in found if isinstance(each.get("step"), int)]
    assert [each["step"] for each in steps] == [1, 2, 3, 4, 5, 6, 7]
    assert steps[4]["data"] == {"train.step_ms": 1500.0, "train.data_wait_ms": 500.0, "train.loss": "inf"}
    assert found[-1]["step"] == []
    assert found[-1]["data"]["train.throughput_images_per_s"] == 4.0


def test_steps_are_dated_by_the_spans_of_the_window() -> None:
    """Stretches are apart, and the warm-up comes before them."""
    steps = [each for each in parsed(timed_result()) if isinstance(each.get("step"), int)]
    seconds = [round(float(each["elapsedtime"]), 3) for each in steps]
    assert seconds == [4.0, 5.0, 7.0, 9.0, 21.0, 23.0, 25.0]
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


def test_an_exported_log_is_imported_with_the_same_throughput(tmp_path: Path) -> None:
    """Of a trial with one stretch: the times between its lines are its window."""
    window = (
        timed_result()
        .windows[0]
        .model_copy(
            update={"spans_ns": ((5 * S, 15 * S),), "stretch_images": (40,)},
        )
    )
    result = timed_result(windows=(window,))
    path = tmp_path / "log.json"
    path.write_text("".join(f"{line}\n" for line in dllogger.lines(result)))
    back = imported(read_log(path), TOLD, 0)
    assert throughput(back) == pytest.approx(throughput(result), rel=1e-6)
    assert back.windows[0].warmup_steps == 2
    assert back.imported is not None
    assert back.imported.timed_by == "timestamps"
    loss = next(each for each in back.measurements if each.name == "train.loss")
    assert loss.values == (2.5, 2.0, 1.5, 1.0)  # without the one that JSON has not


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


def test_a_simulated_device_is_in_no_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its numbers measure nothing; without any other trial there is nothing to write."""
    store = Store(tmp_path / "store")
    store.open()
    store.commit(timed_result(device_name="FAKE A100"))
    command = ["export", str(store.folder), "--format", "dllogger", "--output", str(tmp_path / "out")]
    assert main(command) == 2
    assert "simulated device FAKE A100" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
