"""Tables that are honest, however they were rounded, are left alone; and they are judged, not passed over."""

from hypothesis import given, settings
from hypothesis import strategies as st
from published_tables import make_page, make_records, records_text

from harness.analysis.audit.checking import check_sheet
from harness.analysis.audit.published import read_published
from harness.analysis.audit.tables import read_markdown

SEEDS = st.integers(0, 2**32)


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_nothing_is_found_in_clean_tables(seed):
    """Four tables of made-up figures with 0 to 3 decimals have no finding."""
    audit = check_sheet(read_markdown(make_page(seed).text(), "page.md"))
    assert audit.findings == ()


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_nothing_is_found_in_clean_records(seed):
    """Nor have records of the same kinds."""
    audit = check_sheet(read_published(records_text(make_records(seed)), "records.yaml"))
    assert audit.findings == ()


def test_every_derived_cell_of_a_page_is_recomputed():
    """Of the four tables: 6 speed-ups, 12 factors, 6 efficiencies, 6 products, and 2 means and deviations."""
    checked = check_sheet(read_markdown(make_page(1).text(), "page.md")).checked
    expected = {"ratio": 6, "scaling": 12, "efficiency": 6, "product": 6, "mean": 2, "deviation": 2}
    assert expected == {check: checked[check] for check in expected}
    assert (checked["flow"], checked["order"], checked["average"], checked["time"]) == (3, 6, 3, 3)
    assert checked["superlinear"] == 8


def test_which_deviation_was_printed_is_said():
    """A deviation that only one divisor explains is remarked."""
    heads = "| Config | Seed 1 | Seed 2 | Seed 3 | mean | std |\n| --- | --- | --- | --- | --- | --- |\n"
    rows = (
        "| AP a | 0.3000 | 0.3100 | 0.3200 | 0.3100 | 0.0100 |\n| AP b | 0.3000 | 0.3100 | 0.3200 | 0.3100 | 0.0082 |\n"
    )
    remarks = check_sheet(read_markdown(heads + rows, "page.md")).remarks
    assert remarks == {"standard deviation: sample only": 1, "standard deviation: population only": 1}
