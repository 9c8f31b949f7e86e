"""The table of one weights file in several backends."""

from collections.abc import Sequence

from harness.analysis.parts import QualityPair
from harness.analysis.rows import FrameworkRow
from harness.report import format as spell
from harness.report.performance import framework_field
from harness.report.table import Cell, Field, Table, make_table

KINDS = ("bbox", "segm")


def framework_table(rows: Sequence[FrameworkRow]) -> Table:
    """Accuracy side by side, and the largest difference of intermediate tensors."""
    fields: list[Field[FrameworkRow]] = [
        Field("weights", weights_cell, numeric=False),
        Field("reference", lambda row: row.reference.backend, numeric=False),
        Field("backend", lambda row: row.point.backend, numeric=False),
        framework_field(),
        Field("settings", lambda row: spell.variant(row.point), numeric=False, optional=True),
        Field("device", lambda row: row.point.device, numeric=False),
        Field("batch size", lambda row: str(row.point.batch_size_per_gpu)),
        Field("precision", lambda row: row.point.precision, numeric=False),
        Field("XLA", lambda row: spell.yes_no(row.point.xla), numeric=False, optional=True),
        Field("images", lambda row: f"{row.images:,}"),
        *[field for kind in KINDS for field in quality_fields(kind)],
        Field("largest difference of a tensor, relative", difference_cell),
        Field("in tensor", lambda row: row.difference.tensor or spell.NONE, numeric=False),
        Field("values compared", compared_cell),
    ]
    caption = (
        "Each row stands beside the reference that evaluated the same weights file (equal SHA-256) on the same val set "
        "at the same image size, flavour and precision. Differences of tensors are of a sample: at most 256 evenly "
        "spaced elements of each intermediate tensor of the first batch, and its absolute maximum, over that maximum "
        "in the reference."
    )
    return make_table("frameworks", ("The same weights across frameworks", caption), rows, fields)


def weights_cell(row: FrameworkRow) -> Cell:
    """The weights by name, and the beginning of their digest."""
    return Cell(f"{row.weights} ({row.weights_sha256[:8]})")


def quality_fields(kind: str) -> list[Field[FrameworkRow]]:
    """AP of both sides, and how far their numbers are apart."""

    def found(row: FrameworkRow) -> QualityPair | None:
        return next((pair for pair in row.quality if pair.kind == kind), None)

    def of_reference(row: FrameworkRow) -> str:
        return spell.fraction(pair.reference_ap if (pair := found(row)) else None)

    def own(row: FrameworkRow) -> str:
        return spell.fraction(pair.ap if (pair := found(row)) else None)

    def apart(row: FrameworkRow) -> str:
        return spell.tiny(pair.largest_difference if (pair := found(row)) else None)

    return [
        Field(f"{kind} AP of the reference", of_reference, optional=True),
        Field(f"{kind} AP", own, optional=True),
        Field(f"{kind}: largest difference of the 12 numbers", apart, optional=True),
    ]


def difference_cell(row: FrameworkRow) -> Cell:
    """The largest relative difference; without one, a note says why, and what was left out."""
    found = row.difference
    left_out = f"not compared: {'; '.join(found.left_out)}" if found.left_out else None
    note = "; ".join(part for part in (found.reason, left_out) if part)
    return Cell(spell.tiny(found.value), note=note or None)


def compared_cell(row: FrameworkRow) -> str:
    """How many values of how many tensors."""
    found = row.difference
    return f"{found.values:,} of {found.tensors} tensors" if found.tensors else spell.NONE
