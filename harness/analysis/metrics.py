"""Numbers of one trial, derived from its raw series; None where the record does not hold what it takes."""

from collections.abc import Iterable, Sequence
from math import isfinite

from harness.analysis.parts import Compiling, Spread
from harness.schema.measurement import Accuracy
from harness.schema.result import TrialResult
from harness.statistics.comparing import MIN_PROCESSES, compare_processes
from harness.statistics.summary import summary
from harness.units import MS_PER_S, NS_PER_S


def throughput(result: TrialResult) -> float | None:
    """Images/s of all ranks together: sum of images over the slowest rank's window.

    The ranks meet at the window's start, so the windows overlap and the slowest rank ends the work: adding up
    per-rank rates would credit the fast ranks with time in which they only waited.
    """
    longest = longest_s(result)
    return sum(window.images for window in result.windows) / longest if longest > 0 else None


def longest_s(result: TrialResult) -> float:
    """Seconds of the timed window, all ranks together.

    Of several stretches, each lasts as long as its slowest rank, which need not be the same in all: ranks meet at each
    start. Windows that do not tell their stretches are one each.
    """
    spans = [window.spans_ns for window in result.windows]
    if len({len(each) for each in spans}) == 1 and len(spans[0]) > 1:
        lasted_ns: list[int] = [max(end - start for start, end in ranks) for ranks in zip(*spans, strict=True)]
        return sum(lasted_ns) / NS_PER_S
    return max((window.elapsed_s for window in result.windows), default=0.0)


def pooled(result: TrialResult, name: str) -> tuple[float, ...]:
    """The raw values of a series, ranks one after another, warm-up left out."""
    return tuple(value for series in result.measurements if series.name == name for value in series.values)


def data_wait_share(result: TrialResult) -> float | None:
    """Fraction of the ranks' timed windows spent waiting for the next batch."""
    waits = pooled(result, "data_wait_ms")
    elapsed_s = sum(window.elapsed_s for window in result.windows)
    return sum(waits) / MS_PER_S / elapsed_s if waits and elapsed_s > 0 else None


def compile_s(result: TrialResult) -> float | None:
    """Seconds of all steps that compiled first, of the rank that spent most; None where nothing compiled."""
    series = [each for each in result.measurements if each.name == "compile_ms"]
    spent = by_rank((each.rank, each.values + each.warmup_values) for each in series)
    return max(map(sum, spent), default=0.0) / MS_PER_S if series else None


def compiled_in_window(result: TrialResult) -> tuple[int, float]:
    """How many steps of the timed window compiled first, and their seconds, of the rank that spent most."""
    series = [each for each in result.measurements if each.name == "compile_ms"]
    inside = by_rank((each.rank, each.values) for each in series)
    most = max(inside, key=sum, default=())
    return len(most), sum(most) / MS_PER_S


def by_rank(series: Iterable[tuple[int, tuple[float, ...]]]) -> list[tuple[float, ...]]:
    """Values of one name, those of each rank together."""
    found: dict[int, tuple[float, ...]] = {}
    for rank, values in series:
        found[rank] = found.get(rank, ()) + values
    return list(found.values())


def compiling(results: Sequence[TrialResult]) -> Compiling | None:
    """What compiling took in the trials of a point."""
    spent = spread([compile_s(result) for result in results])
    if spent is None:
        return None
    steps, seconds = max(map(compiled_in_window, results))
    return Compiling(spent_s=spent, window_steps=steps, window_s=seconds)


def compiling_note(found: Compiling | None) -> str | None:
    """What a throughput contains besides running."""
    if found is None or not found.window_steps:
        return None
    steps = "1 step" if found.window_steps == 1 else f"{found.window_steps} steps"
    return f"{steps} of the timed window compiled first, {found.window_s:.1f} s: the throughput contains compiling"


def imported(results: Sequence[TrialResult]) -> tuple[str, ...]:
    """Where results come from that were measured elsewhere, and what their windows are made of."""
    words = {"timestamps": "timed by its time stamps, which no synchronisation backs", "none": "without times"}
    sources = [result.imported for result in results if result.imported]
    return tuple(
        dict.fromkeys(f"imported from the {each.format} file {each.file}, {words[each.timed_by]}" for each in sources)
    )


def peak_memory(result: TrialResult) -> int | None:
    """Bytes of the rank that held most."""
    return max(result.peak_memory_bytes, default=None)


def scoring_s(result: TrialResult) -> float | None:
    """Seconds of COCO scoring, summed over its calls."""
    spent = pooled(result, "scoring_ms")
    return sum(spent) / MS_PER_S if spent else None


def last_accuracy(result: TrialResult) -> Accuracy | None:
    """The last scoring of a trial."""
    return result.accuracy[-1] if result.accuracy else None


def ap(accuracy: Accuracy | None, kind: str) -> float | None:
    """AP of one kind (bbox, segm) as a fraction."""
    if accuracy is None:
        return None
    return next((metrics.ap for metrics in accuracy.metrics if metrics.kind == kind), None)


def spread(values: Sequence[float | None]) -> Spread | None:
    """Summarise one number per trial; unknown and infinite ones are left out, and nothing known gives None."""
    known = tuple(value for value in values if value is not None and isfinite(value))
    if not known:
        return None
    brief = summary(known)
    return Spread(median=brief.median, low=brief.min, high=brief.max, mean=brief.mean, sd=brief.std, values=known)


def with_interval(value: Spread | None) -> Spread | None:
    """The same with the 95 % bootstrap interval of its median over processes, where they are enough.

    It is that of the ratio to processes that are all 1: so it takes as many as a comparison does.
    """
    if value is None or min(value.values) <= 0:
        return value
    bounds = compare_processes([1.0] * MIN_PROCESSES, value.values)
    interval = None if bounds.low is None or bounds.high is None else (bounds.low, bounds.high)
    return value.model_copy(update={"interval": interval})
