"""What was sampled, as a reader sees it: columns, notes, marks, and the text of one trial."""

import csv
import io
import json
import re
from typing import get_args

import numpy as np
import pytest
from made_results import make_result, make_series, make_store
from made_telemetry import TIMER, make_gpu, make_mark, make_telemetry, make_window, on_gpus
from markupsafe import escape

from harness.analysis.marks import MEANINGS
from harness.report.build import build
from harness.report.charts import draw_charts
from harness.report.readme import readme_blocks
from harness.report.show import show_trial
from harness.schema.measurement import Measurement
from harness.schema.result import Imported, Outcome
from harness.schema.telemetry import Energy, HostTelemetry, MarkKind

SEEN = ["images per joule", "mean power of GPUs, W", "peak device memory, MiB", "host energy, J"]


def cells(block):
    """The rows of a table as mappings from head to cell."""
    lines = [line.strip("| \n").split(" | ") for line in block.splitlines() if line.startswith("|")]
    return [dict(zip(lines[0], row, strict=True)) for row in lines[2:]]


def told(result, others=()):
    """One trial's text with its line breaks undone."""
    return " ".join(show_trial(result, others).split())


@pytest.mark.parametrize(("phase", "name"), [("train", "training"), ("infer", "inference")])
def test_columns_of_what_was_seen(phase, name):
    """Energy efficiency, power and memory; where a GPU has no counter, a dash and a note, never 0."""
    lacking = on_gpus(make_gpu(joules=None), phase=phase, batch_size_per_gpu=2)
    block = readme_blocks([on_gpus(make_gpu(), phase=phase), lacking])[name]
    first, second = cells(block)
    assert [first[head] for head in SEEN[:3]] == ["0.08", "400.0", "20,480"]
    assert [second[head] for head in SEEN[:3]] == ["– (1)", "400.0", "20,480"]
    assert "(1) no energy: the device has no energy counter that can be read" in block
    assert "host energy" not in block


@pytest.mark.parametrize("results", [make_store(), [on_gpus(make_gpu(joules=None, power_w=None, own_memory_bytes=None,
                                                                       memory_used_bytes=None))]])  # fmt: skip
def test_no_column_where_nothing_was_seen(results):
    """Older stores read as they did."""
    blocks = readme_blocks(results)
    assert not any(head in blocks[name] for head in SEEN for name in ("training", "inference"))


def test_cpu_rows_have_the_energy_of_the_host():
    """Where processors count it; a GPU's row beside it has none of it, and the CPU's no energy of GPUs."""
    host = HostTelemetry(energy=Energy(joules=321.0, source="intel-rapl"))
    results = [make_result(telemetry=make_telemetry(host=host)), on_gpus(make_gpu(), host=host)]
    block = readme_blocks(results)["training"]
    on_cpu, on_gpu = cells(block)
    assert [on_cpu[head] for head in SEEN] == ["–", "–", "–", "321.0"]
    assert [on_gpu[head] for head in SEEN] == ["0.08", "400.0", "20,480", "–"]
    assert "no energy" not in block


def test_energy_of_some_trials_says_so():
    """The number is of those that have it."""
    results = [on_gpus(make_gpu(joules=each), repeat=n) for n, each in enumerate((4000.0, None))]
    block = readme_blocks(results)["training"]
    assert cells(block)[0]["images per joule"] == "0.1 (1)"
    assert "(1) energy of 1 of 2 trials: the device has no energy counter that can be read" in block


def test_memory_of_all_processes_says_so():
    """Where the driver does not tell them apart."""
    block = readme_blocks([on_gpus(make_gpu(own_memory_bytes=None))])["training"]
    assert cells(block)[0]["peak device memory, MiB"] == "30,720 (1)"
    assert "(1) peak device memory: of all processes on the device" in block


@pytest.mark.parametrize("kind", get_args(MarkKind))
@pytest.mark.parametrize("phase", ["train", "infer", "eval"])
def test_every_mark_marks_its_row(kind, phase):
    """A cell beside its throughput names it, and HTML sets both off; the outcome says it again, and the CSV."""
    name = {"train": "training", "infer": "inference", "eval": "evaluation"}[phase]
    results = [on_gpus(make_gpu(), phase=phase, marks=(make_mark(kind, "so it was"),))]
    blocks = readme_blocks(results)
    note = f"{kind.replace('_', ' ')}: so it was"
    row = cells(blocks[name])[0]
    assert (row["throughput, images/s"], row["marks"]) == ("40.0", note)
    assert f"Marks: {kind.replace('_', ' ')}, {MEANINGS[kind]}" in blocks[name]
    assert f"{escape(MEANINGS[kind])}</p>" in build(results, "html")
    assert next(csv.DictReader(io.StringIO(build(results, "csv"))))["marks"] == note
    assert cells(blocks["outcomes"])[0]["note"] == note
    assert '<span class="tone mixed">40.0</span>' in build(results, "html")
    assert f"mark: {kind.replace('_', ' ')} so it was (GPU-0)" in told(results[0])


