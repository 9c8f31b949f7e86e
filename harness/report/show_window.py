"""One trial's timers and windows in plain text: what they cost, what ended them, and where their time went."""

from collections.abc import Iterable

from harness.analysis.metrics import data_wait_share
from harness.analysis.series import series_quality, spell_quality
from harness.analysis.times import device_share, drain_share, host_share, rest_share
from harness.analysis.windows import timing_share
from harness.report import format as spell
from harness.schema.measurement import Ending, Window
from harness.schema.result import TrialResult
from harness.units import ns_to_s

Lines = Iterable[tuple[str, str]]
ENDINGS: dict[Ending, str] = {
    "steps": "timed_steps were done",
    "seconds": "timed_seconds had passed",
    "interval": "the rate was known to timed_interval",
    "limit": "max_timed_steps were done",
    "set": "the set was at its end",
    "target": "the target was reached",
    "diverged": "a loss was no number",
}


def window_lines(result: TrialResult) -> Lines:
    """Each rank's window, and what ended it."""
    for window in result.windows:
        text = f"{window.images} images, {window.steps} steps in {window.elapsed_s:.3f} s; "
        text += f"{window.warmup_steps} warm-up steps before it in {window.warmup_s:.3f} s{steadiness(window)}"
        yield f"window of rank {window.rank}", text
    if result.windows and (told := ending(result.windows[0])):
        yield "window ended when", told


def steadiness(window: Window) -> str:
    """Whether steps were steady when the window began, where the warm-up waited for it."""
    return {None: "", True: ", then steady", False: ", not steady by then"}[window.warmup_steady]


def ending(window: Window) -> str | None:
    """What ended a window, how well its rate is known, its stretches; None of an older record, which does not say."""
    if not window.spans_ns:
        return None
    known = [] if window.interval is None else [f"rate known to ± {spell.percent(window.interval)} % at 95 %"]
    return "; ".join([ENDINGS[window.ended_by], *known, stretches(window)])


def stretches(window: Window) -> str:
    """How many stretches there are, and how long."""
    lasted = [ns_to_s(end - start) for start, end in window.spans_ns]
    if len(lasted) == 1:
        return "1 stretch"
    return f"{len(lasted)} stretches of {spell.significant(min(lasted))} to {spell.significant(max(lasted))} s"


def time_lines(result: TrialResult) -> Lines:
    """Where the time of the windows went, in per cent of them, and what its raw series are worth."""
    parts = {
        "waiting for data": data_wait_share(result),
        "in steps, on the CPU" if result.trial.device == "cpu" else "handing out steps": host_share(result),
        "waiting for the device": drain_share(result),
        "the rest": rest_share(result),
    }
    yield from ((name, f"{spell.percent(share)} % of the window") for name, share in parts.items() if share is not None)
    on_device = device_share(result)
    if on_device is not None:
        device_s = sum(window.device_s or 0.0 for window in result.windows)
        of = sum(window.elapsed_s for window in result.windows)
        yield "device's own clock", f"{device_s:.3f} s beside {of:.3f} s of the host's ({spell.percent(on_device)} %)"
    yield from (("raw series", spell_quality(each)) for each in series_quality([result]))


def timer_lines(result: TrialResult) -> Lines:
    """What measuring takes, each on an idle device, and what the clock's readings add up to."""
    timer, share = result.timer, timing_share(result)
    if timer is None:
        return
    mark = "the device has no clock of its own" if timer.mark_ns is None else f"{spell.significant(timer.mark_ns)} ns"
    yield "clock's smallest step", f"{spell.significant(timer.resolution_ns)} ns"
    yield "reading the clock", f"{spell.significant(timer.clock_ns)} ns, {timer.readings_per_step} times a step"
    yield "synchronising", f"{spell.significant(timer.synchronize_ns)} ns"
    yield "a mark on the device", mark
    if share is not None:
        yield "readings together", f"{100 * share:.2g} % of the window"
