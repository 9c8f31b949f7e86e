"""The columns of what telemetry saw: there where any row has them, and empty with the reason where one lacks it."""

from typing import Literal, TypeVar

from harness.analysis.parts import Observed, Spread
from harness.analysis.rows import InferenceRow, TrainingRow
from harness.report import format as spell
from harness.report.table import Cell, Field
from harness.report.text import plain

R = TypeVar("R", bound=TrainingRow | InferenceRow)
OF_ALL = "peak device memory: of all processes on the device, since the driver does not tell them apart"


def observed_fields() -> list[Field[R]]:
    """Energy efficiency, power and memory of GPUs; on the CPU, energy of the host's processors."""
    return [
        Field("images per joule", efficiency_cell, optional=True, measured=True),
        Field("mean power of GPUs, W", power_cell, optional=True, measured=True),
        Field("peak device memory, MiB", memory_cell, optional=True, measured=True),
        Field("host energy, J", host_cell, optional=True, measured=True),
    ]


def part(observed: Observed | None, name: Literal["images_per_joule", "power_w", "host_joules"]) -> Spread | None:
    """One number per trial of what was sampled, where anything was."""
    found: Spread | None = getattr(observed, name, None)
    return found


def efficiency_cell(row: TrainingRow | InferenceRow) -> Cell:
    """Images per joule of the GPUs; without a number, or of some trials only, a note says why."""
    if row.point.device != "cuda":
        return Cell(spell.NONE)
    value = part(row.observed, "images_per_joule")
    why = plain((row.observed.no_energy if row.observed else None) or "nothing was sampled")
    if value is None:
        return Cell(spell.NONE, note=f"no energy: {why}")
    known = len(value.values)
    note = None if known == row.point.ok else f"energy of {known} of {row.point.ok} trials: {why}"
    return Cell(spell.spread(value), note=note)


def power_cell(row: TrainingRow | InferenceRow) -> Cell:
    """Mean power of a trial's GPUs together."""
    return Cell(spell.spread(part(row.observed, "power_w")))


def memory_cell(row: TrainingRow | InferenceRow) -> Cell:
    """The most that was held on any GPU; a note says where that is of all processes."""
    found = row.observed
    if found is None or found.device_memory_bytes is None:
        return Cell(spell.NONE)
    return Cell(spell.mebibytes(found.device_memory_bytes), note=None if found.device_memory_is_own else OF_ALL)


def host_cell(row: TrainingRow | InferenceRow) -> Cell:
    """Energy of the host's processors, in rows of trials that ran on them."""
    return Cell(spell.spread(part(row.observed, "host_joules") if row.point.device == "cpu" else None))
