"""Which results are of a simulator: they have an outcome, and no number of theirs reaches a table."""

from harness.schema.result import TrialResult

FAKE_PREFIX = "FAKE"
"""Begins the name of every simulated device."""


def simulated_devices(result: TrialResult) -> tuple[str, ...]:
    """Names of simulated devices that a trial ran on, that its machine shows, or that telemetry saw."""
    seen = result.telemetry.gpus if result.telemetry else ()
    names = [result.device_name or "", *(gpu.name for gpu in result.machine.gpus), *(gpu.name for gpu in seen)]
    return tuple(dict.fromkeys(name for name in names if name.startswith(FAKE_PREFIX)))


def has_numbers(result: TrialResult) -> bool:
    """Whether a trial went well, and on a real device."""
    return result.outcome.kind == "ok" and not simulated_devices(result)


def why_simulated(result: TrialResult) -> str | None:
    """The reason that stands where a number would; None of a real device."""
    names = simulated_devices(result)
    return f"simulated device {', '.join(names)}" if names else None


def why_no_numbers(result: TrialResult) -> str | None:
    """Why a trial has none; None of one that has, or of one whose outcome has no reason."""
    return why_simulated(result) if result.outcome.kind == "ok" else result.outcome.reason
