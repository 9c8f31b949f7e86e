"""Marks have meanings."""

from typing import get_args

from harness.analysis.marks import MEANINGS, meanings
from harness.schema.telemetry import MarkKind


def test_every_kind_has_a_meaning():
    """In the order of the kinds, each once."""
    assert tuple(MEANINGS) == get_args(MarkKind)
    assert meanings(["gap", "throttled", "gap"]) == f"Marks: throttled, {MEANINGS['throttled']}; gap, {MEANINGS['gap']}"
    assert meanings([]) == ""
