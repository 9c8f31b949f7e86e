"""Plain data to charts: bars, scaling, distributions; one panel a backend, a legend for all."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from harness.report.canvas import FOREGROUND, Labels, finish, in_legend, panels, style, wrapped
from harness.schema.trial import Precision

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PALETTE = ("#3b7dd8", "#e08214", "#2a9d5c", "#c0508a", "#8a63d2", "#8c7a2b")
COLOURS: dict[str, str] = {"fp32": PALETTE[0], "tf32": PALETTE[1], "amp": PALETTE[2]}
"""A precision looks the same in every chart."""
DASHES = ("solid", (0, (5, 1.5)), (0, (1.5, 1.5)), (0, (6, 1.5, 1.5, 1.5)))
BAR_IN, LINE_IN, PANEL_IN = 0.27, 0.17, 3.2
LABEL_WIDTH = 34
WIDE_RANGE = 20


@dataclass(frozen=True)
class Bar:
    """One bar: the group it stands in, its precision, and its value with lowest and highest."""

    group: str
    precision: Precision
    value: float
    low: float
    high: float
    text: str


@dataclass(frozen=True)
class Curve:
    """One line; `of` is what its legend entry says besides the precision."""

    of: str
    precision: Precision
    x: tuple[float, ...]
    y: tuple[float, ...]


def bars(given: dict[str, list[Bar]], labels: Labels) -> str:
    """Panels of horizontal bars, groups one under another; values stand at the ends of bars."""
    placed = {title: place(members) for title, members in given.items()}
    heights = [0.75 + BAR_IN * (stack[-1][1] + 1) for stack in placed.values()]
    found = list(dict.fromkeys(bar.precision for members in given.values() for bar in members))
    with style():
        drawn, axes = panels(list(given), heights, found)
        for each, stack in zip(axes, placed.values(), strict=True):
            draw_bars(each, stack)
        return finish(drawn, axes, labels)


def place(given: Sequence[Bar]) -> list[tuple[Bar, float]]:
    """A height for each bar, in bars: those of a group touch, and a group is as high as its label."""
    placed: list[tuple[Bar, float]] = []
    top = 0.0
    for name in dict.fromkeys(bar.group for bar in given):
        members = [bar for bar in given if bar.group == name]
        label = (wrapped(name, LABEL_WIDTH).count("\n") + 1) * LINE_IN / BAR_IN
        room = max(len(members), label)
        first = top + (room - len(members)) / 2
        placed += [(bar, first + number) for number, bar in enumerate(members)]
        top += room + 0.7
    return placed


def draw_bars(axes: "Axes", placed: Sequence[tuple[Bar, float]]) -> None:
    """The bars of one panel, a colour a precision, whiskers from lowest to highest."""
    for precision in dict.fromkeys(bar.precision for bar, _ in placed):
        mine = [(bar, y) for bar, y in placed if bar.precision == precision]
        widths = [bar.value for bar, _ in mine]
        axes.barh([y for _, y in mine], widths, 0.85, color=COLOURS[precision], label=precision)
    for bar, y in placed:
        if bar.high > bar.low:
            axes.hlines(y, bar.low, bar.high, color=FOREGROUND, linewidth=1.5)
        axes.annotate(bar.text, (bar.high, y), xytext=(4, 0), textcoords="offset points", va="center", fontsize=9)
    groups = list(dict.fromkeys(bar.group for bar, _ in placed))
    middles = [fmean(y for bar, y in placed if bar.group == name) for name in groups]
    axes.set_yticks(middles, [wrapped(name, LABEL_WIDTH) for name in groups])
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.12)
    axes.set_ylim(placed[-1][1] + 0.75, placed[0][1] - 0.75)
    axes.grid(axis="x")


def looks(given: dict[str, list[Curve]]) -> dict[tuple[str, Precision], dict[str, Any]]:
    """Colour and dash of each kind of curve: colours for precisions and dashes for the rest, where both vary."""
    kinds = list(dict.fromkeys((curve.of, curve.precision) for members in given.values() for curve in members))
    rest = list(dict.fromkeys(of for of, _ in kinds))
    precisions = {precision for _, precision in kinds}
    if len(precisions) > 1 and len(rest) <= len(DASHES):
        return {(of, p): {"color": COLOURS[p], "linestyle": DASHES[rest.index(of)]} for of, p in kinds}
    return {
        kind: {"color": PALETTE[number % len(PALETTE)], "linestyle": DASHES[number // len(PALETTE) % len(DASHES)]}
        for number, kind in enumerate(kinds)
    }


def entries(given: dict[str, list[Curve]]) -> dict[tuple[str, Precision], str]:
    """The legend entry of each kind of curve; the precision stands where it varies."""
    kinds = dict.fromkeys((curve.of, curve.precision) for members in given.values() for curve in members)
    vary = len({precision for _, precision in kinds}) > 1
    return {(of, p): in_legend(", ".join(filter(None, (of, p if vary or not of else "")))) for of, p in kinds}


def scaling(given: dict[str, list[Curve]], labels: Labels) -> str:
    """Panels of values over ranks, each curve with a dotted line as its first value would grow linearly."""
    look, entry = looks(given), entries(given)
    linear: Any = {"linewidth": 0.9, "linestyle": (0, (1, 2))}
    with style():
        drawn, axes = panels(list(given), [PANEL_IN] * len(given), [*entry.values(), "linear"])
        for each, members in zip(axes, given.values(), strict=True):
            for curve in members:
                kind = (curve.of, curve.precision)
                each.plot(curve.x, curve.y, marker="o", markersize=5, label=entry[kind], **look[kind])
                ideal = [curve.y[0] * x / curve.x[0] for x in curve.x]
                each.plot(curve.x, ideal, color=look[kind]["color"], **linear)
            each.set_xticks(sorted({x for curve in members for x in curve.x}))
            each.set_ylim(bottom=0)
            each.grid()
        axes[-1].plot([], [], color=FOREGROUND, label="linear", **linear)
        return finish(drawn, axes, labels)


def steps(given: dict[str, list[Curve]], labels: Labels) -> str:
    """Panels of step curves from 0 to 1; a wide range of values has a logarithmic axis."""
    look, entry = looks(given), entries(given)
    with style():
        drawn, axes = panels(list(given), [PANEL_IN] * len(given), list(entry.values()))
        for each, members in zip(axes, given.values(), strict=True):
            for curve in members:
                kind = (curve.of, curve.precision)
                each.step(curve.x, curve.y, where="post", label=entry[kind], linewidth=1.5, **look[kind])
            values = [x for curve in members for x in curve.x]
            if 0 < WIDE_RANGE * min(values) < max(values):
                each.set_xscale("log")
            each.set_ylim(0, 1.02)
            each.grid()
        return finish(drawn, axes, labels)
