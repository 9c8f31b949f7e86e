"""What the ranks' timed windows were spent on: waiting for data, handing out steps, the device, and the rest."""

from collections.abc import Callable, Sequence
from statistics import median

from harness.analysis.metrics import data_wait_share, pooled
from harness.analysis.parts import TimeApart
from harness.schema.result import TrialResult
from harness.units import MS_PER_S

ROUNDING = 1e-3
"""How far parts of a window may go beyond it: their clocks are read one after another."""


def host_share(result: TrialResult) -> float | None:
    """Fraction of the ranks' timed windows spent handing out steps; a device that works in the call counts here."""
    return share_of(result, "step_ms")


def drain_share(result: TrialResult) -> float | None:
    """Fraction of the ranks' timed windows spent waiting for the device beside steps."""
    return share_of(result, "drain_ms")


def share_of(result: TrialResult, name: str) -> float | None:
    """A series' sum as a fraction of the ranks' timed windows."""
    values_ms, elapsed_s = pooled(result, name), window_s(result)
    return sum(values_ms) / MS_PER_S / elapsed_s if values_ms and elapsed_s else None


def rest_share(result: TrialResult) -> float | None:
    """What is none of these: the host's own loop, encoding in the eval phase, the device where it is not told apart.

    None where a part is unknown, or where the parts exceed the window.
    """
    waited, handed = data_wait_share(result), host_share(result)
    if waited is None or handed is None:
        return None
    rest = 1 - waited - handed - (drain_share(result) or 0.0)
    return max(0.0, rest) if rest >= -ROUNDING else None


def device_share(result: TrialResult) -> float | None:
    """Fraction of the windows by the device's own clock, from its first mark to its last; None where it has none."""
    timed = [window.device_s for window in result.windows]
    known, elapsed_s = [device_s for device_s in timed if device_s is not None], window_s(result)
    return sum(known) / elapsed_s if known and len(known) == len(timed) and elapsed_s else None


def window_s(result: TrialResult) -> float:
    """Seconds of all ranks' windows, one after another."""
    return sum(window.elapsed_s for window in result.windows)


def time_apart(results: Sequence[TrialResult]) -> TimeApart | None:
    """The parts of the windows of a point, each the median of its trials; None where none is known."""
    found = {name: [read(result) for result in results] for name, read in PARTS.items()}
    known = {name: [value for value in values if value is not None] for name, values in found.items()}
    middle = {name: median(values) if values else None for name, values in known.items()}
    return TimeApart(**middle) if any(known.values()) else None


PARTS: dict[str, Callable[[TrialResult], float | None]] = {
    "data_wait": data_wait_share,
    "host": host_share,
    "drain": drain_share,
    "rest": rest_share,
    "device": device_share,
}
