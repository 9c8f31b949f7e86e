"""The table of older systems' statistics, under names of their own."""

from collections.abc import Sequence

from harness.analysis.legacy import LEGACY
from harness.analysis.parts import Spread
from harness.analysis.rows import LegacyRow
from harness.report import format as spell
from harness.report.performance import arithmetic_fields, identity_fields
from harness.report.table import Cell, Field, Table, make_table

CAPTION = (
    "In ms, median of the trials, with lowest and highest in brackets; to stand beside older published tables, "
    "those of NVIDIA's DeepLearningExamples, and none is a percentile. legacy_trimmed_mean_K is the mean of the "
    "fastest K % of latencies: latency K % of EfficientDet for TensorFlow 2 (inference) and of Mask R-CNN for "
    "PyTorch of 2022. legacy_mean_ucl_K is mean + z · s / √n, the upper end of the mean's K % confidence "
    "interval: latency K % of Mask R-CNN for TensorFlow 2 of 2021. legacy_with_warmup_average is the mean time of"
    " a step from the first on, waiting for data and compiling included: the average latency of the Mask R-CNN "
    "for TensorFlow before it; empty where a trial had no warm-up."
)


def legacy_table(rows: Sequence[LegacyRow]) -> Table:
    """A column a statistic."""
    fields: list[Field[LegacyRow]] = [
        Field("phase", lambda row: row.point.phase, numeric=False),
        *identity_fields(rows),
        *arithmetic_fields(),
        Field("samples", lambda row: f"{row.samples:,}"),
        *[legacy_field(name) for name in LEGACY],
    ]
    return make_table("legacy", ("Legacy statistics", CAPTION), rows, fields)


def legacy_field(name: str) -> Field[LegacyRow]:
    """The column of one statistic, under its own name."""

    def fill(row: LegacyRow) -> Cell:
        value: Spread | None = getattr(row, name)
        return Cell(spell.spread(value))

    return Field(name, fill)
