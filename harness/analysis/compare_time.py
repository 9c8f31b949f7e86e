"""When the processes of two groups ran: drift of a machine and company on it count as a difference of the two."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from harness.schema.result import TrialResult

LOPSIDED = 0.25
"""Of interleaved processes, about half of all pairs have the one of the base first; below this share, or as much above
one half, the order is not balanced."""


def order_notes(base: Sequence[TrialResult], other: Sequence[TrialResult]) -> tuple[str, ...]:
    """What a reader must know about the order in time."""
    if {(each.trial_id, each.started_at) for each in base} & {(each.trial_id, each.started_at) for each in other}:
        return ("both sides hold the same records: nothing was run twice",)
    return tuple(note for note in (order_note(base, other), company_note(base, other)) if note)


def order_note(base: Sequence[TrialResult], other: Sequence[TrialResult]) -> str | None:
    """Whether one side ran before the other; None where they took turns."""
    share = share_first([each.started_at for each in base], [each.started_at for each in other])
    if share is None or LOPSIDED <= share <= 1 - LOPSIDED:
        return None
    first, second = ("base", "other") if share > 0.5 else ("other", "base")
    how = "all" if share in {0.0, 1.0} else "most"
    return (
        f"{how} processes of the {first} ran before those of the {second}: "
        "drift of the machine counts as difference; run them in turns"
    )


def share_first(base: Sequence[datetime], other: Sequence[datetime]) -> float | None:
    """The share of pairs in which the process of the base started first, ties as halves; None without a pair."""
    pairs = [(a < b) + (a == b) / 2 for a in base for b in other]
    return sum(pairs) / len(pairs) if pairs else None


def company_note(base: Sequence[TrialResult], other: Sequence[TrialResult]) -> str | None:
    """Whether processes of both sides ran at one time on one machine."""
    marked = sorted(
        ((each.started_at, side, each) for side, group in enumerate((base, other)) for each in group),
        key=lambda item: item[:2],
    )
    open_until: dict[tuple[str, int], datetime] = {}
    for start, side, each in marked:
        company = open_until.get((each.machine.hostname, 1 - side))
        if company is not None and start < company:
            return "processes of both sides ran at the same time on one machine: they disturbed one another"
        end = start + timedelta(seconds=each.duration_s)
        mine = open_until.get((each.machine.hostname, side), end)
        open_until[each.machine.hostname, side] = max(mine, end)
    return None
