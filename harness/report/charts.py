"""Which charts a store gives, and what they show; a chart that would show nothing is left out."""

from collections.abc import Sequence
from typing import TypeVar

from markupsafe import escape

from harness.analysis.metrics import pooled, spread, throughput
from harness.analysis.observed import marks
from harness.analysis.parts import Spread
from harness.analysis.points import Group, points
from harness.analysis.rows import Point
from harness.report.canvas import Labels, inline
from harness.report.document import Chart
from harness.report.format import significant, variant
from harness.report.plots import Bar, Curve, bars, scaling, steps
from harness.report.text import plain
from harness.schema.result import TrialResult
from harness.schema.trial import Phase

MOST_PANELS = 6
MOST_CURVES = 12
"""In one panel; more cannot be told apart by colour and dash."""
MOST_STEPS = 400
THROUGHPUT = "throughput, images/s"

T = TypeVar("T")
Measured = tuple[Group, Point, Spread]


def draw_charts(results: Sequence[TrialResult]) -> tuple[Chart, ...]:
    """Draw every chart that has something to compare; the same results give the same bytes."""
    drawn = [
        throughput_chart(results, "train", "training"),
        scaling_chart(results),
        throughput_chart(results, "infer", "inference"),
        latency_chart(results),
    ]
    return tuple(chart for chart in drawn if chart is not None)


def inline_svg(chart: Chart) -> str:
    """A chart as an element of an HTML page."""
    return inline(chart.svg, chart.name, str(escape(plain(chart.title))))


def measured(results: Sequence[TrialResult], phase: Phase) -> list[Measured]:
    """The points of a phase that have a throughput in images/s."""
    rated = [(g, point, spread([throughput(result) for result in g.ok])) for g, point in points(results, phase)]
    return [(group, point, value) for group, point, value in rated if value is not None]


def panel(point: Point) -> str:
    """What heads the panel of a point: points of other backends and settings have other scales."""
    if "rehearsal" in point.variant:
        point = point.model_copy(update={"variant": point.variant | {"rehearsal": "no measurement"}})
    return ", ".join(filter(None, (point.backend, variant(point))))


def parts(point: Point) -> dict[str, str]:
    """What tells points of one panel apart, in words; precisions are told apart by colour."""
    noun = ("GPU" if point.device == "cuda" else "rank") + ("" if point.ranks == 1 else "s")
    return {
        "device": point.device,
        "ranks": f"{point.ranks} {noun}" + (f" on {point.nodes} nodes" if point.nodes > 1 else ""),
        "batch": f"batch {point.batch_size_per_gpu}",
        "accumulation": f"accumulation {point.gradient_accumulation_steps}",
        "xla": "XLA" if point.xla else "no XLA",
    }


def labels(found: Sequence[Point], *, without: Sequence[str] = ()) -> list[str]:
    """A label for each point, of the parts in which they differ."""
    spelled = [parts(point) for point in found]
    names = [name for name in parts(found[0]) if name not in without and len({each[name] for each in spelled}) > 1]
    return [", ".join(each[name] for name in names) for each in spelled]


def in_panels(pairs: Sequence[tuple[str, T]], most: int | None = None) -> tuple[dict[str, list[T]], str]:
    """Drawn things by panel, no more than can be read, and what the title says of those left out."""
    found: dict[str, list[T]] = {}
    for head, each in pairs:
        found.setdefault(head, []).append(each)
    kept = {head: members[:most] for head, members in list(found.items())[:MOST_PANELS]}
    shown = sum(map(len, kept.values()))
    return kept, "" if shown == len(pairs) else f" ({shown} of {len(pairs)})"


def throughput_chart(results: Sequence[TrialResult], phase: Phase, table: str) -> Chart | None:
    """Bars of throughput, a colour a precision; one point alone has nothing to stand beside."""
    found = measured(results, phase)
    if len(found) < 2:
        return None
    names = labels([point for _, point, _ in found])
    drawn = [
        (panel(p), Bar(name, p.precision, value.median, value.low, value.high, bar_text(group, value)))
        for name, (group, p, value) in zip(names, found, strict=True)
    ]
    kept, fewer = in_panels(drawn)
    title = f"Throughput of {table} by precision and batch size{fewer}"
    return Chart(f"throughput-{phase}", table, title, bars(kept, Labels(title, THROUGHPUT, "")))


def bar_text(group: Group, value: Spread) -> str:
    """What stands at the end of a bar."""
    return significant(value.median) + (", marked" if marks(group.ok) else "")


def scaling_chart(results: Sequence[TrialResult]) -> Chart | None:
    """Throughput of training over ranks, where a point was measured on more than one number of them."""
    families: dict[str, list[Measured]] = {}
    for found in measured(results, "train"):
        families.setdefault(found[0].without("gpus", "nodes"), []).append(found)
    scaled = [
        sorted(family, key=lambda each: each[1].ranks)
        for family in families.values()
        if len({point.ranks for _, point, _ in family}) > 1
    ]
    if not scaled:
        return None
    heads = [family[0][1] for family in scaled]
    drawn = [
        (panel(head), Curve(name, head.precision, ranks_of(family), tuple(value.median for _, _, value in family)))
        for name, head, family in zip(labels(heads, without=["ranks"]), heads, scaled, strict=True)
    ]
    kept, fewer = in_panels(drawn, MOST_CURVES)
    title = f"Weak scaling of training{fewer}"
    return Chart("scaling-train", "training", title, scaling(kept, Labels(title, rank_axis(heads), THROUGHPUT)))


def ranks_of(family: Sequence[Measured]) -> tuple[float, ...]:
    """The numbers of ranks of a curve."""
    return tuple(float(point.ranks) for _, point, _ in family)


def rank_axis(heads: Sequence[Point]) -> str:
    """Label of the axis of ranks."""
    devices = {point.device for point in heads}
    return {frozenset({"cpu"}): "ranks (CPU processes)", frozenset({"cuda"}): "GPUs"}.get(frozenset(devices), "ranks")


def latency_chart(results: Sequence[TrialResult]) -> Chart | None:
    """Share of batches over latency, a curve a trial, from raw samples."""
    found = [(group, point) for group, point in points(results, "infer") if any(map(samples, group.ok))]
    if not found:
        return None
    names = labels([point for _, point in found])
    drawn = [
        (panel(point), ecdf(name, point, samples(result)))
        for name, (group, point) in zip(names, found, strict=True)
        for result in group.ok
        if samples(result)
    ]
    kept, fewer = in_panels(drawn, MOST_CURVES)
    title = f"Latency of inference: share of batches done within a time{fewer}"
    return Chart("latency-infer", "inference", title, steps(kept, Labels(title, "latency of one batch, ms", "share")))


def samples(result: TrialResult) -> tuple[float, ...]:
    """Latency samples in ms, from two on: one is no distribution."""
    found = pooled(result, "latency_ms")
    return found if len(found) > 1 else ()


def ecdf(of: str, point: Point, values_ms: Sequence[float]) -> Curve:
    """The empirical distribution function, thinned to steps that a chart can show; the ends stay."""
    ordered, count = sorted(values_ms), len(values_ms)
    ranks = sorted({*range(0, count, max(1, count // MOST_STEPS)), count - 1})
    x = (ordered[0], *(ordered[rank] for rank in ranks))
    return Curve(of, point.precision, x, (0.0, *((rank + 1) / count for rank in ranks)))
