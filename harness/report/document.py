"""The report as a whole: which tables and charts, in which order."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.analysis.rows import Analysis
from harness.report.accuracy import evaluation_table, stability_table, training_accuracy_table
from harness.report.circumstances import outcome_table, provenance_table, summary_table
from harness.report.frameworks import framework_table
from harness.report.legacy import legacy_table
from harness.report.performance import inference_table, training_table
from harness.report.table import Table, with_common


@dataclass(frozen=True)
class Chart:
    """A chart that belongs under a table; `svg` is a whole SVG file."""

    name: str
    table: str
    title: str
    svg: str


@dataclass(frozen=True)
class Section:
    """One table with its charts."""

    table: Table
    charts: tuple[Chart, ...]


def all_tables(analysis: Analysis) -> tuple[Table, ...]:
    """Every table in the order of the report, those without rows included; legacy statistics where asked for."""
    common = analysis.common_settings
    legacy = () if analysis.legacy is None else (legacy_table(analysis.legacy),)
    return (
        summary_table(analysis.summary),
        with_common(training_table(analysis.training), common["train"]),
        with_common(inference_table(analysis.inference), common["infer"]),
        with_common(evaluation_table(analysis.evaluation), common["eval"]),
        framework_table(analysis.frameworks),
        training_accuracy_table(analysis.training_accuracy),
        stability_table(analysis.stability),
        *legacy,
        outcome_table(analysis.outcomes),
        provenance_table(analysis.provenance),
    )


def sections(tables: Sequence[Table], charts: Sequence[Chart]) -> tuple[Section, ...]:
    """Tables that have rows, each with its charts."""
    return tuple(
        Section(table, tuple(chart for chart in charts if chart.table == table.name)) for table in tables if table.rows
    )


def title(analysis: Analysis) -> str:
    """The heading of the report."""
    return "Benchmark report: " + (", ".join(analysis.summary.matrices) or "no trials")
