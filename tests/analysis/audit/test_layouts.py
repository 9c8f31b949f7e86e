"""Files as they come: layouts that are recognised, and those that are refused in one line."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis.audit.checking import check_sheet
from harness.analysis.audit.reading import audit_files, read_sheet
from harness.analysis.audit.tables import read_markdown
from harness.errors import AuditError

RECORD = "{system: a, metric: throughput, value: 21.0, unit: images/s, table: t, published_text: '21'}"
TABLE = "| GPUs | throughput |\n| --- | --- |\n| 1 | 21 |\n"


def write(tmp_path, name, text):
    """A file."""
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.txt", TABLE, "unknown layout"),
        ("a.md", "no table\n", "no table of figures"),
        ("a.md", "| name | colour |\n| --- | --- |\n| a | 1 |\n", "no table of figures"),
        ("a.yaml", "- 1\n- 2\n", "unknown layout"),
        ("a.yaml", "records: []\n", "unknown layout"),
        ("a.yaml", "records: [1]\n", r"records\[0\]"),
        ("a.yaml", "records: [{system: a, system: b}]\n", "stands twice"),
        ("a.yaml", f"records: [{RECORD[:-1]}, colour: red}}]\n", r"records\[0\].colour"),
        ("a.yaml", "records: [{system: a\n", "not YAML"),
        ("a.yaml", "records: !!python/object:os.system {}\n", "not YAML"),
        ("a.yaml", "a: " + "[" * 5000, "not YAML|nested too deeply"),
        (
            "a.yaml",
            "records: [{system: a, metric: m, value: true, unit: bool, table: t, published_text: 'x'}]\n",
            "no record",
        ),
    ],
)
def test_bad_input_is_one_line(tmp_path, name, text, problem):
    """What cannot be read is refused with the file and the place."""
    with pytest.raises(AuditError, match=problem) as caught:
        audit_files([write(tmp_path, name, text)])
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_missing_and_binary_files_are_refused(tmp_path):
    """Neither ends in a traceback."""
    with pytest.raises(AuditError, match="no such file"):
        read_sheet(tmp_path / "absent.md")
    (tmp_path / "binary.md").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(AuditError, match="not UTF-8"):
        read_sheet(tmp_path / "binary.md")


def test_tables_in_code_and_rows_cut_short_are_understood(tmp_path):
    """A table in a code block is none; a row without its last cells, or its outer bars, is a row."""
    text = f"```\n{TABLE}```\n\n# Speed\n\nGPUs | throughput | weak scaling\n--- | --- | ---\n1 | 21 | 1\n4 | 74\n"
    sheet = read_sheet(write(tmp_path, "a.md", text))
    assert [(figure.text, figure.line) for figure in sheet.figures] == [("21", 11), ("1", 11), ("74", 12)]


def test_a_line_before_a_table_names_its_precision(tmp_path):
    """As the published inference tables do, one table for each."""
    heads = "| Batch size | Throughput Avg | Latency Avg |\n| --- | --- | --- |\n"
    text = f"FP16 Inference Latency\n\n{heads}| 8 | 40.0 | 0.2 |\n\nPrecision FP32\n\n{heads}| 8 | 20.0 | 0.4 |\n"
    figures = read_sheet(write(tmp_path, "a.md", text)).figures
    assert [figure.point["precision"] for figure in figures] == ["AMP", "AMP", "FP32", "FP32"]
    assert {"images/s", "s"} == {figure.unit for figure in figures}


def test_batch_sizes_in_heads_are_seen(tmp_path):
    """Throughput - TF32 (BS=104) beside mixed precision (BS=200) makes their ratio a mismatch."""
    heads = "| GPUs | Throughput - TF32 (BS=104) | Throughput - mixed precision (BS=200) |"
    text = f"{heads} speedup (TF32 - mixed precision) |\n|---|---|---|---|\n| 1 | 162 | 397 | 2.45 |\n"
    (file,) = audit_files([write(tmp_path, "a.md", text)]).files
    assert [(each.check, each.verdict, each.printed) for each in file.findings] == [("batch", "mismatch", "2.45")]


def test_escaped_bars_and_entities_are_text(tmp_path):
    """A bar behind a backslash ends no cell."""
    text = "| model | GPUs | throughput |\n| --- | --- | --- |\n| a\\|b &lt;c | 1 | **21** |\n"
    (figure,) = read_sheet(write(tmp_path, "a.md", text)).figures
    assert (figure.point["model"], figure.text) == ("a|b <c", "21")


HEADS = st.sampled_from(
    [
        *("GPUs", "batch size", "throughput", "speedup", "weak scaling", "efficiency, %", "latency avg", "p90", "mAP"),
        *("Seed 1", "Seed 2", "mean", "std", "precision", "global batch size", "time to train", "settings", "samples"),
        *("each trial", "weak scaling - TF32", "throughput - amp (bs=4)", "XLA", "speed-up by XLA"),
    ]
)
CELLS = st.one_of(
    st.sampled_from(
        [
            *("1", "0", "-3", "1e300", "1e29", "0e200", "9" * 300, "-0.0", "1,436", "100 %"),
            *("1.5 (1–2)", "1 (3)", "–", "2x", "n<64", "8 h", "a=1, b=2", "amp", "1 · 2", "1.9 (amp / fp32)"),
        ]
    ),
    st.text(max_size=8),
    st.floats(allow_nan=False).map(str),
)


@settings(max_examples=120, deadline=None)
@given(st.lists(HEADS, min_size=1, max_size=7), st.lists(st.lists(CELLS, max_size=7), max_size=6), st.text(max_size=60))
def test_no_table_breaks_the_audit(heads, rows, around):
    """Whatever stands in cells, a page is audited or refused in one line."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (heads, ["---"] * len(heads), *rows)]
    marked = "".join(f"<tr>{''.join(f'<td rowspan=2 colspan={cell}>{cell}' for cell in row)}" for row in rows)
    titles = "".join(f"<th>{head}" for head in heads)
    text = "\n".join([around, "", *lines, "", around, f"<table>{titles}", marked, "</table>", around])
    try:
        sheet = read_markdown(text, "page.md")
    except AuditError as error:
        refused = str(error).splitlines()
    else:
        refused = ["in one line"]
        assert check_sheet(sheet).figures == len(sheet.figures)
    assert len(refused) == 1
