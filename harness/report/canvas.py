"""The one door to matplotlib: a figure in the house's style, as SVG text that is the same for the same data."""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from harness.report.text import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_IN = 8.0
LEGEND_ROW_IN = 0.24
LEGEND_CHARACTERS = 100
MOST_LINES = 4
"""Of a label."""
FOREGROUND, GROUND, GRID = "#1f2329", "#fefefe", "#c8d0d7"
"""No other part of a chart has these colours, so a page can swap them for its own."""
NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


@dataclass(frozen=True)
class Labels:
    """Title and axis labels, units included."""

    title: str
    x: str
    y: str


@contextmanager
def style() -> Iterator[None]:
    """Draw in the house's style, whatever the user's own matplotlib settings are."""
    import matplotlib as mpl  # noqa: PLC0415  a second that only charts need

    wanted: dict[str, Any] = {
        "svg.hashsalt": "harness",
        "svg.fonttype": "none",
        "text.parse_math": False,
        "font.size": 10,
        "axes.titlesize": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "legend.frameon": False,
        "grid.color": GRID,
        "grid.linewidth": 0.8,
        **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), FOREGROUND),
        **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), GROUND),
    }
    with mpl.rc_context(), warnings.catch_warnings():
        # A label in a script that the layout font lacks is still written as text; the reader's font has it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support .* natively")
        mpl.rcdefaults()
        cast("Any", mpl.rcParams).update(wanted)
        yield


def panels(titles: Sequence[str], heights_in: Sequence[float], entries: Sequence[str]) -> tuple["Figure", list["Axes"]]:
    """A figure of panels one under another, high enough for them and for a legend of those entries below."""
    from matplotlib.figure import Figure  # noqa: PLC0415  as above

    legend_in = LEGEND_ROW_IN * -(-len(entries) // legend_columns(entries)) if entries else 0.0
    lines = sum(entry.count("\n") for entry in entries)
    height_in = 0.5 + sum(heights_in) + legend_in + LEGEND_ROW_IN * lines
    drawn = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    made = drawn.subplots(len(titles), 1, squeeze=False, height_ratios=list(heights_in))
    axes = [row[0] for row in made]
    for each, title in zip(axes, titles, strict=True):
        each.set_title(wrapped(title, 90), loc="left")
    return drawn, axes


def legend_columns(entries: Sequence[str]) -> int:
    """How many entries stand side by side."""
    return max(1, min(len(entries), LEGEND_CHARACTERS // (max(map(len, entries)) + 8)))


def finish(drawn: "Figure", axes: Sequence["Axes"], labels: Labels) -> str:
    """Title, labels of axes, and a legend below them where it covers nothing; then the text of an SVG file."""
    drawn.suptitle(wrapped(labels.title, 90), x=0.01, ha="left", fontsize=11.5)
    axes[-1].set_xlabel(labels.x)
    for each in axes:
        each.set_ylabel(labels.y)
    entries = {name: handle for each in axes for handle, name in zip(*each.get_legend_handles_labels(), strict=True)}
    if entries:
        names = list(entries)
        drawn.legend(entries.values(), names, loc="outside lower left", ncols=legend_columns(names))
    out = io.StringIO()
    drawn.savefig(out, format="svg", metadata=NO_METADATA)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def wrapped(text: str, width: int) -> str:
    """A long label on several lines, broken where a setting ends; what is longer than a line, or than all, is cut."""
    lines: list[str] = []
    for part in plain(text).split(", "):
        joined = f"{lines[-1]}, {part}" if lines else part
        lines = [*lines[:-1], joined] if len(joined) <= width or not lines else [*lines[:-1], f"{lines[-1]},", part]
    return "\n".join(line if len(line) <= width + 12 else f"{line[: width + 11]}…" for line in lines[:MOST_LINES])


def in_legend(text: str) -> str:
    """A legend entry; matplotlib hides one that begins with an underscore, so that begins with a space."""
    label = wrapped(text, 90)
    return f" {label}" if label.startswith("_") else label


def inline(text: str, name: str, title: str) -> str:
    """An SVG file as an element of a page: its colours follow the page, its ids are the page's only ones."""
    element = text[text.index("<svg") :]
    for pattern in (r'(\bid=")', r'(href="#)', r"(url\(#)"):
        element = re.sub(pattern, rf"\g<1>{name}-", element)
    swaps = {FOREGROUND: "currentColor", GROUND: "none", GRID: "rgba(128,128,128,.35)"}
    for colour, own in swaps.items():
        element = element.replace(colour, own)
    return element.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)
