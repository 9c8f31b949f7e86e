"""What a check of a data set found."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["fault", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or looks wrong, with the file and id where it stands."""

    severity: Severity
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.where}: {self.what}"


@dataclass(frozen=True, slots=True)
class Report:
    """All findings of one set, and notes on what is unusual but right."""

    images: int
    annotations: int
    categories: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    @property
    def faults(self) -> tuple[Finding, ...]:
        """The findings that make the set wrong."""
        return tuple(finding for finding in self.findings if finding.severity == "fault")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The findings that a person should look at."""
        return tuple(finding for finding in self.findings if finding.severity == "warning")
