"""The raw samples of one trial as series."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import isnan, nan
from pathlib import Path
from typing import Any

from harness.measure.telemetry.recording import GPU_COLUMNS, HOST_COLUMNS, lines_of

Look = tuple[int, dict[str, Any] | None]
"""When, and what the processes on one GPU were; None where it does not tell."""


@dataclass
class Table:
    """Numbers by column; unknown ones are NaN inside, so that hours of samples fit into memory."""

    columns: dict[str, "array[float]"]

    def add(self, row: Iterable[float | None]) -> None:
        """Add a row."""
        for column, value in zip(self.columns.values(), row, strict=True):
            column.append(nan if value is None else value)

    def __getitem__(self, name: str) -> list[float | None]:
        return [None if isnan(value) else value for value in self.columns[name]]


def table(names: Iterable[str]) -> Table:
    """An empty table."""
    return Table({name: array("d") for name in names})


@dataclass
class GpuSeries:
    """What was seen of one GPU; `rows` has a row for each sample, `energy` one for each beat."""

    before: dict[str, Any]
    after: dict[str, Any]
    rows: Table = field(default_factory=lambda: table(GPU_COLUMNS))
    energy: Table = field(default_factory=lambda: table(["mj"]))
    looks: list[Look] = field(default_factory=list)


@dataclass
class Loaded:
    """One file."""

    header: dict[str, Any]
    gpus: list[GpuSeries]
    whole: bool = False
    """Whether the sampler came to its end."""
    beats: list[int] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    host: Table = field(default_factory=lambda: table(HOST_COLUMNS[:-1]))
    packages: list[Sequence[int] | None] = field(default_factory=list)
    """The energy counters of the processors' packages at each sample."""

    def add(self, line: dict[str, Any]) -> None:
        """Take in one line after the first."""
        if "t" not in line:
            self.whole = True
            for gpu, after in zip(self.gpus, line["gpus"], strict=True):
                gpu.after = after
            return
        self.beats.append(line["t"])
        rows = line.get("g")
        energies = line["e"] if rows is None else [row and row[0] for row in rows]
        for gpu, energy in zip(self.gpus, energies, strict=True):
            gpu.energy.add([energy])
        if rows is not None:
            self.add_sample(line)

    def add_sample(self, line: dict[str, Any]) -> None:
        """Take in the rest of a full sample."""
        self.times.append(line["t"])
        self.host.add(line["h"][:-1])
        self.packages.append(line["h"][-1])
        for gpu, row in zip(self.gpus, line["g"], strict=True):
            gpu.rows.add(row or [None] * len(GPU_COLUMNS))
        for gpu, look in zip(self.gpus, line.get("p", ()), strict="p" in line):
            gpu.looks.append((line["t"], look))


def load(path: Path) -> Loaded:
    """Read a file as far as it is whole.

    Raises:
        OSError: it cannot be read.
        ValueError: it has no first line, or is no file of samples.
    """
    lines = lines_of(path)
    header = next(lines, None)
    if header is None:
        raise ValueError(f"{path} is empty")
    loaded = Loaded(header, [GpuSeries(gpu, gpu) for gpu in header["gpus"]])
    for line in lines:
        loaded.add(line)
    return loaded
