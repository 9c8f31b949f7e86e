"""One printed number and what it is said to be: the same for every layout that figures come in."""

from dataclasses import dataclass
from typing import Literal

from harness.analysis.audit.intervals import Interval, Printed

Unit = Literal["images/s", "ms", "s", "hours", "minutes", "fraction", "percent", "ratio", "count", "other"]

SCALES: dict[Unit, float] = {"ms": 1e-3, "hours": 3600.0, "minutes": 60.0, "percent": 1e-2}
"""From a unit to the one that checks reckon in: seconds and fractions."""

LATENCY, THROUGHPUT, TIME = "latency", "throughput", "time to train"
SPEEDUP, TIME_SPEEDUP, SCALING, EFFICIENCY = "speed-up", "time to train speed-up", "weak scaling", "efficiency"
GLOBAL_BATCH = "global batch"
SEEDS = "seeds"
"""What a row of seeds is of, where only the row says it."""
ACCURACY = "accuracy"
"""Measures of accuracy begin so: accuracy bbox_mAP."""
ANY = "*"
"""A side of a ratio that the table leaves unsaid."""
FULL_PRECISIONS = frozenset({"FP32", "TF32"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One printed number; `point` says what was measured, in words (gpus, batch, precision, xla and any others).

    `against` is what is different on the other side of a ratio. `loose` names parts of the point that only tell rows
    apart: unlike the others, they may differ between the two sides. `disclosed` says that the table itself declares the
    two sides unequal, `pipelined` that its throughput overlaps batches and waits for data while its latency does not.
    """

    file: str
    table: str
    row: str
    column: str
    line: int | None
    text: str
    printed: Printed
    measure: str
    statistic: str
    unit: Unit
    point: dict[str, str]
    against: dict[str, str] | None = None
    loose: frozenset[str] = frozenset()
    disclosed: bool = False
    pipelined: bool = False
    bounds: tuple[Printed, Printed] | None = None
    """The range that is printed beside it in brackets."""
    stored: float | None = None
    """The value that a record holds beside what was printed."""

    @property
    def interval(self) -> Interval:
        """What it can have been, in seconds, fractions or its own unit."""
        return self.printed.interval.scaled(self.scale)

    @property
    def scale(self) -> float:
        """From its unit to the one that checks reckon in."""
        return SCALES.get(self.unit, 1.0)

    @property
    def gpus(self) -> int | None:
        """GPUs, where they are known as a number."""
        return whole(self.point.get("gpus"))

    @property
    def batch(self) -> int | None:
        """Images per GPU and step, where they are known as a number."""
        return whole(self.point.get("batch"))

    @property
    def place(self) -> tuple[str, str, int | None]:
        """Which row of which table: rows of one name are told apart by their lines."""
        return (self.table, self.row, self.line)


def whole(text: str | None) -> int | None:
    """A count, or None."""
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 10 else None


@dataclass(frozen=True, slots=True)
class Sheet:
    """A file of figures, in its order."""

    file: str
    tables: int
    figures: tuple[Figure, ...]
