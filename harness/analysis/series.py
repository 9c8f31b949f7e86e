"""Raw series that are no independent samples of one quantity: their intervals promise more than they know."""

from collections.abc import Collection, Iterator, Sequence
from typing import Literal, get_args

from harness.analysis.parts import SeriesQuality
from harness.schema.measurement import Measurement
from harness.schema.result import TrialResult
from harness.statistics.series import SeriesFlags, series_flags

Flag = Literal["autocorrelated", "drifting"]
LEAST_SHARE = 0.5
"""What a series of which no note speaks is worth at least, of as many independent samples."""
FLAGS: tuple[Flag, ...] = get_args(Flag)
LATENCIES = "latency_ms"
STEPS = ("device_ms", "step_ms")
"""Times of the steps of a window: by the device's own clock, else by the host's."""
WORDS = {LATENCIES: "latencies", "device_ms": "device times of steps", "step_ms": "host times of steps"}


def series_quality(results: Sequence[TrialResult]) -> tuple[SeriesQuality, ...]:
    """The flags of latencies and of the steps' times; every rank of every trial is a series of its own.

    An eval pass has none: it takes images in the order of their shapes, so that its steps differ by design.
    """
    told = [result for result in results if result.trial.phase != "eval"]
    names = (LATENCIES, step_name(told))
    return tuple(flagged for name in names for flagged in flags_of(name, found_series(told, name)))


def step_name(results: Sequence[TrialResult]) -> str:
    """The series that tells how long steps took."""
    return next((name for name in STEPS if found_series(results, name)), STEPS[-1])


def found_series(results: Sequence[TrialResult], name: str) -> list[Measurement]:
    """All series of one name that hold values."""
    return [each for result in results for each in result.measurements if each.name == name and each.values]


def flags_of(name: str, series: Sequence[Measurement]) -> Iterator[SeriesQuality]:
    """What is wrong with the series of one name, a record a flag."""
    found = [(series_flags(each.values), len(each.values)) for each in series]
    for flag in FLAGS:
        flagged = [(each, count) for each, count in found if flag in each.flags]
        worth = [(each.effective_count, count) for each, count in flagged if each.effective_count is not None]
        if flagged:
            yield SeriesQuality(
                name=name,
                flag=flag,
                series=len(flagged),
                of=len(found),
                largest=max((size(each, flag) for each, _ in flagged), key=abs),
                effective_count=min((effective for effective, _ in worth), default=None),
                effective_share=min((effective / count for effective, count in worth), default=None),
            )


def size(flags: SeriesFlags, flag: Flag) -> float:
    """How strong a flag is: the lag-1 autocorrelation, or the drift as a fraction."""
    return (flags.autocorrelation if flag == "autocorrelated" else flags.drift) or 0.0


def series_note(found: Sequence[SeriesQuality], names: Collection[str]) -> str | None:
    """What a reader of a row must know of the series of some names, in words."""
    return "; ".join(spell_quality(each) for each in found if each.name in names and matters(each)) or None


def matters(each: SeriesQuality) -> bool:
    """Whether a flag changes what a row says: a drift, or neighbours so alike that half of the samples add nothing."""
    return each.flag == "drifting" or (each.effective_share is not None and each.effective_share < LEAST_SHARE)


def spell_quality(each: SeriesQuality) -> str:
    """One flag in words."""
    where = f" in {each.series} of {each.of} series" if each.of > 1 else ""
    if each.flag == "drifting":
        return f"{WORDS[each.name]} drift{where}, by up to {100 * each.largest:+.0f} % from first to last"
    worth = "" if each.effective_count is None else f", worth {each.effective_count:,.0f} independent ones"
    return f"{WORDS[each.name]} are autocorrelated{where} (up to {each.largest:.2f} at lag 1{worth})"
