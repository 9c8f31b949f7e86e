"""`harness audit`: what it prints, and our own report under it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from made_results import make_store

from harness.analysis.audit.findings import Audit
from harness.analysis.audit.reading import audit_files
from harness.cli import main
from harness.report.audit import audit_schema
from harness.report.build import build

ROOT = Path(__file__).parents[2]
CLEAN = "| GPUs | throughput | weak scaling |\n| --- | --- | --- |\n| 1 | 21 | 1 |\n| 4 | 74 | 3.52 |\n"
FAULTY = CLEAN.replace("3.52", "3.22")


@pytest.fixture
def write(tmp_path):
    """Writes a file of a name."""

    def written(name, text):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    return written


def test_a_reader_that_leaves_early_changes_no_verdict(write):
    """As `| head` does."""
    script = f'{sys.executable} -m harness.cli audit {write("faulty.md", FAULTY)} | true; exit "${{PIPESTATUS[0]}}"'
    ran = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (1, "")


def test_exit_codes_are_those_of_the_surface(write, capsys):
    """0 clean, 1 findings, 2 bad input in one line."""
    assert main(["audit", write("clean.md", CLEAN)]) == 0
    assert "nothing found" in capsys.readouterr().out
    assert main(["audit", write("clean.md", CLEAN), write("faulty.md", FAULTY)]) == 1
    out = capsys.readouterr().out
    assert "printed 3.22, recomputed 3.5238, allowed 3.4186 to 3.6341" in out
    assert "1 finding: 1 error in 2 files" in out
    assert main(["audit", write("none.md", "no table")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_json_reads_back_and_its_schema_is_committed(write, capsys):
    """docs/schema/audit.json describes what --json prints."""
    assert main(["audit", write("faulty.md", FAULTY), "--json"]) == 1
    printed = capsys.readouterr().out
    (finding,) = Audit.model_validate_json(printed).files[0].findings
    assert (finding.column, finding.line, finding.check, finding.verdict) == ("weak scaling", 4, "scaling", "error")
    assert json.loads(printed)["schema_version"] == 1
    assert (ROOT / "docs/schema/audit.json").read_text(encoding="utf-8") == audit_schema()


def test_a_page_is_written_where_it_is_asked_for(write, tmp_path, capsys):
    """--format md --output F leaves the page in F, prints nothing, and still exits with 1."""
    page = tmp_path / "page.md"
    assert main(["audit", write("faulty.md", FAULTY), "--format", "md", "--output", str(page)]) == 1
    assert capsys.readouterr().out == ""
    assert "| scaling | table | GPUs 4 | weak scaling | 4 | 3.22 | 3.5238 | 3.4186 to 3.6341 |" in page.read_text()
    assert main(["audit", write("faulty.md", FAULTY), "--output", str(tmp_path / "absent" / "f")]) == 2


def test_text_from_files_reaches_no_terminal_unescaped(write, capsys):
    """A control character in a cell is spelled out."""
    heads = "| model | GPUs | throughput | weak scaling |\n| --- | --- | --- | --- |\n"
    rows = "| a\x1b[31m | 1 | 21 | 1 |\n| a\x1b[31m | 4 | 74 | 3.22 |\n"
    main(["audit", write("a.md", heads + rows)])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\\u001b" in out
    main(["audit", write("a.md", heads + rows), "--format", "md"])
    assert "\x1b" not in capsys.readouterr().out


def test_our_readme_is_judged_and_clean():
    """The README's generated tables hold ratios, factors and efficiencies, and all of them fit."""
    (file,) = audit_files([ROOT / "README.md"]).files
    assert file.findings == ()
    assert file.checked["scaling"] >= 5
    assert file.checked["efficiency"] >= 5
    assert file.checked["product"] >= 10
    assert file.checked["ratio"] >= 1
    assert file.checked["flow"] >= 3


def test_a_wrong_speed_up_planted_in_our_report_is_found(write):
    """Our own markdown passes; with one speed-up changed, that row and column are named."""
    text = build(make_store(), "md")
    (clean,) = audit_files([Path(write("clean.md", text))]).files
    assert clean.findings == ()
    checks = ("ratio", "scaling", "efficiency", "mean", "deviation", "bracket")
    assert min(clean.checked[check] for check in checks) >= 2
    cell = re.search(r"\| (\d+\.\d\d) \((\w+) / (\w+)\)", text)
    changed = text.replace(cell[0], cell[0].replace(cell[1], f"{1.5 * float(cell[1]):.2f}"), 1)
    (faulty,) = audit_files([Path(write("faulty.md", changed))]).files
    line = text[: cell.start()].count("\n") + 1
    assert [("ratio", "error", line)] == [(each.check, each.verdict, each.line) for each in faulty.findings]
    assert faulty.findings[0].column.startswith("speed-up vs ")
