"""No number of a simulated device stands in any format of a report, nor in any README."""

import json

import pytest
from made_results import make_accuracy, make_result, make_series
from made_telemetry import make_gpu, make_mark, on_gpus

from harness.cli import main
from harness.errors import ReportError
from harness.report.build import build
from harness.report.charts import draw_charts
from harness.report.readme import check_file, readme_blocks, update_file
from harness.report.show import show_store, show_trial
from harness.results.store import Store

FAKE = {"device": "cuda", "device_name": "FAKE H100"}
TELLTALE = "77777"


def simulated(**given):
    """A trial whose every number has the telltale digits."""
    series = [
        make_series(name, [7777700.0 + n for n in range(100)]) for name in ("latency_ms", "compile_ms", "step_ms")
    ]
    marks = (make_mark("stolen_time", f"the hypervisor gave {TELLTALE} of 2 processors"),)
    given = {"measurements": tuple(series), "peak_memory_bytes": (77777 * 2**20,), "marks": marks, **FAKE, **given}
    return on_gpus(make_gpu(joules=77777.0, own_memory_bytes=77777 * 2**20), rates=[(77777, 1.0)], **given)


STORE = [
    simulated(phase=phase, precision=precision, evaluate=True, accuracy=(make_accuracy(0.77777, after_steps=9),))
    for phase in ("train", "infer", "eval")
    for precision in ("fp32", "amp")
]


@pytest.mark.parametrize("name", ["md", "html", "csv", "json"])
def test_no_format_has_a_number_of_it(name):
    """The reason stands in its place."""
    text = build(STORE, name, legacy=True)
    assert TELLTALE not in text.replace(",", "")
    assert "0.778" not in text
    assert "simulated device FAKE H100" in text


def test_the_telltale_would_be_seen():
    """The same trials on a real device have it in every format."""
    real = [result.model_copy(update={"device_name": "Some H100"}) for result in STORE]
    for name in ("md", "html", "csv", "json"):
        assert TELLTALE in build(real, name, legacy=True).replace(",", "")
    assert len(draw_charts(real)) == 3


def test_no_chart_is_drawn_of_it():
    """Neither bars nor curves."""
    assert draw_charts(STORE) == ()


def test_json_has_null():
    """And no zero."""
    found = json.loads(build(STORE, "json"))
    assert [row["throughput_images_per_s"] for row in (*found["training"], *found["inference"])] == [None] * 4
    assert [row["point"]["simulated"] for row in found["training"]] == [1, 1]


def test_the_row_says_why_and_is_set_off():
    """Its outcome is ok, and that is not the reason why it is empty."""
    assert "| ok: simulated device FAKE H100 |" in build(STORE, "md")
    assert '<span class="tone mixed">ok: simulated device FAKE H100</span>' in build(STORE, "html")


def test_a_row_of_both_says_how_many():
    """A real repeat keeps its number."""
    real = simulated(device_name="Some H100")
    text = build([real, simulated(repeat=1)], "md")
    assert "2 ok (1 on a simulated device): simulated device FAKE H100" in text


def test_the_list_of_trials_has_no_main_number():
    """One trial in full says before its numbers that they are none."""
    assert TELLTALE not in show_store(STORE).replace(",", "")
    text = " ".join(show_trial(STORE[0]).split())
    assert "numbers not a measurement simulated device FAKE H100: these numbers stand in no table" in text


SEEN_ONLY = on_gpus(make_gpu(name="FAKE H100"), device_name="Some H100")


@pytest.mark.parametrize("fake", [STORE[0], SEEN_ONLY])
def test_a_readme_refuses_a_store_that_holds_any(fake, tmp_path):
    """One line, whatever the name holds, and nothing is written."""
    path = tmp_path / "README.md"
    path.write_text("<!-- harness:begin training -->\n<!-- harness:end training -->\n")
    before = path.read_bytes()
    for refused in (update_file, check_file):
        with pytest.raises(ReportError, match="simulated device FAKE") as caught:
            refused(path, [make_result(), fake])
        assert str(caught.value).isprintable()
    assert path.read_bytes() == before


def test_a_name_with_a_line_break_stays_one_line():
    """It came from a driver."""
    with pytest.raises(ReportError) as caught:
        readme_blocks([make_result(device_name="FAKE\n\x1b[31mH100")])
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("option", ["--update", "--check"])
def test_the_command_refuses_it_too(option, tmp_path, capsys):
    """Exit 2 and one line on standard error."""
    store = Store(tmp_path / "store")
    store.open()
    for result in STORE:
        store.commit(result)
    path = tmp_path / "README.md"
    path.write_text("<!-- harness:begin training -->\n<!-- harness:end training -->\n")
    assert main(["report", str(tmp_path / "store"), option, str(path)]) == 2
    said = capsys.readouterr().err
    assert "simulated device FAKE H100" in said
    assert said.count("\n") == 1
