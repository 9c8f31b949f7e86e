"""The documents: their structure, what they need, and that they agree with their schema."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
from jinja2 import StrictUndefined, UndefinedError, nodes
from made_results import make_result, make_store
from page_readers import READER, Skeleton

from harness.analysis.rows import Analysis
from harness.analysis.tables import analyse
from harness.errors import ReportError
from harness.report.build import build, build_markdown, report_schema
from harness.report.rendering import html_environment, markdown_environment, template_folder
from harness.report.write import write_report
from harness.schema.result import Outcome

ROOT = Path(__file__).parents[2]
TITLES = [
    "Summary",
    "Training performance",
    "Inference performance",
    "Evaluation",
    "Training accuracy",
    "Stability over seeds and repeats",
    "Outcomes",
    "Provenance",
]


@pytest.fixture(scope="module", name="page")
def _page():
    return build(make_store(), "html")


@pytest.fixture(scope="module", name="document")
def _document():
    return build(make_store(), "md")


def table_under(document, title):
    """Head and rows of the table under a heading, as lists of cells."""
    part = document.split(f"## {title}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows if set("".join(row)) - set(" -:")]


def test_sections_stand_in_order(document):
    """Every table of the store has its heading."""
    assert re.findall(r"^## (.*)$", document, re.MULTILINE) == TITLES


def test_markdown_tables_are_tables(document):
    """A markdown reader finds as many tables as there are headings, and as many cells in a row as in the head."""
    types = [token.type for token in READER.parse(document)]
    assert types.count("table_open") == len(TITLES)
    for title in TITLES:
        assert len({len(row) for row in table_under(document, title)}) == 1


def test_training_table_holds_what_readers_know(document):
    """Columns with their units, and the numbers of two ranks against one."""
    head, *rows = table_under(document, "Training performance")
    assert head == [
        "backend",
        "device",
        "ranks",
        "batch size per rank",
        "global batch size",
        "precision",
        "XLA",
        "throughput, images/s",
        "speed-up vs fp32",
        "weak-scaling factor T(N)/T(1)",
        "efficiency, %",
        "data wait, % of time",
        "peak memory per rank, MiB",
    ]
    amp = next(row for row in rows if row[2] == "2" and row[5] == "amp")
    assert amp[7:] == ["7.92 (7.84–8.00)", "1.48 (amp / fp32)", "1.78", "88.9", "0.6", "900"]


def test_the_effective_batch_size_stands_where_it_is_another():
    """Without accumulation it is the global one, in a column of its own already."""
    plain = make_result()
    assert "effective batch size" not in build([plain], "md")
    text = build([plain, make_result(gradient_accumulation_steps=4)], "md")
    assert "| global batch size | effective batch size |" in text


def test_a_row_without_numbers_has_its_outcome(document):
    """Outcome and reason stand where the throughput would; nothing is zero."""
    _, *rows = table_under(document, "Training performance")
    (crashed,) = [row for row in rows if "crashed" in row[7]]
    assert crashed[7:] == ["crashed: worker ended by SIGKILL after 12 s", "–", "–", "–", "–", "–"]


def test_percentiles_say_when_they_cannot_be_known(document):
    """700 samples have a p99, 100 have a p90, 40 have a median."""
    head, *rows = table_under(document, "Inference performance")
    cells = [dict(zip(head, row, strict=True)) for row in rows]
    assert [row["p99, ms"].startswith("n<662") for row in cells] == [False, True, True]
    assert [row["p90, ms"] for row in cells][2] == "n<64"
    assert cells[2]["p50, ms"].startswith("818.8 (")


def test_gpus_are_named_so_and_cpu_ranks_are_not():
    """Ranks on the CPU are never called GPUs."""
    heads = {
        device: build_markdown(analyse([make_result(device=device, device_name="A GPU")])) for device in ("cpu", "cuda")
    }
    assert "batch size per GPU" in heads["cuda"]
    assert "| cuda |" in heads["cuda"]
    assert "| cpu |" in heads["cpu"]
    assert "| GPUs |" not in heads["cpu"].split("## Provenance")[0]


def test_gpus_of_two_kinds_are_told_apart():
    """Where devices differ, each row names its own."""
    results = [make_result(device="cuda", device_name=name, batch_size_per_gpu=n) for n, name in ((1, "A"), (2, "B"))]
    document = build_markdown(analyse(results))
    assert "| cuda, A | 1 | 1 |" in document
    assert "| cuda, B | 1 | 2 |" in document


def test_a_missing_side_is_explained_under_the_table():
    """A dash carries the number of a note, and the note names both sides."""
    results = [make_result(precision="amp", batch_size_per_gpu=200), make_result(batch_size_per_gpu=104)]
    document = build_markdown(analyse(results))
    assert "| – (1) |" in document
    assert "(1) amp at batch size 200 over fp32 at batch size 200: fp32 ran at batch size 104 only" in document


def test_some_failed_repeats_are_noted():
    """A number of fewer trials than asked for says so."""
    crash = Outcome(kind="crashed", reason="SIGKILL")
    document = build_markdown(analyse([make_result(), make_result(repeat=1, outcome=crash)]))
    assert "(1) 1 ok, 1 crashed: SIGKILL" in document


def test_page_parses_and_needs_nothing_else(page):
    """Every tag that opens closes, no script runs, and all links stay in the page."""
    read = Skeleton(page)
    void = {"meta", "br", "hr", "img", "link", "input"}
    opened = []
    for tag, _ in read.tags:
        if tag.startswith("/"):
            assert opened.pop() == tag[1:]
        elif tag not in void:
            opened.append(tag)
    assert opened == []
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in read.tags}
    assert read.links
    assert all(link.startswith("#") for link in read.links)
    assert all(target.startswith("#") for target in re.findall(r"url\(['\"]?([^)'\"]*)", page))
    assert "@import" not in page


def test_links_of_the_page_arrive(page):
    """Each id is there once, and each link has its target."""
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(set(ids)) == len(ids)
    assert {link[1:] for link in Skeleton(page).links} <= set(ids)


def test_page_shows_its_charts(page):
    """Four charts stand in the page, and are described for those who do not see them."""
    assert page.count('<svg role="img" aria-label="') == 4


def test_empty_store_makes_every_format():
    """No trial is no error: the report says that there is none."""
    assert "no trials" in build([], "md")
    assert "<svg" not in build([], "html")
    assert json.loads(build([], "json"))["summary"]["trials"] == 0
    assert build([], "csv").startswith("trial_id,")


def test_unknown_format_is_refused():
    """The message names the formats."""
    with pytest.raises(ReportError, match="'pdf'; it must be one of md, html, csv, json"):
        build([], "pdf")


def test_json_is_the_analysis():
    """The JSON report reads back as the records it was made from, without NaN."""
    text = build(make_store(), "json")
    assert Analysis.model_validate_json(text) == analyse(make_store())
    assert "NaN" not in text


def test_committed_schema_is_current():
    """docs/schema/report.json describes the JSON report as it is."""
    assert (ROOT / "docs" / "schema" / "report.json").read_text(encoding="utf-8") == report_schema()


def test_every_format_is_repeatable(document):
    """The same results give the same bytes; the page's charts have a test of their own."""
    assert build(make_store(), "md") == document
    for name in ("csv", "json"):
        assert build(make_store(), name) == build(make_store(), name)


