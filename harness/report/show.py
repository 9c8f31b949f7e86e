"""Plain text for a terminal of 100 columns: a store in a line per trial, and one trial in full."""

from collections.abc import Iterable, Sequence
from textwrap import wrap

from harness.analysis.accuracy import spell_target
from harness.analysis.circumstances import machine_facts, run_facts, summary
from harness.analysis.details import machine_details, provenance_details
from harness.analysis.metrics import (
    compiling,
    compiling_note,
    imported,
    peak_memory,
    pooled,
    scoring_s,
    throughput,
)
from harness.analysis.performance import latency, throughputs
from harness.analysis.points import KERNELS, as_text, flatten, group
from harness.analysis.rows import FELL_BACK
from harness.analysis.simulated import has_numbers, why_simulated
from harness.report import format as spell
from harness.report.circumstances import summary_lines
from harness.report.show_telemetry import telemetry_lines
from harness.report.show_window import time_lines, timer_lines, window_lines
from harness.report.text import plain
from harness.schema.causes import CAUSES
from harness.schema.measurement import Accuracy, Measurement, Probe
from harness.schema.result import Outcome, TrialResult
from harness.schema.trial import Trial
from harness.units import format_bytes, format_duration

WIDTH = 100
LONGEST_NAME = 30
Lines = Iterable[tuple[str, str]]


