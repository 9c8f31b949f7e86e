"""Whether the numbers of warm-up steps and timed steps make sense together."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from harness.schema.trial import STEADY_STEPS, Trial

STEADY_STRETCHES = 8
INTERVAL_STRETCHES = 5
"""The fewest by which `harness.statistics.rates` calls a warm-up steady, and a rate known; that room loads numpy."""


class Nonsense(NamedTuple):
    """A setting that cannot be meant, and why."""

    name: str
    problem: str


def find_nonsense(values: Mapping[str, Any]) -> Nonsense | None:
    """The first setting of a trial that contradicts another, with what was found and what would be right.

    Args:
        values: settings by name; those that are not given have a trial's defaults.
    """
    defaults = {name: field.default for name, field in Trial.model_fields.items()}
    given = {**defaults, **values}
    timed, most, warmup = given["timed_steps"], given["max_timed_steps"], given["max_warmup_steps"]
    least = given["warmup_steps"] + STEADY_STRETCHES * STEADY_STEPS
    if warmup is not None and warmup < least:
        why = f"warmup_steps and {STEADY_STRETCHES} stretches of {STEADY_STEPS} steps show whether steps are steady"
        return Nonsense("max_warmup_steps", _too_few(warmup, least, why))
    if most is None:
        return None
    if given["timed_seconds"] is None and given["timed_interval"] is None:
        problem = "nothing repeats the timed steps; right would be timed_seconds or timed_interval beside it"
        return Nonsense("max_timed_steps", problem)
    if most < timed:
        return Nonsense("max_timed_steps", _too_few(most, timed, "that is timed_steps"))
    if given["timed_interval"] is not None and most < INTERVAL_STRETCHES * timed:
        why = f"an interval takes {INTERVAL_STRETCHES} times timed_steps"
        return Nonsense("max_timed_steps", _too_few(most, INTERVAL_STRETCHES * timed, why))
    return None


def _too_few(found: int, least: int, why: str) -> str:
    return f"found {found}; right would be {least} or more: {why}"
