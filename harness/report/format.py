"""Derived numbers as text; units stand in the heads of columns."""

from collections.abc import Mapping

from harness.analysis.parts import Latency, Ratio, Spread
from harness.analysis.rows import Point
from harness.schema.result import OutcomeKind
from harness.statistics.percentiles import Percentile
from harness.units import format_duration

NONE = "–"
MIB = 2**20


def significant(value: float) -> str:
    """Three to four figures, never an exponent in the range of measurements: 1,436 or 161.3 or 4.57 or 0.083."""
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 1 else f"{value:.3g}"


def optional(value: float | None) -> str:
    """A number, or a dash where it is unknown."""
    return NONE if value is None else significant(value)


def fraction(value: float | None) -> str:
    """AP and the like, three decimals."""
    return NONE if value is None else f"{value:.3f}"


def tiny(value: float | None) -> str:
    """A difference that may be near rounding: 0 or 1.2e-07 or 0.0034 or 0.12."""
    if value is None:
        return NONE
    return f"{value:.1e}" if 0 < value < 1e-3 else f"{value:.2g}"


def percent(share: float | None) -> str:
    """A fraction as a number of per cent; the sign stands in the head."""
    return NONE if share is None else f"{100 * share:.1f}"


def mebibytes(size: int | None) -> str:
    """Bytes as MiB."""
    return NONE if size is None else f"{size / MIB:,.0f}"


def spread(value: Spread | None) -> str:
    """Median, and from two processes on the range: 12.3 (11.9–12.6)."""
    if value is None:
        return NONE
    if len(value.values) == 1:
        return significant(value.median)
    return f"{significant(value.median)} ({significant(value.low)}–{significant(value.high)})"


def mean_sd(value: Spread, *, as_fraction: bool) -> tuple[str, str]:
    """Mean and sample standard deviation."""
    if as_fraction:
        return fraction(value.mean), NONE if value.sd is None else f"{value.sd:.4f}"
    return significant(value.mean), optional(value.sd)


def duration(value: Spread | None) -> str:
    """A median time as a person would spell it."""
    return NONE if value is None else format_duration(value.median)


def quantile(value: Percentile) -> str:
    """Value with its 95 % interval where one exists, or how many samples it would take: n<64."""
    if value.value is None:
        return f"n<{value.needed}"
    if value.low is None or value.high is None:
        return significant(value.value)
    return f"{significant(value.value)} ({significant(value.low)}–{significant(value.high)})"


def percentile(latency: Latency | None, p: float) -> str:
    """The cell of one percentile."""
    found = next((q for q in latency.percentiles_ms if q.p == p), None) if latency else None
    return quantile(found) if found else NONE


def ratio(value: Ratio) -> str:
    """A factor; both sides are named by the column or by a note."""
    return NONE if value.value is None else f"{value.value:.2f}"


def variant(point: Point) -> str:
    """Settings that tell a row from its neighbours: flavour=nvidia, image_size=256."""
    return ", ".join(f"{name}={value}" for name, value in point.variant.items())


def yes_no(value: bool) -> str:
    """A switch."""
    return "yes" if value else "no"


def ranks(point: Point) -> str:
    """Ranks, and how they spread over nodes."""
    return f"{point.ranks} ({point.nodes} nodes)" if point.nodes > 1 else str(point.ranks)


def device(point: Point, *, named: bool) -> str:
    """Kind of device, with its name where asked and known: cuda, NVIDIA A100."""
    return f"{point.device}, {point.device_name}" if named and point.device_name else point.device


def values(found: dict[str, int]) -> str:
    """Values with the number of trials behind each, where there are several."""
    if len(found) == 1:
        return next(iter(found))
    return "; ".join(f"{value} ({count})" for value, count in found.items())


def counts(found: Mapping[OutcomeKind, int]) -> str:
    """Outcomes in words: 12 ok, 3 unsupported."""
    return ", ".join(f"{number} {kind}" for kind, number in found.items())
