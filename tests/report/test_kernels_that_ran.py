"""Which kernels ran: told where rows differ, and never passed over where it is not what was asked for."""

from made_results import make_accuracy, make_result, make_series

from harness.analysis.tables import analyse
from harness.report.build import build
from harness.report.readme import readme_blocks
from harness.report.show import show_trial

NATIVE, FRAMEWORK = "native (cpu)", "framework"
FELL_BACK = "framework instead of native: no C++ compiler: g++ or clang++ on PATH was not found"


def trial(ran, asked="native", images=40, **given):
    """A trial that asked for kernels and ran on some."""
    return make_result(options={"kernels": asked}, settings={"kernels": ran}, rates=[(images, 10.0)], **given)


def cells(block):
    """The rows of a table as mappings from head to cell."""
    lines = [line.strip("| \n").split(" | ") for line in block.splitlines() if line.startswith("|")]
    return [dict(zip(lines[0], row, strict=True)) for row in lines[2:]]


def test_rows_with_other_kernels_are_other_points():
    """They are told apart by a column of what ran, and have one throughput each."""
    results = [trial(NATIVE), trial(NATIVE, repeat=1), trial(FRAMEWORK, asked="framework", images=20)]
    native, framework = cells(readme_blocks(results)["training"])
    assert (native["kernels"], native["throughput, images/s"]) == (NATIVE, "4.00 (4.00–4.00)")
    assert (framework["kernels"], framework["throughput, images/s"]) == (FRAMEWORK, "2.00")
    assert "settings" not in native


def test_no_column_where_all_ran_on_the_same():
    """What was asked for then stands with the settings that all rows share."""
    document = build([trial(NATIVE), trial(NATIVE, precision="amp")], "md")
    assert "| kernels |" not in document
    assert "kernels=native" in document


def test_every_table_marks_a_row_that_fell_back():
    """Even where all rows did: the cell says so, a note says why, the outcome and the summary say it in words."""
    results = [
        trial(
            FELL_BACK,
            measurements=(make_series("latency_ms", [1.0] * 70),),
            phase=phase,
            accuracy=(make_accuracy(0.2),),
        )
        for phase in ("train", "eval", "infer")
    ]
    blocks = readme_blocks(results)
    for name in ("training", "inference", "evaluation"):
        (row,) = cells(blocks[name])
        assert row["kernels"] == "not native (1)", name
        assert f"(1) kernels: {FELL_BACK}" in blocks[name]
    assert [row["note"] for row in cells(blocks["outcomes"])] == [f"kernels: {FELL_BACK}"] * 3
    assert analyse(results).summary.fell_back == 3
    assert "all trials asked for native kernels and ran on their framework's own operations" in build(results, "md")
    assert FELL_BACK in build(results, "html")


def test_one_repeat_that_fell_back_marks_its_row():
    """A point of several trials does not hide one of them."""
    results = [trial(NATIVE), trial(FELL_BACK, repeat=1)]
    (row,) = cells(readme_blocks(results)["training"])
    assert row["kernels"] == "not native (1)"
    assert "1 of 2 trials asked for native kernels" in build(results, "md")


def test_what_was_asked_for_is_no_fall_back():
    """The framework's own operations are a choice."""
    results = [trial(FRAMEWORK, asked="framework")]
    assert analyse(results).summary.fell_back == 0
    assert "not native" not in build(results, "md")


def test_a_speed_up_between_different_kernels_has_a_caveat():
    """XLA compiles no custom operation, so what XLA brings is not XLA alone."""
    fell_back = "framework instead of native: XLA compiles no custom operation"
    results = [trial(NATIVE), trial(fell_back, xla=True, images=80)]
    rows = analyse(results).training
    assert rows[1].speedup_of_xla.value == 2.0
    assert rows[1].speedup_of_xla.caveat == f"without XLA ran on other kernels: {NATIVE}"
    assert rows[0].speedup_vs_fp32.caveat is None


def test_show_says_it_with_the_numbers():
    """Of one trial: beside its throughput and in what the backend used."""
    text = " ".join(show_trial(trial(FELL_BACK)).split())
    assert f"not on native kernels {FELL_BACK}" in text
    assert "kernels native (cpu)" in " ".join(show_trial(trial(NATIVE)).split())
    assert "not on native kernels" not in show_trial(trial(NATIVE))


def test_a_row_without_numbers_says_what_it_asked_for():
    """Beside rows that ran."""
    results = [trial(NATIVE), make_result(options={"kernels": "framework"}, settings={})]
    assert [row.point.kernels for row in analyse(results).training] == [NATIVE, FRAMEWORK]