def test_the_summary_and_the_bar_of_a_marked_row_say_so():
    """Before any table, with the number of trials; and where a chart shows the number alone."""
    results = [on_gpus(make_gpu(), marks=(make_mark(), make_mark("gap"))), on_gpus(make_gpu(), batch_size_per_gpu=2)]
    assert "| marked | trials with marks: throttled (1), gap (1) |" in build(results, "md")
    (chart,) = draw_charts(results)
    assert chart.svg.count("40.0, marked") == 1
    assert "| marked |" not in build(results[1:], "md")


STOLEN = "{}% of the wanted processor time"


def test_what_a_kind_of_mark_means_is_said_once():
    """At the foot; rows have their own figures."""
    shares = ("5.4", "62.0", None)
    marks = [(make_mark("stolen_time", STOLEN.format(share)),) if share else () for share in shares]
    longest = make_mark("gap", "0.37 s")
    results = [
        *(on_gpus(make_gpu(), batch_size_per_gpu=2**n, marks=each) for n, each in enumerate(marks)),
        on_gpus(make_gpu(), batch_size_per_gpu=8, marks=(longest, make_mark("foreign_process", "cat (7)"))),
        make_result(telemetry=None),
    ]
    block = readme_blocks(results)["training"]
    told = [f"stolen time: {STOLEN.format('5.4')}", f"stolen time: {STOLEN.format('62.0')}", "none"]
    assert [row["marks"] for row in cells(block)] == [*told, "gap: 0.37 s; foreign process: cat (7)", "–"]
    assert (block.count("hypervisor"), block.count("\nMarks: ")) == (1, 1)
    first = json.loads(build(results, "json"))["training"][0]["observed"]["marks"][0]
    assert (first["kind"], first["text"]) == ("stolen_time", STOLEN.format("5.4"))


def test_of_several_trials_the_first_mark_is_told():
    """And how many have one."""
    shares = ("25.0", "75.0", None)
    marks = [(make_mark("stolen_time", STOLEN.format(share)),) if share else () for share in shares]
    block = readme_blocks([on_gpus(make_gpu(), repeat=n, marks=each) for n, each in enumerate(marks)])["training"]
    assert cells(block)[0]["marks"] == f"stolen time in 2 of 3 trials, the first: {STOLEN.format('25.0')}"


def test_ratios_name_their_marked_sides_briefly():
    """One note for all ratios of two marked sides; what the marks are stands in the rows of the sides."""
    results = [
        on_gpus(make_gpu(), batch_size_per_gpu=size, precision=precision, marks=marks)
        for size, both in ((1, True), (2, True), (4, False))
        for precision, marks in (("fp32", (make_mark(),)), ("amp", (make_mark("gap"),) if both else ()))
    ]
    block = readme_blocks(results)["training"]
    found = [row["speed-up vs fp32"] for row in cells(block) if row["precision"] == "amp"]
    assert found == ["1.00 (amp / fp32) (1)", "1.00 (amp / fp32) (1)", "1.00 (amp / fp32) (2)"]
    assert "(1) marked: both sides\n" in block
    assert "(2) marked: fp32 at batch size 4\n" in block


def test_a_clean_row_is_not_set_off():
    """No mark, no tone, no note."""
    assert "tone mixed" not in build([on_gpus(make_gpu())], "html").split("</style>")[1]


def test_flags_of_series_are_notes():
    """Drifting latencies at their mean, drifting steps at the throughput."""
    noise = np.random.default_rng(0).normal(0, 0.05, 200)
    drift = np.linspace(10, 14, 200) + noise
    series = (make_series("latency_ms", drift), make_series("step_ms", 10 + noise))
    block = readme_blocks([make_result(phase="infer", measurements=series)])["inference"]
    (row,) = cells(block)
    assert (row["latency mean, ms"], row["throughput, images/s"]) == ("12.0 (1)", "4.00")
    assert "; latencies drift, by up to +33 % from first to last" in block
    block = readme_blocks([make_result(measurements=(make_series("step_ms", drift),))])["training"]
    assert cells(block)[0]["throughput, images/s"] == "4.00 (1)"
    assert "host times of steps drift" in block
    assert "raw series host times of steps drift" in told(make_result(measurements=(make_series("step_ms", drift),)))


def test_a_window_that_was_cut_is_a_note():
    """The throughput stands, and a reader knows how well."""
    result = make_result(windows=(make_window(ended_by="limit", interval=0.099),))
    block = readme_blocks([result])["training"]
    assert cells(block)[0]["throughput, images/s"] == "40.0 (1)"
    assert "(1) the window ended at max_timed_steps, the rate known to ± 9.9 %" in block


