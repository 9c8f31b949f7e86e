"""How the timed windows of a point came to be, and what of that a reader of its throughput must know."""

from collections.abc import Sequence

from harness.analysis.parts import WindowQuality
from harness.schema.result import TrialResult
from harness.units import NS_PER_S

MOST_TIMING = 0.01
"""Share of a window that reading the clock may take without a note."""


def window_quality(results: Sequence[TrialResult]) -> WindowQuality | None:
    """What the windows of a point say of themselves; None where none does, as in older records."""
    told = [result for result in results if result.windows and result.windows[0].spans_ns]
    if not told:
        return None
    windows = [window for result in told for window in result.windows]
    shares = [share for result in told if (share := timing_share(result)) is not None]
    return WindowQuality(
        trials=len(told),
        at_limit=sum(result.windows[0].ended_by == "limit" for result in told),
        not_steady=sum(any(window.warmup_steady is False for window in result.windows) for result in told),
        rate_half_interval=max((each.interval for each in windows if each.interval is not None), default=None),
        timing_share=max(shares, default=None),
    )


def timing_share(result: TrialResult) -> float | None:
    """Fraction of the ranks' windows that the host takes to read its clock around steps; None where it is unknown."""
    elapsed_ns = sum(window.elapsed_s for window in result.windows) * NS_PER_S
    if result.timer is None or not elapsed_ns:
        return None
    readings = sum(window.steps for window in result.windows) * result.timer.readings_per_step
    return readings * result.timer.clock_ns / elapsed_ns


def window_note(found: WindowQuality | None) -> str | None:
    """What a reader must know; nothing where windows ended as asked for, warm-ups were steady, timing was cheap."""
    if found is None:
        return None
    of = f" in {{}} of {found.trials} trials" if found.trials > 1 else ""
    notes = []
    if found.at_limit:
        known = (
            "" if found.rate_half_interval is None else f", the rate known to ± {100 * found.rate_half_interval:.1f} %"
        )
        notes.append(f"the window ended at max_timed_steps{of.format(found.at_limit)}{known}")
    if found.not_steady:
        notes.append(f"steps were not steady when the warm-up ended{of.format(found.not_steady)}")
    if found.timing_share is not None and found.timing_share > MOST_TIMING:
        notes.append(f"reading the clock took {100 * found.timing_share:.1f} % of the window")
    return "; ".join(notes) or None
