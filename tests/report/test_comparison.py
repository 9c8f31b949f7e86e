"""A comparison as text, markdown and JSON, and through the command line with its exit codes."""

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_results import PROVENANCE, START, make_accuracy, make_result
from page_readers import READER
from scipy.stats import mannwhitneyu

from harness.analysis.compare import compare_stores
from harness.analysis.compare_rows import Comparisons
from harness.cli import main
from harness.report.comparison import comparison_json, comparison_schema, markdown_comparison, plain_comparison
from harness.results.store import Store

ROOT = Path(__file__).parents[2]


def results(slowness=1.0, count=10, first=0, **changes):
    """Processes of one point; those of another `first` take turns with these."""
    return [
        make_result(
            rates=[(100, slowness * (10 + 0.02 * ((7 * n + first) % 10)))],
            repeat=n,
            started_at=START + timedelta(minutes=2 * n + first),
            **changes,
        )
        for n in range(count)
    ]


def kept(folder, given):
    """A store on the disk."""
    store = Store(folder)
    store.open()
    for result in given:
        store.commit(result)
    return str(folder)


@pytest.fixture(name="base")
def _base(tmp_path):
    return kept(tmp_path / "base", results())


OTHERS = {
    "same": (0, results(first=1)),
    "better": (0, results(0.8, first=1)),
    "worse": (1, results(1.2, first=1)),
    "inconclusive": (2, results(count=3, first=1)),
    "not comparable": (3, results(first=1, device_name="Other CPU", settings={"kernels": "other"}, precision="amp")),
}


@pytest.mark.parametrize("verdict", OTHERS)
def test_each_verdict_has_its_exit_code(base, tmp_path, capsys, verdict):
    """And the text says it on the line of the store."""
    code, other = OTHERS[verdict]
    assert main(["compare", base, kept(tmp_path / "other", other)]) == code
    shown = capsys.readouterr().out
    assert f"other  {tmp_path / 'other'}: {verdict} (" in shown


def bad(base, tmp_path):
    """Command lines with something wrong in them, and what the one line must say."""
    return {
        "no store": ([base, str(tmp_path / "none")], "holds no results"),
        "one store": ([base], "right would be two or more"),
        "by of two": ([base, base, "--by", "precision"], "2 stores with --by precision; right would be one of them"),
        "base of two": ([base, base, "--base", "x"], "--base x names a value of --by SETTING, which is not given"),
        "unknown field": ([base, base, "--across", "torhc"], "--across torhc"),
        "unknown condition": ([base, base, "--only", "phaze=train"], "unknown field 'phaze'"),
        "nothing left": ([base, base, "--only", "phase=infer"], "none of 10 trials"),
        "no condition": ([base, base, "--only", "fast"], "no condition"),
        "one value": ([base, "--by", "precision"], "--by precision"),
        "broken record": ([base, str(tmp_path / "broken")], "not a result of this version"),
    }


@pytest.mark.parametrize("case", bad("", Path()))
def test_bad_input_is_one_line_and_its_own_code(base, tmp_path, capsys, case):
    """64, since 1 and 2 are verdicts."""
    broken = Store(tmp_path / "broken")
    broken.open()
    (broken.trials / "x.json").write_text("{}")
    arguments, message = bad(base, tmp_path)[case]
    assert main(["compare", *arguments]) == 64
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert message in said.err


@pytest.mark.parametrize(
    "arguments", [["compare"], ["compare", "a", "b", "--tolerance", "2"], ["compare", "a", "--nope"]]
)
def test_a_command_line_that_cannot_be_read_is_64_too(capsys, arguments):
    """Of this command alone: others keep 2."""
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 64
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(SystemExit) as left:
        main(["report", "a", "--nope"])
    assert left.value.code == 2


def test_an_error_of_ours_is_no_verdict(base, monkeypatch, capsys):
    """Python would leave with 1, which is worse to a gate; this has a code of its own, and the traceback is shown."""
    monkeypatch.setattr("harness.analysis.compare.compare_stores", lambda *_: {}["nothing"])
    assert main(["compare", base, base]) == 70
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("Traceback")
    assert "KeyError: 'nothing'" in said.err


@pytest.mark.parametrize(("reader", "code"), [("true", 1), ("cat > /dev/full", 1), ("", 64)])
def test_what_becomes_of_the_text_changes_no_verdict(base, tmp_path, reader, code):
    """A reader that leaves early changes nothing; a full disk under the text itself is one line and no verdict."""
    other = kept(tmp_path / "other", results(1.2, first=1))
    tail = f"| {reader}" if reader else "> /dev/full"
    script = f'{sys.executable} -m harness.cli compare {base} {other} {tail}; exit "${{PIPESTATUS[0]}}"'
    ran = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert ran.returncode == code, ran.stderr
    assert [line for line in ran.stderr.splitlines() if line.startswith("harness:")] == (
        [] if reader else ["harness: cannot print: No space left on device"]
    )


def test_points_at_once_are_told_in_the_terms():
    """Of one point nothing is said; of several how often the whole is wrong, and why one of them has no verdict."""
    alone = compare_stores([("a", results()), ("b", results(1.2, first=1))])
    assert "over all" not in plain_comparison(alone)
    sides = [[*results(count=5, first=side), *results(1 + side / 4, 5, side, batch_size_per_gpu=2)] for side in (0, 1)]
    found = compare_stores([("a", sides[0]), ("b", sides[1]), ("c", sides[1])])
    text = " ".join(plain_comparison(found).split())
    assert "over all 4 points identical code is called worse in at most 1 % of comparisons" in text
    assert "p=0.0079 slower" in text
    lone = compare_stores([("a", sides[0]), ("b", sides[1]), *[(name, sides[0]) for name in "cde"]])
    assert lone.verdict == "inconclusive"
    row = next(line for line in markdown_comparison(lone).splitlines() if "slower if it were alone" in line)
    assert "with 8 points at most 0.25 % counts; about 6 processes a side would tell" in row