def test_csv_heads_carry_units():
    """One row per trial; numbers are whole, units stand in the heads."""
    rows = list(csv.DictReader(io.StringIO(build(make_store(), "csv"))))
    assert len(rows) == len(make_store())
    assert {"throughput_images_per_s", "latency_p99_ms", "peak_memory_bytes", "duration_s"} <= rows[0].keys()
    assert float(rows[0]["throughput_images_per_s"]) == 3.0


ARITHMETIC = (nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Pow, nodes.Neg, nodes.Pos)


@pytest.mark.parametrize("name", sorted(path.name for path in template_folder().iterdir()))
def test_templates_only_place_text(name):
    """No template computes, and none filters: nothing escapes the escaping, no number changes after analysis."""
    source = (template_folder() / name).read_text(encoding="utf-8")
    for environment in (html_environment(), markdown_environment()):
        tree = environment.parse(source)
        assert list(tree.find_all(ARITHMETIC)) == []
        assert list(tree.find_all(nodes.Filter)) == []


@pytest.mark.parametrize("environment", [html_environment(), markdown_environment()])
def test_undefined_names_are_errors(environment):
    """A template that asks for what is not there fails instead of leaving a hole."""
    assert environment.undefined is StrictUndefined
    with pytest.raises(UndefinedError):
        environment.get_template("block.md.j2").render()


def test_html_is_escaped_by_default():
    """A template cannot forget to escape."""
    assert html_environment().from_string("{{ a }}").render(a="<b>") == "&lt;b&gt;"
    assert markdown_environment().from_string("{{ a }}").render(a="<b>|") == "&lt;b&gt;&#124;"


def test_templates_are_found_in_a_wheel(tmp_path, monkeypatch):
    """An installed package has them beside the code; without any, one line says so."""
    monkeypatch.setattr("harness.report.rendering.PLACES", (tmp_path / "none", tmp_path))
    assert template_folder() == tmp_path
    monkeypatch.setattr("harness.report.rendering.PLACES", (tmp_path / "none", tmp_path / "neither"))
    with pytest.raises(ReportError, match="no report templates"):
        template_folder()


def test_report_is_written_as_files(tmp_path):
    """Markdown links the charts that are there; a second time gives the same bytes and leaves no old chart."""
    results = [make_result(), make_result(batch_size_per_gpu=2), make_result(rates=[(4, 1.0)] * 2)]
    paths = write_report(results, tmp_path)
    assert [path.name for path in paths] == ["report.md", "report.html", "throughput-train.svg", "scaling-train.svg"]
    before = {path: path.read_bytes() for path in paths}
    linked = re.findall(r"\]\((charts/[^)]+)\)", (tmp_path / "report.md").read_text(encoding="utf-8"))
    assert {tmp_path / link for link in linked} == set(paths[2:])
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(paths)
    (tmp_path / "charts" / "old.svg").write_text("of a table that is gone")
    assert write_report(results, tmp_path) == paths
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_report_that_cannot_be_written_is_one_line(tmp_path):
    """The place is named, and no part of a file is left."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ReportError, match="cannot write") as caught:
        write_report([], tmp_path / "file")
    assert "\n" not in str(caught.value)


def test_a_write_that_breaks_off_leaves_the_old_file(tmp_path, monkeypatch):
    """The old report stays whole, and nothing half-written stands beside it."""
    write_report([make_result()], tmp_path)
    old = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ReportError, match="No space left"):
        write_report([make_result(repeat=1)], tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == old
