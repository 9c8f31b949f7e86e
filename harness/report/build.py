"""Results to one document: markdown, HTML, CSV or JSON."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from typing import Literal, get_args

from markupsafe import Markup

from harness.analysis.frame import trial_frame
from harness.analysis.rows import Analysis
from harness.analysis.tables import analyse
from harness.errors import ReportError
from harness.report.charts import draw_charts, inline_svg
from harness.report.document import Chart, all_tables, sections, title
from harness.report.rendering import html_environment, markdown_environment
from harness.report.text import csv_cell
from harness.schema.result import TrialResult

Format = Literal["md", "html", "csv", "json"]


def build(results: Sequence[TrialResult], format_name: str, *, legacy: bool = False) -> str:
    """Make the report in one of the formats; markdown comes without charts, which are files of their own.

    Args:
        results: of a store.
        format_name: md, html, csv or json.
        legacy: add the statistics of older published tables.

    Raises:
        ReportError: the format is unknown.
    """
    makers: dict[str, Callable[[Sequence[TrialResult]], str]] = {
        "md": lambda given: build_markdown(analyse(given, legacy=legacy)),
        "html": lambda given: build_html(analyse(given, legacy=legacy), draw_charts(given)),
        "csv": lambda given: build_csv(given, legacy=legacy),
        "json": lambda given: build_json(given, legacy=legacy),
    }
    if format_name not in makers:
        raise ReportError(f"report format {format_name!r}; it must be one of {', '.join(get_args(Format))}")
    return makers[format_name](results)


def build_markdown(analysis: Analysis, charts: Sequence[Chart] = ()) -> str:
    """The report for reading as text or on a code host; charts are linked as charts/NAME.svg beside it."""
    template = markdown_environment().get_template("report.md.j2")
    return template.render(title=title(analysis), sections=sections(all_tables(analysis), charts))


def build_html(analysis: Analysis, charts: Sequence[Chart]) -> str:
    """One page that needs nothing else: style and charts stand inside it."""
    # The SVG text was made by matplotlib, which escapes labels itself.
    drawn = {chart.name: Markup(inline_svg(chart)) for chart in charts}  # noqa: S704
    template = html_environment().get_template("report.html.j2")
    return template.render(title=title(analysis), sections=sections(all_tables(analysis), charts), drawn=drawn)


def build_csv(results: Sequence[TrialResult], *, legacy: bool = False) -> str:
    """One row per trial, units in the heads, nothing that a spreadsheet would run."""
    frame = trial_frame(results, legacy=legacy)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(frame.columns)
    writer.writerows([csv_cell(value) for value in row] for row in frame.itertuples(index=False, name=None))
    return out.getvalue()


def build_json(results: Sequence[TrialResult], *, legacy: bool = False) -> str:
    """Every table as `docs/schema/report.json` describes it; unknown numbers are null."""
    tables = analyse(results, legacy=legacy).model_dump(mode="json")
    return json.dumps(tables, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def report_schema() -> str:
    """The JSON schema of the JSON report, as committed in docs/schema/report.json."""
    return json.dumps(Analysis.model_json_schema(mode="serialization"), indent=2) + "\n"
