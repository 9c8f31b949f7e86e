"""What stands in a cell: a number, and behind it a unit, a range, a note, or the sides of a ratio."""

import re

from harness.analysis.audit.columns import EACH, Head, precisions
from harness.analysis.audit.figures import ANY, SPEEDUP, TIME, TIME_SPEEDUP, Unit
from harness.analysis.audit.intervals import Printed, read_number

LONGEST_CELL = 1000

_SIDES = re.compile(r"\(\s*(\w+)\s*/\s*(\w+)\s*\)")
_RANGE = re.compile(r"\s*[(\[]\s*([^\s–]+?)\s*(?:–|to|,|\.\.\.?)\s*([^\s–]+?)\s*[)\]]")
NOTE = re.compile(r"(?:\(\d{1,3}\)|[*†‡§¶]+)\s*$")
"""What points at a footnote: (2) or †; a raised figure might be an exponent as well."""
_CLOCK = re.compile(r"\s*(\d{1,3}):([0-5]\d):([0-5]\d)\s*$")
_RATED = re.compile(r"\s*(?:fps|[A-Za-z]{2,}(?: ?/ ?| per )s(?:ec(?:ond)?)?)\s*$", re.IGNORECASE)
_TIMES: dict[str, Unit] = {
    "ms": "ms",
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), "hours"),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), "minutes"),
}


def values_of(head: Head, cell: str) -> list[str]:
    """The numbers of a cell: one, or those of all seeds; what is longer than any number with its notes is prose."""
    if head.measure is None or len(cell) > LONGEST_CELL:
        return []
    return [cell] if head.statistic != EACH else [part.strip() for part in NOTE.sub("", cell).split("·")]


def number_in(head: Head, cell: str) -> tuple[Printed, str] | None:
    """The number that a cell begins with, and what follows; None of a cell that is no figure."""
    clock = _CLOCK.match(cell) if head.measure == TIME else None
    if clock:
        hours, minutes, seconds = map(int, clock.groups())
        total = 3600 * hours + 60 * minutes + seconds
        return Printed(str(total), float(total), 1.0), " s"
    if cell.lstrip().startswith("+"):
        return None  # a change: +25 % is 1.25 times as much, or 25 points
    found = read_number(cell)
    return found if found is not None and continues(NOTE.sub("", found[1])) else None


def continues(rest: str) -> bool:
    """Whether what follows a number leaves it one: a unit, a note, a range, no word and no second number."""
    if _RATED.match(rest):
        return True
    word = re.match(r"\s*(×|x\b|%|[A-Za-z]+)?", rest)
    behind = rest[word.end() :].strip() if word else rest
    unit = (word[1] or "").lower() if word else ""
    return unit in ("", "×", "x", "%", "img", "images", *_TIMES) and (not behind or behind[0] in "([±+/×|")


def unit_behind(rest: str) -> Unit | None:
    """The unit that a cell has behind its number."""
    word = re.match(r"\s*(%|[A-Za-z]+)", rest)
    if not word:
        return None
    return "percent" if word[1] == "%" else _TIMES.get(word[1].lower())


def bounds_of(rest: str) -> tuple[Printed, Printed] | None:
    """The range in brackets behind a number."""
    found = _RANGE.match(rest)
    ends = [read_number(found[index]) for index in (1, 2)] if found else []
    numbers = [end[0] for end in ends if end and not end[1]]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else None


def against_of(head: Head, point: dict[str, str], rest: str) -> dict[str, str] | None:
    """The other side of a ratio; a cell may name both: 1.90 (amp / fp32)."""
    named = _SIDES.search(rest)
    if head.measure in (SPEEDUP, TIME_SPEEDUP) and named and (head.against or {}).get("precision"):
        sides = precisions(named[0])
        return {**(head.against or {}), "precision": sides[-1]} if len(sides) == 2 else head.against
    if (head.against or {}).get("precision") == point.get("precision") is not None:
        return {**(head.against or {}), "precision": ANY}
    return head.against
