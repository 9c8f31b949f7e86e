"""Tables of outcomes and provenance, and the summary's lines."""

from collections.abc import Sequence

from harness.analysis.rows import Fact, OutcomeRow, Summary
from harness.report import format as spell
from harness.report.performance import arithmetic_fields, identity_fields
from harness.report.table import Cell, Column, Field, Table, make_table, shorten
from harness.report.text import plain
from harness.units import format_bytes, format_duration

GROUPS = ("run", "machine", "software", "environment", "data", "backend")


def outcome_table(rows: Sequence[OutcomeRow]) -> Table:
    """How every point ended, and why."""
    fields: list[Field[OutcomeRow]] = [
        Field("phase", lambda row: row.point.phase, numeric=False),
        *identity_fields(rows),
        *arithmetic_fields(),
        Field("outcome", lambda row: Cell(row.kind, tone=row.kind), numeric=False),
        Field("trials", lambda row: str(row.trials)),
        Field("time", lambda row: format_duration(row.duration_s)),
        Field("reason", lambda row: plain(row.reason) if row.reason else "", numeric=False, optional=True, prose=True),
        Field("note", outcome_note, numeric=False, optional=True, prose=True),
    ]
    caption = "Time is that of all trials of a row together, start-up included."
    return make_table("outcomes", ("Outcomes", caption), rows, fields)


def outcome_note(row: OutcomeRow) -> str:
    """What a reader of the numbers must know; of a trial without, its cause and what that was found by."""
    parts = [row.note, row.cause and f"cause: {row.cause.replace('_', ' ')}", *map(shorten, row.evidence)]
    if row.peak_memory_bytes is not None:
        parts.append(f"held at most {format_bytes(row.peak_memory_bytes)}")
    return plain("; ".join(part for part in parts if part))


def provenance_table(facts: Sequence[Fact]) -> Table:
    """What the numbers depend on besides their settings."""
    ordered = sorted(facts, key=lambda fact: GROUPS.index(fact.group))
    fields: list[Field[Fact]] = [
        Field("of", lambda fact: fact.group, numeric=False),
        Field("what", lambda fact: fact.name, numeric=False),
        Field("value", fact_cell, numeric=False),
    ]
    caption = "Where trials differ, each value stands with the number of trials that have it."
    return make_table("provenance", ("Provenance", caption), ordered, fields)


def fact_cell(fact: Fact) -> Cell:
    """A value, or several; flagged where trials that should share it do not."""
    listed = plain(spell.values(fact.values))
    return Cell(f"mixed: {listed}", tone="mixed") if fact.mixed else Cell(listed)


def summary_table(summary: Summary) -> Table:
    """What ran, where, when and how it ended, as a table of two columns."""
    lines = summary_lines(summary)
    rows = tuple((Cell(name), Cell(value, tone=tone)) for name, value, tone in lines)
    return Table("summary", "Summary", "", (Column("", numeric=False), Column("", numeric=False)), rows, ())


def summary_lines(summary: Summary) -> list[tuple[str, str, str]]:
    """Name, text and tone of each line of the summary."""
    lines = [
        ("what", what(summary), ""),
        ("where", "; ".join(summary.machines) or spell.NONE, ""),
        ("when", when(summary), ""),
        ("trials", f"{summary.trials}: {spell.counts(summary.outcomes)}" if summary.trials else "none", ""),
    ]
    if summary.mixed:
        lines.append(("mixed", "trials differ in " + ", ".join(summary.mixed), "mixed"))
    if summary.rehearsed:
        of_all = "all" if summary.rehearsed == summary.trials else f"{summary.rehearsed} of {summary.trials}"
        text = f"{of_all} trials: small stand-ins ran in their place; these numbers are no measurement"
        lines.append(("rehearsal", text, "mixed"))
    if summary.fell_back:
        of_all = "all" if summary.fell_back == summary.trials else f"{summary.fell_back} of {summary.trials}"
        text = f"{of_all} trials asked for native kernels and ran on their framework's own operations"
        lines.append(("kernels", text, "mixed"))
    if summary.marked:
        kinds = ", ".join(f"{kind.replace('_', ' ')} ({trials})" for kind, trials in summary.marked.items())
        lines.append(("marked", f"trials with marks: {kinds}", "mixed"))
    if summary.fake_devices:
        simulated = ", ".join(summary.fake_devices)
        lines.append(("simulated", f"{simulated}: no measurement, so trials on it have no numbers here", "mixed"))
    return lines


def what(summary: Summary) -> str:
    """Matrices, backends and phases."""
    matrices = "matrix" if len(summary.matrices) == 1 else "matrices"
    parts = (f"{matrices} {', '.join(summary.matrices)}", ", ".join(summary.backends), ", ".join(summary.phases))
    return "; ".join(parts) if summary.trials else spell.NONE


def when(summary: Summary) -> str:
    """First start, last end, and the time that the trials took."""
    if summary.started_at is None or summary.ended_at is None:
        return spell.NONE
    start, end = summary.started_at, summary.ended_at
    last = f"{end:%H:%M}" if start.date() == end.date() else f"{end:%Y-%m-%d %H:%M}"
    zone = f" {start:%Z}" if start.tzinfo else ""
    return f"{start:%Y-%m-%d %H:%M} to {last}{zone}; {format_duration(summary.duration_s)} of trials"