def show_store(results: Sequence[TrialResult]) -> str:
    """The summary, then a line per trial: outcome, its main number, and its id for `harness show DIR TRIAL`."""
    head = aligned((name, text) for name, text, _ in summary_lines(summary(results, ())))
    rows = [("outcome", "main number", "trial"), *map(store_row, results)]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join([*head, "", *(f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c}".rstrip() for a, b, c in rows)])


def store_row(result: TrialResult) -> tuple[str, str, str]:
    """Outcome, main number and id of one trial."""
    rate = throughput(result) if has_numbers(result) else None
    return result.outcome.kind, f"{spell.significant(rate)} images/s" if rate else spell.NONE, plain(result.trial_id)


def show_trial(result: TrialResult, others: Sequence[TrialResult] = ()) -> str:
    """One trial: outcome, numbers with intervals, raw series, settings, provenance, the end of its log.

    Args:
        result: the trial.
        others: of its store; what all repeats of its point come to is told from these.
    """
    parts: list[tuple[str, Lines]] = [
        ("outcome", outcome_lines(result.outcome, result.duration_s)),
        ("numbers", number_lines(result)),
        ("all repeats and seeds of this point", repeat_lines(result, others)),
        ("telemetry", telemetry_lines(result)),
        ("what timing takes", timer_lines(result)),
        ("raw series, warm-up apart", series_lines(result.measurements)),
        ("trial", trial_lines(result.trial)),
        ("what ran in its place", stand_in_lines(result)),
        ("weights it was given, SHA-256", result.weights_read.items()),
        ("what the backend used", result.settings.items()),
        ("intermediate tensors, sampled", probe_lines(result.probe)),
        ("run", run_facts(result)),
        ("machine", machine_facts(result)),
        ("software", result.provenance.packages.items() if result.provenance else ()),
        ("environment", result.provenance.environment.items() if result.provenance else ()),
        ("more of the run", provenance_details(result)),
        ("more of the machine", machine_details(result)),
        ("data, SHA-256", result.provenance.data_fingerprints.items() if result.provenance else ()),
    ]
    blocks = [
        [plain(result.trial_id)],
        *([title, *aligned(lines, "  ")] for title, given in parts if (lines := list(given))),
    ]
    if result.outcome.log_tail:
        blocks.append(["end of the log", *(f"  {plain(line)}" for line in result.outcome.log_tail)])
    return "\n\n".join("\n".join(block) for block in blocks)


def aligned(lines: Lines, indent: str = "") -> list[str]:
    """Names in one column, texts in another; long texts go on below themselves, a name too long has its own line."""
    given = [(plain(name), plain(text)) for name, text in lines]
    column = max((len(name) for name, _ in given if len(name) <= LONGEST_NAME), default=0)
    margin = " " * (len(indent) + column + 2)
    spelled = []
    for name, text in given:
        pieces = wrap(text, max(20, WIDTH - len(margin)), break_on_hyphens=False) or [""]
        first = f"{indent}{name:<{column}}  "
        if len(name) > column:
            spelled.append(f"{indent}{name}")
            first = margin
        spelled += [(first + pieces[0]).rstrip(), *(margin + piece for piece in pieces[1:])]
    return spelled


def outcome_lines(outcome: Outcome, duration_s: float) -> Lines:
    """How it ended, and after how long."""
    yield "kind", outcome.kind
    if outcome.reason:
        yield "reason", outcome.reason
    if outcome.cause:
        yield "cause", f"{outcome.cause.replace('_', ' ')}: {CAUSES[outcome.kind][outcome.cause]}"
    yield from (("found by", line) for line in outcome.evidence)
    if outcome.exit_code is not None:
        yield "exit code", str(outcome.exit_code)
    if outcome.signal:
        yield "signal", outcome.signal
    if outcome.peak_memory_bytes is not None and outcome.kind != "ok":
        yield "held at most", format_bytes(outcome.peak_memory_bytes)
    yield "took", format_duration(duration_s)


def trial_lines(trial: Trial) -> Lines:
    """All that was asked for; what is unset is left out."""
    yield from ((name, as_text(value)) for name, value in flatten(trial.model_dump()))


def repeat_lines(result: TrialResult, others: Sequence[TrialResult]) -> Lines:
    """Throughput of the point over its processes, where there are several."""
    each = next(
        (g for g in group(others, result.trial.phase) if result.trial_id in {r.trial_id for r in g.results}), None
    )
    value = throughputs(each) if each else None
    if value is None or len(value.values) < 2:
        return
    yield "throughput", f"{spell.spread(value)} images/s, median and range of {len(value.values)} processes"
    if value.interval is not None:
        low, high = map(spell.significant, value.interval)
        yield "interval", f"{low} to {high} images/s: 95 % bootstrap interval of that median"


def stand_in_lines(result: TrialResult) -> Lines:
    """The small trial of a rehearsal, and the trial that it was run for, where that is another."""
    if result.rehearsal is not None:
        yield "run for", result.rehearsal.run_for
        yield from trial_lines(result.rehearsal.stand_in)


def probe_lines(probe: Probe | None) -> Lines:
    """Shape and absolute maximum of each tensor, and which images they are of."""
    if probe is None:
        return
    yield "images", ", ".join(map(str, probe.image_ids))
    for tensor in probe.tensors:
        shape = "×".join(map(str, tensor.shape))
        yield tensor.name, f"{shape}, {len(tensor.values)} values, absolute maximum {spell.significant(tensor.largest)}"


def number_lines(result: TrialResult) -> Lines:
    """Derived numbers, units beside them; what a trial does not have is left out."""
    rate, held, scored = throughput(result), peak_memory(result), scoring_s(result)
    if simulated := why_simulated(result):
        yield "not a measurement", f"{simulated}: these numbers stand in no table"
    yield from (("not measured here", words) for words in imported([result]))
    if rate is not None:
        yield "throughput", f"{spell.significant(rate)} images/s"
    if FELL_BACK in (words := result.settings.get(KERNELS, "")):
        yield "not on native kernels", words
    yield from window_lines(result)
    yield from latency_lines(pooled(result, "latency_ms"))
    yield from time_lines(result)
    yield from compile_lines(result)
    if held is not None:
        yield "peak memory of a rank", format_bytes(held)
    for scoring in result.accuracy:
        yield from accuracy_lines(scoring)
    if scored is not None:
        yield "scoring", f"{spell.significant(scored)} s"
    if target := spell_target(result.trial.target):
        reached = result.time_to_target_s
        yield (
            "target",
            f"{target}: " + ("not reached" if reached is None else f"reached after {format_duration(reached)}"),
        )


def compile_lines(result: TrialResult) -> Lines:
    """What compiling took, and whether the throughput contains some of it."""
    found = compiling([result])
    if found is not None:
        yield "compiling", f"{spell.significant(found.spent_s.median)} s, steps that compiled first"
    if note := compiling_note(found):
        yield "timed window", note


def latency_lines(samples_ms: Sequence[float]) -> Lines:
    """Mean and percentiles of raw samples, with intervals."""
    found = latency(samples_ms)
    if found is None:
        return
    yield "latency mean", f"{spell.significant(found.mean_ms)} ms of {found.samples} samples"
    for value in found.percentiles_ms:
        unit = " ms" if value.value is not None else f" (has {value.count})"
        interval = ", 95 % interval in brackets" if value.value is not None and value.low is not None else ""
        yield f"latency p{value.p:g}", spell.quantile(value) + unit + interval


def accuracy_lines(scoring: Accuracy) -> Lines:
    """The twelve numbers of each kind."""
    after = "" if scoring.after_steps is None else f" after {scoring.after_steps} steps"
    yield f"scored{after}", f"{scoring.images} images, {scoring.detections} detections, {scoring.scorer}"
    for metrics in scoring.metrics:
        for measure in ("ap", "ar"):
            named = {name: value for name, value in metrics.model_dump().items() if name.startswith(measure)}
            short = {name.removeprefix(measure).lstrip("_"): value for name, value in named.items()}
            listed = ", ".join(f"{name} {spell.fraction(value)}".strip() for name, value in short.items())
            yield f"{metrics.kind} {measure.upper()}", listed


def series_lines(series: Sequence[Measurement]) -> Lines:
    """How many raw values there are, and where they lie."""
    for each in series:
        unit = "" if each.unit == "1" else f" {each.unit}"
        limits = (
            f", {spell.significant(min(each.values))} to {spell.significant(max(each.values))}{unit}"
            if each.values
            else ""
        )
        yield (
            f"{each.name}, rank {each.rank}",
            f"{len(each.values)} values{limits}; {len(each.warmup_values)} in warm-up",
        )
