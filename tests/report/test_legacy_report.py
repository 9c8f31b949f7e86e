"""Statistics of older tables: a section, columns and a block of their own, only where they are asked for."""

import csv
import io
import json

import pytest
from made_results import make_result, make_series

from harness.analysis.legacy import LEGACY
from harness.analysis.rows import Analysis
from harness.cli import main
from harness.errors import ReportError
from harness.report.build import build
from harness.report.readme import check_file, update_file
from harness.results.store import Store

TITLE = "## Legacy statistics"
RESULTS = [make_result(phase="infer", measurements=(make_series("latency_ms", range(1, 101)),)), make_result()]


def section(document):
    """The rows of the legacy table as mappings from head to cell."""
    part = document.split(f"{TITLE}\n")[1].split("\n## ")[0]
    lines = [line.strip("| \n").split(" | ") for line in part.splitlines() if line.startswith("|")]
    return [dict(zip(lines[0], row, strict=True)) for row in lines[2:]]


def test_the_section_has_the_columns_by_their_names():
    """And a caption that says what each is, and that none is a percentile."""
    document = build(RESULTS, "md", legacy=True)
    (row,) = section(document)
    assert list(row)[-7:] == list(LEGACY)
    assert (row["legacy_trimmed_mean_95"], row["legacy_with_warmup_average"]) == ("48.0", "916.7")
    caption = document.split(TITLE)[1].split("|")[0].replace("\\", "")
    assert "none is a percentile" in caption
    for name, of in (
        ("legacy_trimmed_mean_K", "EfficientDet"),
        ("legacy_mean_ucl_K", "Mask R-CNN for TensorFlow 2 of 2021"),
        ("legacy_with_warmup_average", "average latency"),
    ):
        assert of in caption.split(name)[1]


@pytest.mark.parametrize("name", ["md", "html", "csv"])
def test_nothing_of_it_where_nobody_asked(name):
    """A reader who did not ask sees no second kind of latency."""
    assert "legacy_" not in build(RESULTS, name)
    assert "legacy_trimmed_mean_90" in build(RESULTS, name, legacy=True)


def test_csv_and_json_have_it_too():
    """Empty and null where a trial has no such number; JSON reads back."""
    rows = list(csv.DictReader(io.StringIO(build(RESULTS, "csv", legacy=True))))
    assert [row["legacy_trimmed_mean_95"] for row in rows] == ["48.0", ""]
    assert json.loads(build(RESULTS, "json"))["legacy"] is None
    text = build(RESULTS, "json", legacy=True)
    assert json.loads(text)["legacy"][0]["legacy_trimmed_mean_95"]["values"] == [48.0]
    assert Analysis.model_validate_json(text).legacy is not None


def test_a_block_of_a_readme(tmp_path):
    """It is filled and checked with the flag, and unknown without."""
    path = tmp_path / "README.md"
    path.write_text("<!-- harness:begin legacy -->\n<!-- harness:end legacy -->\n")
    update_file(path, RESULTS, legacy=True)
    assert "| 48.0 |" in path.read_text()
    assert check_file(path, RESULTS, legacy=True) == []
    with pytest.raises(ReportError, match="block 'legacy'; it must be one of"):
        check_file(path, RESULTS)


def test_the_command_has_the_flag(tmp_path, capsys):
    """As text and as CSV."""
    store = Store(tmp_path / "store")
    store.open()
    for result in RESULTS:
        store.commit(result)
    for arguments, found in (([], False), (["--legacy"], True), (["--legacy", "--format", "csv"], True)):
        assert main(["report", str(tmp_path / "store"), *arguments]) == 0
        assert ("legacy_" in capsys.readouterr().out.replace("\\", "")) == found
