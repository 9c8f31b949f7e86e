"""Tables of training and inference performance."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from harness.analysis.performance import PERCENTILES
from harness.analysis.rows import InferenceRow, Point, Ratio, Spread, TrainingRow
from harness.report import format as spell
from harness.report.table import Cell, Field, Table, make_table, shorten


class AboutPoint(Protocol):
    """A row about one point."""

    @property
    def point(self) -> Point:
        """The point."""


P = TypeVar("P", bound=AboutPoint)


def rank_noun(rows: Sequence[AboutPoint]) -> str:
    """Say GPU where every rank drives one: on the CPU, ranks are processes."""
    return "GPU" if rows and all(row.point.device == "cuda" for row in rows) else "rank"


def identity_fields(rows: Sequence[P]) -> list[Field[P]]:
    """The columns that tell points apart."""
    noun = rank_noun(rows)
    named = len({row.point.device_name for row in rows if row.point.device == "cuda"} - {None}) > 1
    return [
        Field("backend", lambda row: row.point.backend, numeric=False),
        Field("settings", lambda row: spell.variant(row.point), numeric=False, optional=True),
        Field("device", lambda row: spell.device(row.point, named=named), numeric=False),
        Field(f"{noun}s", lambda row: spell.ranks(row.point)),
        Field(f"batch size per {noun}", lambda row: str(row.point.batch_size_per_gpu)),
    ]


def arithmetic_fields() -> list[Field[P]]:
    """The columns of number formats and compilation."""
    return [
        Field("precision", lambda row: row.point.precision, numeric=False),
        Field("XLA", lambda row: spell.yes_no(row.point.xla), numeric=False, optional=True),
    ]


def training_table(rows: Sequence[TrainingRow]) -> Table:
    """Throughput of training, speed-up, scaling and what held it up."""
    noun = rank_noun(rows)
    fields: list[Field[TrainingRow]] = [
        *identity_fields(rows),
        Field("global batch size", lambda row: str(row.point.global_batch_size)),
        Field("effective batch size", lambda row: str(row.point.effective_batch_size)),
        Field("precision", lambda row: row.point.precision, numeric=False),
        Field("XLA", lambda row: spell.yes_no(row.point.xla), numeric=False),
        Field(
            "throughput, images/s", lambda row: throughput_cell(row.point, row.throughput_images_per_s), measured=True
        ),
        Field("speed-up vs fp32", lambda row: speedup_cell(row.speedup_vs_fp32), measured=True),
        *tf32_field(rows),
        Field("weak-scaling factor T(N)/T(1)", lambda row: factor_cell(row.scaling.factor), measured=True),
        Field("efficiency, %", lambda row: spell.percent(row.scaling.efficiency), measured=True),
        Field("data wait, % of time", lambda row: spell.percent(row.data_wait_share), measured=True),
        Field(f"peak memory per {noun}, MiB", lambda row: spell.mebibytes(row.peak_memory_bytes), measured=True),
    ]
    caption = (
        f"Throughput is the images of all {noun}s over the longest {noun}'s timed window; median of the repeats, "
        "with lowest and highest in brackets. Speed-up compares equal batch sizes; "
        f"weak scaling, equal batch sizes per {noun}."
    )
    return make_table("training", ("Training performance", caption), rows, fields)


def tf32_field(rows: Sequence[TrainingRow]) -> list[Field[TrainingRow]]:
    """The speed-up over tf32, where anything ran in tf32."""
    if not any(row.point.precision == "tf32" and row.point.ok for row in rows):
        return []
    return [Field("speed-up vs tf32", lambda row: speedup_cell(row.speedup_vs_tf32), measured=True)]


def inference_table(rows: Sequence[InferenceRow]) -> Table:
    """Throughput and latency of inference."""
    fields: list[Field[InferenceRow]] = [
        *identity_fields(rows),
        *arithmetic_fields(),
        Field(
            "throughput, images/s", lambda row: throughput_cell(row.point, row.throughput_images_per_s), measured=True
        ),
        Field("speed-up vs fp32", lambda row: speedup_cell(row.speedup_vs_fp32), measured=True),
        Field("samples", lambda row: str(row.latency.samples) if row.latency else spell.NONE, measured=True),
        Field(
            "latency mean, ms", lambda row: spell.optional(row.latency.mean_ms if row.latency else None), measured=True
        ),
        *[latency_field(p) for p in PERCENTILES],
    ]
    caption = (
        "Latency is the time of one batch, device synchronised before and after. Percentiles are order statistics of "
        "the raw samples, with their 95 % interval in brackets where one exists; n<64: it takes 64 samples to say."
    )
    return make_table("inference", ("Inference performance", caption), rows, fields)


def latency_field(p: float) -> Field[InferenceRow]:
    """The column of one percentile."""
    return Field(f"p{p:g}, ms", lambda row: spell.percentile(row.latency, p), measured=True)


def throughput_cell(point: Point, value: Spread | None) -> Cell:
    """Throughput, with a note where some trials of the point have none."""
    missing = {kind: number for kind, number in point.outcomes.items() if kind != "ok"}
    if not missing or not point.ok:
        return Cell(spell.spread(value))
    reason = f": {shorten(point.reason)}" if point.reason else ""
    return Cell(spell.spread(value), note=f"{spell.counts(point.outcomes)}{reason}")


def speedup_cell(value: Ratio) -> Cell:
    """A speed-up that names both precisions; without one, a note says why."""
    if value.value is None:
        own = value.of == value.to
        return Cell("baseline") if own else Cell(spell.NONE, note=f"{value.of} over {value.to}: {value.reason}")
    return Cell(f"{spell.ratio(value)} ({value.of.split()[0]} / {value.to.split()[0]})")


def factor_cell(value: Ratio) -> Cell:
    """A weak-scaling factor; without one, a note says why."""
    note = f"{value.of} over {value.to}: {value.reason}" if value.value is None else None
    return Cell(spell.ratio(value), note=note)