def test_an_imported_result_says_where_it_is_from():
    """A row of someone else's clock is no row of ours."""
    source = Imported(format="dllogger", file="log.json", sha256="ab" * 32, timed_by="timestamps")
    result = make_result(imported=source)
    words = "imported from the dllogger file log.json, timed by its time stamps, which no synchronisation backs"
    blocks = readme_blocks([result])
    assert f"(1) {words}" in blocks["training"]
    assert cells(blocks["outcomes"])[0]["note"] == words
    assert f"not measured here {words}" in told(result)


def test_json_holds_null_for_what_is_unknown():
    """And the numbers where they are known."""
    first, second = json.loads(build([on_gpus(make_gpu()), on_gpus(make_gpu(joules=None), xla=True)], "json"))[
        "training"
    ]
    assert first["observed"]["images_per_joule"]["values"] == [0.08]
    assert second["observed"]["images_per_joule"] is None
    assert second["observed"]["joules"] is None


def test_show_tells_all_of_telemetry():
    """Each GPU by itself, the host, how it was sampled; unknown energy with its reason."""
    text = told(on_gpus(make_gpu(0), make_gpu(1, None, mig=None), note="one sample was late"))
    for words in (
        "samples 100 in 10.0 s of windows, every 0.1 s, longest gap 0.11 s",
        "images per joule unknown: the device has no energy counter that can be read",
        "GPU 0: energy 5,000 J ± 0.4 % by nvmlDeviceGetTotalEnergyConsumption, 90 readings",
        "GPU 1: energy unknown: the device has no energy counter that can be read",
        "GPU 0: power, W 400.0 (360.0 to 440.0); NVML_FI_DEV_POWER_INSTANT",
        "GPU 0: clocks held down by SW_POWER_CAP",
        "GPU 0: corrected ECC errors 0",
        "GPU 0: MIG no",
        "host: energy unknown: not sampled",
        "host: CPU time of the trial 9.50 s",
        "note one sample was late",
    ):
        assert words in text
    assert "GPU 1: MIG" not in text
    assert "telemetry" not in told(make_result())


def test_show_tells_of_timers_and_windows():
    """What ended the window, how well the rate is known, where its time went, what timing takes."""
    series = tuple(
        Measurement(name=name, unit="ms", values=(value,) * 100)
        for name, value in (("step_ms", 5.0), ("data_wait_ms", 10.0), ("drain_ms", 20.0))
    )
    text = told(on_gpus(make_gpu(), windows=(make_window(),), timer=TIMER, measurements=series))
    for words in (
        "20 warm-up steps before it in 3.000 s, then steady",
        "window ended when the rate was known to timed_interval; rate known to ± 1.2 % at 95 %; 5 stretches of 2.00",
        "waiting for data 10.0 % of the window",
        "handing out steps 5.0 % of the window",
        "waiting for the device 20.0 % of the window",
        "the rest 65.0 % of the window",
        "device's own clock 9.800 s beside 10.000 s of the host's (98.0 %)",
        "reading the clock 60.0 ns, 4 times a step",
        "synchronising 2,500 ns",
        "a mark on the device 1,800 ns",
        "readings together 0.00024 % of the window",
    ):
        assert words in text


def test_show_of_an_older_record_does_not_guess():
    """It does not say what ended its window, nor what timing took."""
    text = told(make_result())
    assert "window ended" not in text
    assert "what timing takes" not in text


def test_show_tells_what_the_repeats_come_to():
    """Six processes have an interval of their median, two a range, one nothing."""
    results = [make_result(repeat=n, rates=[(100 + n, 10.0)]) for n in range(6)]
    text = told(results[0], results)
    assert "throughput 10.2 (10.0–10.5) images/s, median and range of 6 processes" in text
    assert re.search(r"interval 10\.[01] to 10\.[45] images/s: 95 % bootstrap interval of that median", text)
    assert "interval" not in told(results[0], results[:2])
    assert "processes" not in told(results[0], results[:1])


def test_stability_has_intervals_of_enough_processes():
    """Five and more; an interval over fewer promises what it cannot keep."""
    results = [make_result(repeat=n, rates=[(100 + n, 10.0)]) for n in range(6)]
    (row,) = cells(readme_blocks(results)["stability"])
    assert re.fullmatch(r"10\.2 \(10\.[01]–10\.[45]\)", row["median, 95 % interval"])
    assert "median, 95 % interval" not in readme_blocks(results[:4])["stability"]


def test_outcomes_show_their_evidence():
    """Cause and what it was found by, in the table and for one trial."""
    outcome = Outcome(
        kind="out_of_memory",
        reason="no memory",
        cause="oom_killer",
        peak_memory_bytes=3 * 2**30,
        evidence=("oom_kill rose",),
    )
    result = make_result(outcome=outcome)
    (row,) = cells(readme_blocks([result])["outcomes"])
    assert (row["reason"], row["note"]) == ("no memory", "cause: oom killer; oom_kill rose; held at most 3.0 GiB")
    text = told(result)
    assert "cause oom killer: the kernel killed a worker because the machine had no memory left" in text
    assert "found by oom_kill rose" in text
    assert "held at most 3.0 GiB" in text
