"""The published figures that the repository holds: known faults are found, and the write-up is what the audit says."""

from pathlib import Path

import pytest

from harness.analysis.audit.findings import DERIVED
from harness.analysis.audit.published import listed
from harness.analysis.audit.reading import audit_files
from harness.report.audit import audit_markdown, tally

ROOT = Path(__file__).parents[3]
NAMES = ("tf_maskrcnn", "pt_maskrcnn", "tf2_efficientdet")
FILES = [Path("reports/published") / f"{name}.yaml" for name in NAMES]


@pytest.fixture(scope="module")
def audit():
    """The audit of all published figures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return audit_files(FILES)


def records_of(path):
    """The records of a file, as they stand."""
    return listed((ROOT / path).read_text(encoding="utf-8"), str(path))


def found(audit, system):
    """Findings of a system as (line, row's GPUs, column, check, verdict)."""
    file = audit.files[NAMES.index(system)]
    return {(each.line, each.row.split(",")[0], each.column, each.check, each.verdict) for each in file.findings}


def test_the_page_is_what_the_audit_says(audit):
    """reports/audit/findings.md is the output of `make audit`."""
    assert (ROOT / "reports/audit/findings.md").read_text(encoding="utf-8") == audit_markdown(audit)


def test_the_discussion_counts_what_was_found(audit):
    """The page written by hand has the numbers of the audit."""
    page = (ROOT / "reports/audit/published.md").read_text(encoding="utf-8")
    figures = sum(file.figures for file in audit.files)
    derived = sum(file.checked.get(check, 0) for file in audit.files for check in DERIVED)
    assert f"{figures} figures, of which {derived} were derived" in page
    assert tally([finding for file in audit.files for finding in file.findings]) in page


def test_known_faults_of_the_first_editions_are_found(audit):
    """3.7 for 38 / 12, 1.27 for 92 / 75, and one configuration with 5.2 and 6.0 images/s."""
    pytorch = found(audit, "pt_maskrcnn")
    assert (558, "4 GPUs", "weak_scaling", "scaling", "error") in pytorch
    assert (569, "8 GPUs", "speedup", "ratio", "error") in pytorch
    tensorflow = found(audit, "tf_maskrcnn")
    assert (548, "1 GPU", "throughput avg", "repeated", "error") in tensorflow
    assert (446, "4 GPUs", "speedup", "ratio", "rounding") in tensorflow


def test_averages_above_percentiles_are_found(audit):
    """Nine of twelve rows of the TensorFlow tables of 2020-03, and every row of PyTorch of 2022-05."""
    above = {system: [each for each in found(audit, system) if each[3] == "average"] for system in NAMES[:2]}
    lines = {line for line, *_ in above["tf_maskrcnn"]}
    assert {537, 538, 539, 546, 547, 548, 579, 580, 581} == lines
    rows = [each for each in audit.files[1].findings if each.check == "average"]
    assert len(rows) == 16


def test_unequal_batch_sizes_are_found_in_every_ratio_of_them(audit):
    """EfficientDet compares batch 200 with 104 and 64 with 40 in all its seven speed-ups, and in nothing else."""
    unequal = [each for each in found(audit, "tf2_efficientdet") if each[3] == "batch"]
    assert len(unequal) == 7
    assert not [each for system in NAMES[:2] for each in found(audit, system) if each[3] == "batch"]


def test_trimmed_means_never_exceed_their_average(audit):
    """33 rows of EfficientDet's latencies rise as they must: three steps each, and none out of order."""
    file = audit.files[2]
    assert file.checked["order"] == 99
    assert not [each for each in file.findings if each.check == "order"]


def test_all_derived_figures_are_recomputed(audit):
    """Each record that says it was derived is judged, and none lacks its inputs."""
    derived = 0
    for path in FILES:
        derived += sum(bool(record.get("derived")) for record in records_of(path))
    judged = sum(
        file.checked.get(check, 0)
        for file in audit.files
        for check in ("ratio", "scaling", "mean", "deviation", "unit")
    )
    assert derived == judged
    assert not [each for file in audit.files for each in file.findings if each.verdict == "missing"]


def test_the_selection_for_one_machine_is_one():
    """Every record of dgx-a100.yaml stands, word for word, among those of its system."""
    everything = {str(record) for path in FILES for record in records_of(path)}
    selected = records_of(Path("reports/published/dgx-a100.yaml"))
    assert len(selected) > 200
    assert [record for record in selected if str(record) not in everything] == []
