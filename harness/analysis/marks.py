"""What each kind of mark means; a mark itself says how much, or which."""

from collections.abc import Iterable
from typing import get_args

from harness.schema.telemetry import MarkKind

MEANINGS: dict[MarkKind, str] = {
    "throttled": "why clocks of a GPU were held down, and in what share of the samples",
    "foreign_process": "what processes that are not the trial's took of the processors, or which held memory on a GPU",
    "stolen_time": "what the hypervisor gave to other machines while work was waiting here",
    "ecc": "memory errors that a GPU counted",
    "clock_change": "limits of a GPU's clocks at begin and end",
    "power_limit_change": "power cap of a GPU at begin and end",
    "device_lost": "a GPU that answered no more",
    "counter": "an energy counter that cannot be right",
    "gap": "the longest time inside a window without a sample",
}


def kind_words(kind: MarkKind) -> str:
    """A kind as it is read."""
    return kind.replace("_", " ")


def meanings(kinds: Iterable[MarkKind]) -> str:
    """What these kinds mean, in one sentence for the foot of a table; empty without any."""
    found = set(kinds)
    listed = "; ".join(f"{kind_words(kind)}, {MEANINGS[kind]}" for kind in get_args(MarkKind) if kind in found)
    return f"Marks: {listed}" if listed else ""
