"""Tables of training and inference performance."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from harness.analysis.marks import meanings
from harness.analysis.metrics import compiling_note
from harness.analysis.observed import spell_marks
from harness.analysis.parts import Compiling, Ratio
from harness.analysis.performance import PERCENTILES
from harness.analysis.rows import EvaluationRow, InferenceRow, Point, TrainingRow
from harness.analysis.series import LATENCIES, STEPS, series_note
from harness.analysis.windows import window_note
from harness.report import format as spell
from harness.report.observed import observed_fields
from harness.report.table import Cell, Field, Table, make_table, shorten
from harness.report.text import plain


class AboutPoint(Protocol):
    """A row about one point."""

    @property
    def point(self) -> Point:
        """The point."""


P = TypeVar("P", bound=AboutPoint)
PerformanceRow = TrainingRow | InferenceRow
S = TypeVar("S", bound=PerformanceRow)
R = TypeVar("R", bound=TrainingRow | InferenceRow | EvaluationRow)


def rank_noun(rows: Sequence[AboutPoint]) -> str:
    """Say GPU where every rank drives one: on the CPU, ranks are processes."""
    return "GPU" if rows and all(row.point.device == "cuda" for row in rows) else "rank"


def identity_fields(rows: Sequence[P]) -> list[Field[P]]:
    """The columns that tell points apart."""
    noun = rank_noun(rows)
    named = len({row.point.device_name for row in rows if row.point.device == "cuda"} - {None}) > 1
    several = len({row.point.backend for row in rows}) > 1
    return [
        Field("backend", lambda row: row.point.backend, numeric=False),
        *([framework_field()] if several else []),
        Field("settings", lambda row: spell.variant(row.point), numeric=False, optional=True),
        *kernels_fields(rows),
        Field("device", lambda row: spell.device(row.point, named=named), numeric=False),
        Field(f"{noun}s", lambda row: spell.ranks(row.point)),
        Field(f"batch size per {noun}", lambda row: str(row.point.batch_size_per_gpu)),
    ]


def kernels_fields(rows: Sequence[P]) -> list[Field[P]]:
    """The column that says which kernels ran: where rows differ in it, or any is not what was asked for."""
    told = {row.point.kernels for row in rows}
    shown = len(told) > 1 or any(row.point.fell_back for row in rows)
    return [Field("kernels", lambda row: kernels_cell(row.point), numeric=False)] if shown else []


def kernels_cell(point: Point) -> Cell:
    """What ran; a row that was to run on native kernels and did not is marked, and a note says why."""
    if point.fell_back:
        return Cell("not native", note=f"kernels: {plain(point.kernels or '')}", tone="mixed")
    return Cell(plain(point.kernels or spell.NONE))


def framework_field() -> Field[P]:
    """The column that names frameworks, where backends tell theirs."""
    return Field("framework", lambda row: row.point.framework or spell.NONE, numeric=False, optional=True)


def arithmetic_fields() -> list[Field[P]]:
    """The columns of number formats and compilation."""
    return [
        Field("precision", lambda row: row.point.precision, numeric=False),
        Field("XLA", lambda row: spell.yes_no(row.point.xla), numeric=False, optional=True),
    ]


def training_table(rows: Sequence[TrainingRow]) -> Table:
    """Throughput of training, speed-up, scaling and what held it up."""
    noun = rank_noun(rows)
    accumulates = any(row.point.gradient_accumulation_steps > 1 for row in rows)
    fields: list[Field[TrainingRow]] = [
        *identity_fields(rows),
        Field("global batch size", lambda row: str(row.point.global_batch_size)),
        *([Field("effective batch size", lambda row: str(row.point.effective_batch_size))] if accumulates else []),
        Field("precision", lambda row: row.point.precision, numeric=False),
        Field("XLA", lambda row: spell.yes_no(row.point.xla), numeric=False),
        *throughput_fields(),
        *speedup_fields(rows),
        Field("weak-scaling factor T(N)/T(1)", lambda row: factor_cell(row.scaling.factor), measured=True),
        Field("efficiency, %", lambda row: spell.percent(row.scaling.efficiency), measured=True),
        Field("data wait, % of time", lambda row: spell.percent(row.data_wait_share), measured=True),
        compile_field(),
        Field(f"peak memory per {noun}, MiB", lambda row: spell.mebibytes(row.peak_memory_bytes), measured=True),
        *observed_fields(),
    ]
    caption = (
        f"Throughput is the images of all {noun}s over the longest {noun}'s timed window; median of the repeats, "
        "with lowest and highest in brackets. Speed-up compares equal batch sizes, and XLA with XLA; "
        f"weak scaling, equal batch sizes per {noun}."
    )
    return with_legend(make_table("training", ("Training performance", caption), rows, fields), rows)


def throughput_fields() -> list[Field[R]]:
    """The columns of throughput, and of what marks a row, where anything does."""
    return [
        Field("throughput, images/s", throughput_cell, measured=True),
        Field("marks", marks_cell, numeric=False, optional=True, measured=True, prose=True),
    ]


def marks_cell(row: TrainingRow | InferenceRow | EvaluationRow) -> Cell:
    """What telemetry marked in the trials of a row, in few words; a dash where nothing was sampled."""
    if row.observed is None:
        return Cell(spell.NONE)
    marks = spell_marks(row.observed.marks)
    return Cell(plain(marks), tone="mixed") if marks else Cell("none")


def with_legend(table: Table, rows: Sequence[R]) -> Table:
    """Say under a table what its kinds of marks mean."""
    kinds = [mark.kind for row in rows if row.observed for mark in row.observed.marks]
    return replace(table, legend=meanings(kinds))


def speedup_fields(rows: Sequence[S]) -> list[Field[S]]:
    """Over fp32, tf32, another batch size and by XLA, where anything ran that way; over fp32 if there is no tf32."""
    ok = [row for row in rows if row.point.ok]
    fields: list[Field[S]] = []
    tf32 = any(row.point.precision == "tf32" for row in ok)
    if not tf32 or any(row.point.precision == "fp32" for row in rows):
        fields.append(Field("speed-up vs fp32", lambda row: speedup_cell(row.speedup_vs_fp32), measured=True))
    if tf32:
        fields.append(Field("speed-up vs tf32", lambda row: speedup_cell(row.speedup_vs_tf32), measured=True))
    if any(row.speedup_across_batch_sizes for row in ok):
        fields.append(Field("speed-up across batch sizes", across_cell, measured=True))
    if any(row.point.xla for row in ok):
        fields.append(Field("speed-up by XLA", lambda row: xla_cell(row.speedup_of_xla), measured=True))
    return fields


def compile_field() -> Field[R]:
    """The column of compiling, where anything compiled."""
    return Field("compile, s", lambda row: compile_cell(row.compiling), optional=True, measured=True)


def inference_table(rows: Sequence[InferenceRow]) -> Table:
    """Throughput and latency of inference."""
    fields: list[Field[InferenceRow]] = [
        *identity_fields(rows),
        *arithmetic_fields(),
        *throughput_fields(),
        *speedup_fields(rows),
        compile_field(),
        Field("samples", lambda row: str(row.latency.samples) if row.latency else spell.NONE, measured=True),
        Field("latency mean, ms", latency_mean_cell, measured=True),
        *[latency_field(p) for p in PERCENTILES],
        *observed_fields(),
    ]
    caption = (
        "Latency is the time of one batch, device synchronised before and after. Percentiles are order statistics of "
        "the raw samples, with their 95 % interval in brackets where one exists; n<64: it takes 64 samples to say."
    )
    return with_legend(make_table("inference", ("Inference performance", caption), rows, fields), rows)


def latency_field(p: float) -> Field[InferenceRow]:
    """The column of one percentile."""
    return Field(f"p{p:g}, ms", lambda row: spell.percentile(row.latency, p), measured=True)


def throughput_cell(row: TrainingRow | InferenceRow | EvaluationRow) -> Cell:
    """Throughput; a note says what a reader must know of it, and marks, which have a column, set it off."""
    notes = [
        missing_note(row.point),
        compiling_note(row.compiling),
        *([] if isinstance(row, EvaluationRow) else [window_note(row.window), series_note(row.series, STEPS)]),
        *row.imported,
    ]
    told = "; ".join(plain(note) for note in notes if note)
    marked = row.observed is not None and bool(row.observed.marks)
    return Cell(spell.spread(row.throughput_images_per_s), note=told or None, tone="mixed" if marked else "")


def missing_note(point: Point) -> str | None:
    """Where only some trials of a point have numbers: how all ended, and why the first of the others has none."""
    if not point.ok or point.ok == sum(point.outcomes.values()):
        return None
    simulated = f" ({point.simulated} on a simulated device)" if point.simulated else ""
    reason = f": {shorten(point.reason)}" if point.reason else ""
    return f"{spell.counts(point.outcomes)}{simulated}{reason}"


def latency_mean_cell(row: InferenceRow) -> Cell:
    """The mean latency, with a note where samples are not independent of each other."""
    found = spell.optional(row.latency.mean_ms if row.latency else None)
    return Cell(found, note=series_note(row.series, [LATENCIES]))


def speedup_cell(value: Ratio) -> Cell:
    """A speed-up that names both precisions; without one, a note says why."""
    if value.value is None:
        own = value.of == value.to
        return Cell("baseline") if own else Cell(spell.NONE, note=f"{value.of} over {value.to}: {value.reason}")
    return Cell(f"{spell.ratio(value)} ({value.of.split()[0]} / {value.to.split()[0]})", note=value.caveat)


def across_cell(row: PerformanceRow) -> Cell:
    """A speed-up between unequal batch sizes; a note names both sides."""
    value = row.speedup_across_batch_sizes
    if value is None or value.value is None:
        return Cell(spell.NONE)
    caveat = f"; {value.caveat}" if value.caveat else ""
    return Cell(spell.ratio(value), note=f"{value.of} over {value.to}{caveat}")


def xla_cell(value: Ratio) -> Cell:
    """What XLA brings; without a number, a note says why."""
    if value.value is None:
        own = value.of == value.to
        return Cell("baseline") if own else Cell(spell.NONE, note=f"{value.of} over {value.to}: {value.reason}")
    return Cell(spell.ratio(value), note=value.caveat)


def compile_cell(value: Compiling | None) -> Cell:
    """Seconds of the steps that compiled, warm-up included."""
    return Cell(spell.NONE if value is None else spell.spread(value.spent_s))


def factor_cell(value: Ratio) -> Cell:
    """A weak-scaling factor; without one, a note says why."""
    note = f"{value.of} over {value.to}: {value.reason}" if value.value is None else value.caveat
    return Cell(spell.ratio(value), note=note)
