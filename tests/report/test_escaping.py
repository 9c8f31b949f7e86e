"""Strings from outside stay strings, whatever they hold; markdown-it and html.parser are the judges."""

import csv
import io

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from made_results import make_machine, make_result
from made_telemetry import make_gpu, make_mark, make_telemetry
from page_readers import READER, Skeleton

from harness.analysis.tables import analyse
from harness.report.build import build_csv, build_html, build_markdown
from harness.report.rendering import markdown_environment
from harness.report.show import show_trial
from harness.report.table import Cell, Column, Note, Table
from harness.report.text import FORMULA_STARTS, csv_cell, markdown, plain
from harness.schema.result import Imported, Outcome
from harness.schema.telemetry import Energy, HostTelemetry

NASTY = (
    "<script>alert(1)</script>",
    "a | b\n| c |\r\n\r\n# d",
    "*a* _b_ __c__ ~~d~~ `e` [f](http://g) ![h](i) <j@k.l> &lt; &#124; \\| $x$",
    '"><img src=x onerror=y>',
    "<!-- harness:end training -->",
    "=1+2|3",
    "\x1b[31mred\u202edesrever\x00",
    "a_b _c d_ e__f snake_case_name n<64 <a",
    "{{ 7 }} {% raw %}",
)
TEXTS = st.text(max_size=40) | st.text("|\\`*_[]<>&~$! ab\n-#", max_size=30) | st.sampled_from(NASTY)


def cells_of(rendered):
    """The cells of all rows below the head, as the inline tokens that a markdown reader sees in them."""
    tokens = READER.parse(rendered)
    body = [token.type for token in tokens].index("tbody_open")
    return [token.children or [] for token in tokens[body:] if token.type == "inline"], [t.type for t in tokens]


@settings(max_examples=100)
@example(text="a | b", note="c")
@given(text=TEXTS, note=TEXTS)
def test_no_string_breaks_a_markdown_table(text, note):
    """A row of three cells stays one row of three cells, and each shows its text without any markup."""
    columns = tuple(Column(name, numeric=False) for name in ("one", "two", "three"))
    row = (Cell("left"), Cell(text, note=note, mark="1"), Cell(text))
    table = Table("t", "T", "", columns, (row,), (Note("1", f"see {note}"),))
    rendered = markdown_environment().get_template("table.md.j2").render(table=table)
    cells, types = cells_of(rendered)
    assert types.count("tr_open") == 2
    assert len(cells) == 4
    for inline in cells:
        assert {token.type for token in inline} <= {"text"}
    assert ["".join(token.content for token in inline).strip() for inline in cells] == [
        "left",
        f"{plain(text)} (1)".strip(),
        plain(text),
        f"(1) see {plain(note)}".strip(),
    ]


def telemetry_with(text):
    """Telemetry that holds a text wherever a driver, a counter or a foreign process can put one."""
    unknown = Energy(joules=None, source=text, note=f"n{text}")
    told = make_gpu(name=f"G{text}", uuid=text, power_source=text, event_reasons=(text,))
    lacking = make_gpu(1, name=text, energy=unknown, own_memory_bytes=None)
    marks = (make_mark("foreign_process", f"process {text} held 3.0 GiB", text), make_mark(text=text, device=None))
    host = HostTelemetry(energy=Energy(joules=9.0, source=text, note=text))
    return make_telemetry(told, lacking, marks=marks, note=text, samples_file=text, driver=text, host=host)


def results_with(text):
    """Results that hold a text wherever users and machines can put one."""
    evidence = Outcome(kind="crashed", reason=text, cause="killed", signal=text, evidence=(f"e{text}", text))
    source = Imported(format="dllogger", file=text, sha256="ab" * 32, timed_by="timestamps")
    watched = {"device": "cuda", "rates": [(4, 1.0)] * 2, "imported": source, "telemetry": telemetry_with(text)}
    variants = ({}, {"repeat": 1, "telemetry": None}, {"batch_size_per_gpu": 2, "outcome": evidence})
    seen = [make_result(**watched | {"phase": phase} | each) for phase in ("train", "infer") for each in variants]
    return [
        *seen,
        make_result(
            backend=text or "x",
            matrix_name=text,
            options={"first": text, "second": 1},
            settings={f"x{text}": text},
            device_name=text,
            machine=make_machine(hostname=text, cpu_model=text, gpu_note=text),
        ),
        make_result(
            backend=text or "x",
            matrix_name=text,
            options={"first": text, "second": 2},
            outcome=Outcome(kind="failed", reason=f"r{text}"),
            machine=make_machine(hostname=text, cpu_model=text),
        ),
    ]


@settings(max_examples=25, deadline=None)
@given(TEXTS)
def test_no_string_injects_html(text):
    """The page has the same tags and attributes as with a harmless text, and shows the text."""
    page = Skeleton(build_html(analyse(results_with(text)), ()))
    assert page.tags == Skeleton(build_html(analyse(results_with("harmless")), ())).tags
    assert plain(f"r{text}") in " ".join(page.text)


@settings(max_examples=20, deadline=None)
@given(TEXTS)
def test_no_string_adds_html_or_headings_to_the_markdown_report(text):
    """The report has the same blocks as with a harmless text, and no HTML at all."""

    def blocks(given_text):
        return [token.type for token in READER.parse(build_markdown(analyse(results_with(given_text))))]

    found = blocks(text)
    assert found == blocks("harmless")
    assert "html_block" not in found


@given(TEXTS)
def test_plain_text_is_one_visible_line(text):
    """No control, line break or mark that reorders text is left, and doing it twice changes nothing."""
    line = plain(text)
    assert line == plain(line)
    assert line.isprintable()


@given(st.sampled_from(["=", "+", "-", "@", "\t=", "\r@", "\n-", "＝"]), TEXTS)
def test_no_csv_string_is_a_formula(start, text):
    """A string that a spreadsheet would run begins with an apostrophe."""
    assert not csv_cell(start + text).startswith(FORMULA_STARTS)


@pytest.mark.parametrize("number", [-1.5, 0, 7, True, None])
def test_csv_numbers_stay_numbers(number):
    """A negative number is no formula."""
    assert csv_cell(number) is number


@settings(max_examples=15, deadline=None)
@given(TEXTS)
def test_csv_has_one_row_per_trial(text):
    """Whatever strings hold, each trial is one row with every column."""
    rows = list(csv.reader(io.StringIO(build_csv(results_with(text)))))
    assert len(rows) == 1 + len(results_with(text))
    assert {len(row) for row in rows} == {len(rows[0])}


@settings(max_examples=25, deadline=None)
@given(TEXTS)
def test_no_string_of_telemetry_reaches_a_terminal_raw(text):
    """Marks, names of processes and devices, counters and evidence: every line is printable."""
    for result in results_with(text):
        assert all(line.isprintable() for line in show_trial(result).split("\n"))


def test_names_stay_readable():
    """What is no markup is left as it is."""
    assert markdown("torch_maskrcnn n<64 1,436.2 (a–b) x=y") == "torch_maskrcnn n<64 1,436.2 (a–b) x=y"
