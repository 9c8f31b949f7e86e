"""An audit as text, as markdown and as JSON."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence

from harness.analysis.audit.findings import DERIVED, Audit, FileAudit, Finding, Verdict
from harness.report.text import markdown, plain

VERDICTS: dict[Verdict, str] = {
    "error": "Errors: no rounding explains them",
    "rounding": "Roundings: one more unit of the last digit, or zeros filled in, explains them",
    "mismatch": "Mismatches: what is compared, or set side by side, is not alike",
    "implausible": "Implausible: possible, but not for what the table says was measured",
    "missing": "Missing: nothing in the file to check them against",
}
PLURALS: dict[Verdict, tuple[str, str]] = {
    "error": ("error", "errors"),
    "rounding": ("rounding", "roundings"),
    "mismatch": ("mismatch", "mismatches"),
    "implausible": ("implausible", "implausible"),
    "missing": ("missing", "missing"),
}


def audit_text(audit: Audit) -> str:
    """Every finding in a line, under a line for its file; counts at the end."""
    lines = [line for file in audit.files for line in file_lines(file)]
    found = [finding for file in audit.files for finding in file.findings]
    lines.append(f"{tally(found)} in {many(len(audit.files), 'file')}" if found else "nothing found")
    return "\n".join(lines) + "\n"


def file_lines(file: FileAudit) -> Iterator[str]:
    """What was checked in a file, then what was found."""
    yield f"{plain(file.file)}: {coverage(file)}"
    for each in file.findings:
        where = "" if each.line is None else f" (line {each.line})"
        place = plain(f"{each.table} | {each.row} | {each.column}") + where
        yield f"  {each.verdict}, {each.check}: {place}: {', '.join(numbers(each))}: {plain(each.detail)}"


def coverage(file: FileAudit) -> str:
    """How much of a file was checked."""
    derived = sum(file.checked.get(check, 0) for check in DERIVED)
    parts = (many(file.tables, "table"), many(file.figures, "figure"), f"{derived:,} derived ones recomputed")
    return ", ".join(parts) + f", {sum(file.checked.values()):,} checks"


def numbers(finding: Finding) -> Iterator[str]:
    """Printed, recomputed and allowed."""
    yield f"printed {plain(finding.printed)}"
    if finding.recomputed is not None:
        yield f"recomputed {spelled(finding.recomputed)}"
    if allowed := interval(finding):
        yield f"allowed {allowed}"


def interval(finding: Finding) -> str:
    """The allowed interval; empty where there is none."""
    if finding.low is None and finding.high is None:
        return ""
    if finding.high is None:
        return f"{spelled(finding.low)} and more"
    return f"up to {spelled(finding.high)}" if not finding.low else f"{spelled(finding.low)} to {spelled(finding.high)}"


def spelled(value: float | None) -> str:
    """Five figures: more than any table prints of a ratio."""
    return "" if value is None else f"{value:,.0f}" if abs(value) >= 1e5 else f"{value:.5g}"


def many(count: int, noun: str) -> str:
    """A count and its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def tally(findings: Sequence[Finding]) -> str:
    """Findings by verdict in words: 3 errors, 1 rounding."""
    counted = Counter(finding.verdict for finding in findings)
    words = [
        f"{counted[verdict]} {PLURALS[verdict][counted[verdict] != 1]}" for verdict in VERDICTS if counted[verdict]
    ]
    return f"{many(len(findings), 'finding')}: {', '.join(words)}"


def audit_json(audit: Audit) -> str:
    """As `docs/schema/audit.json` describes it."""
    return json.dumps(audit.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def audit_schema() -> str:
    """The JSON schema of `audit --json`, as committed in docs/schema/audit.json."""
    return json.dumps(Audit.model_json_schema(mode="serialization"), indent=2) + "\n"


def audit_markdown(audit: Audit) -> str:
    """A page: what was checked, then the findings, worst kind first."""
    found = [finding for file in audit.files for finding in file.findings]
    parts = ["# Audit", "", *coverage_table(audit.files), ""]
    parts += [f"{tally(found)}." if found else "Nothing was found.", ""]
    for verdict, heading in VERDICTS.items():
        chosen = [finding for finding in found if finding.verdict == verdict]
        if chosen:
            parts += [f"## {heading}", "", *finding_table(chosen), ""]
    return "\n".join(parts)


def coverage_table(files: Sequence[FileAudit]) -> Iterator[str]:
    """A row for each check, a column for each file."""
    checks = sorted({check for file in files for check in file.checked})
    yield from head("checked", *(file.file for file in files))
    yield row("tables", *(file.tables for file in files))
    yield row("figures", *(file.figures for file in files))
    for check in checks:
        yield row(f"check {check}", *(file.checked.get(check, 0) for file in files))
    for remark in sorted({remark for file in files for remark in file.remarks}):
        yield row(remark, *(file.remarks.get(remark, 0) for file in files))


def finding_table(findings: Sequence[Finding]) -> Iterator[str]:
    """Findings of one verdict."""
    yield from head("check", "table", "row", "column", "line", "printed", "recomputed", "allowed", "why")
    for each in findings:
        figures = (each.printed, spelled(each.recomputed), interval(each))
        yield row(each.check, each.table, each.row, each.column, each.line or "", *figures, each.detail)


def head(*titles: str) -> tuple[str, str]:
    """The head of a table."""
    return row(*titles), "|" + " --- |" * len(titles)


def row(*cells: object) -> str:
    """A row of a table, as GitHub's markdown shows it."""
    return "| " + " | ".join(markdown(cell) for cell in cells) + " |"