def test_a_wider_tolerance_and_a_selection_are_heard(base, tmp_path):
    """What is worse at 2 % is the same at 30 %, and a point that is left out does not count."""
    other = kept(tmp_path / "other", [*results(1.2, first=1), *results(first=1, batch_size_per_gpu=2)])
    assert main(["compare", base, other, "--tolerance", "0.3"]) == 0
    both = kept(tmp_path / "both", [*results(), *results(batch_size_per_gpu=2)])
    assert main(["compare", both, other]) == 1
    assert main(["compare", both, other, "--only", "batch_size_per_gpu=2"]) == 0


def test_values_of_a_setting_are_compared_inside_a_store(tmp_path, capsys):
    """The setting is told as what is compared on purpose."""
    fast = results(0.8, first=1, options={"step_ms": 4.0})
    store = kept(tmp_path / "one", [*results(options={"step_ms": 5.0}), *fast])
    assert main(["compare", store, "--by", "step_ms"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("base   step_ms=5.0\n")
    assert "compared on purpose: trial.options.step_ms (5.0 against 4.0)" in shown
    assert main(["compare", store, "--by", "step_ms", "--base", "4.0", "--format", "md"]) == 1
    assert capsys.readouterr().out.startswith("# Comparison with step_ms=4.0\n")


def test_json_follows_its_schema_and_tells_all(base, tmp_path, capsys):
    """Values of every process, the interval, the verdict, the fields that differ."""
    provenance = PROVENANCE.model_copy(update={"git_commit": "ff"})
    other = kept(tmp_path / "other", results(1.2, first=1, provenance=provenance))
    assert main(["compare", base, other, "--json"]) == 1
    text = capsys.readouterr().out
    assert comparison_json(Comparisons.model_validate_json(text)) == text
    found = json.loads(text)
    assert (found["verdict"], found["base"], found["stores"][0]["other"]) == ("worse", base, other)
    (pair,) = found["stores"][0]["pairs"]
    (row,) = pair["speed"]
    assert len(row["base"]["values"]) == len(row["other"]["values"]) == 10
    assert (row["metric"], row["verdict"], row["better"]) == ("throughput", "slower", "higher")
    assert row["low"] < row["ratio"] < row["high"] < 1
    assert row["chance"] == pytest.approx(
        mannwhitneyu(row["base"]["values"], row["other"]["values"], method="exact").pvalue
    )
    assert (pair["worse_chance"], pair["better_chance"]) == (row["chance"] / 2, 1)
    assert (found["tested"], found["false_alarms"]) == (1, 0.01)
    assert [(each["field"], each["standing"]) for each in pair["differences"]] == [("provenance.git_commit", "noted")]


def test_committed_schema_is_current():
    """docs/schema/compare.json describes the JSON as it is."""
    assert (ROOT / "docs" / "schema" / "compare.json").read_text(encoding="utf-8") == comparison_schema()


def test_text_shows_numbers_sides_and_verdicts():
    """Medians and ranges, the change with its interval, effect and chance, the verdict; AP beside speed."""
    aps = [0.300, 0.301, 0.302, 0.299, 0.300]
    sides = [
        [
            each.model_copy(update={"accuracy": (make_accuracy(ap + shift, None, 20),)})
            for each, ap in zip(results(slowness, 5, first), aps, strict=True)
        ]
        for slowness, first, shift in ((1.0, 0, 0.0), (0.8, 1, -0.05))
    ]
    shown = plain_comparison(compare_stores([("a", sides[0]), ("b", sides[1])])).splitlines()
    assert shown[0] == "base   a"
    assert "torch_maskrcnn train, 1 cpu rank × 1 image, fp32: worse (5 against 5 processes)" in shown
    speed = next(line for line in shown if "throughput, images/s" in line)
    quality = next(line for line in shown if "bbox AP" in line)
    assert "+24.8 % (+" in speed
    assert speed.endswith("+1.00  p=0.0079   faster")
    assert "0.300 (0.299–0.302)  0.250 (0.249–0.252)  -0.0500 (" in quality
    assert quality.endswith("worse")


def test_markdown_has_a_table_for_each_store():
    """A markdown reader finds them, and as many cells in a row as in the head."""
    found = compare_stores([("a", results()), ("b", results(0.8, first=1)), ("c", results(count=2, first=1))])
    document = markdown_comparison(found)
    assert [token.type for token in READER.parse(document)].count("table_open") == 2
    for part in document.split("\n## ")[1:]:
        assert len({line.count("|") for line in part.splitlines() if line.startswith("|")}) == 1


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=12), st.text(max_size=12))
def test_text_from_outside_is_made_safe(name, value):
    """Names of stores, options and kernels may hold anything: no control reaches a terminal, no cell ends early."""
    hostile = {"settings": {"kernels": value}, "options": {"x": value}, "device_name": f"a{value}"}
    outcome = {"settings": {"kernels": f"{value}2"}, "options": {"x": value}, "device_name": f"a{value}"}
    found = compare_stores([(name, results(count=2, **hostile)), (value, results(count=2, first=1, **outcome))])
    text = plain_comparison(found)
    assert all(character.isprintable() or character == "\n" for character in text)
    assert len([line for line in text.splitlines() if line.startswith("other  ")]) == 1
    rows = [line for line in markdown_comparison(found).splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in rows}) == 1
    json.loads(comparison_json(found))
