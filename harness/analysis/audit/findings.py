"""What an audit says: every derived figure that it judged, and what is wrong."""

from typing import Literal

from pydantic import Field

from harness.schema.record import Record

Verdict = Literal["error", "rounding", "mismatch", "implausible", "missing"]
CheckName = Literal[
    "ratio",
    "scaling",
    "efficiency",
    "product",
    "mean",
    "deviation",
    "order",
    "average",
    "bracket",
    "flow",
    "time",
    "superlinear",
    "batch",
    "precision",
    "baseline",
    "unit",
    "range",
    "repeated",
    "duplicate",
    "transcript",
]
DERIVED: tuple[CheckName, ...] = ("ratio", "scaling", "efficiency", "product", "mean", "deviation")
"""Checks whose figure was computed from others that stand in the file."""


class Finding(Record):
    """One figure that disagrees with others of its file; numbers are in `unit`, as printed."""

    file: str
    table: str
    row: str
    column: str
    line: int | None = Field(description="line of the figure in the document that it stands in; null if unknown")
    check: CheckName
    verdict: Verdict = Field(
        description="error: no rounding explains it; rounding: within one more unit of its last digit, or explained by "
        "zeros filled in; mismatch: what is compared is not alike; implausible: possible, but not for the "
        "measurement that the table describes; missing: nothing to check it against"
    )
    printed: str
    recomputed: float | None = Field(description="from the inputs as printed; null where there is none")
    low: float | None = Field(description="least value that the inputs' rounding allows; null if unbounded")
    high: float | None = Field(description="largest value that the inputs' rounding allows; null if unbounded")
    unit: str
    detail: str


class FileAudit(Record):
    """One file: what was read, what was checked, what was found."""

    file: str
    tables: int
    figures: int
    checked: dict[CheckName, int] = Field(description="figures, or pairs and rows of them, that each check judged")
    remarks: dict[str, int] = Field(description="how figures that passed did so, where that is worth knowing")
    findings: tuple[Finding, ...]


class Audit(Record):
    """All files of one audit."""

    schema_version: Literal[1] = 1
    files: tuple[FileAudit, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not any(file.findings for file in self.files)
