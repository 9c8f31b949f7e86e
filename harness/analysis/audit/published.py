"""Reads records of published figures: one YAML file, under `records` one mapping for each figure."""

from collections.abc import Hashable
from typing import Any

import yaml
from pydantic import ValidationError

from harness.analysis.audit.figures import (
    ACCURACY,
    ANY,
    LATENCY,
    SCALING,
    SPEEDUP,
    THROUGHPUT,
    TIME,
    TIME_SPEEDUP,
    Figure,
    Sheet,
    Unit,
)
from harness.analysis.audit.intervals import read_number
from harness.errors import AuditError
from harness.schema.record import Record

MOST_RECORDS = 20_000
UNITS: dict[str, Unit] = {
    "images/s": "images/s",
    "ms": "ms",
    "s": "s",
    "hours": "hours",
    "minutes": "minutes",
    "AP": "fraction",
    "AP_percent": "percent",
    "fraction": "fraction",
    "percent": "percent",
    "ratio": "ratio",
}
MEASURES = {
    "throughput": THROUGHPUT,
    "latency": LATENCY,
    "time_to_train": TIME,
    "speedup": SPEEDUP,
    "time_to_train_speedup": TIME_SPEEDUP,
    "weak_scaling": SCALING,
}
"""Words of the records for what checks reckon with; any other metric with the unit of an accuracy is one."""
WORDS = ("source", "system", "framework", "hardware", "mode")


class PublishedRecord(Record):
    """One published figure."""

    source: str | None = None
    """Revision of the document."""
    system: str
    framework: str | None = None
    hardware: str | None = None
    gpu_count: int | None = None
    batch_size_per_gpu: int | None = None
    precision: str | None = None
    """FP32, TF32, AMP; of a ratio both sides: AMP/TF32."""
    xla: bool | None = None
    mode: str | None = None
    metric: str
    value: float | bool | str
    unit: str
    statistic: str | None = None
    derived: bool = False
    table: str
    line: int | None = None
    published_text: str | int | float
    notes: str | None = None


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A safe loader that takes no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping; with one key twice it is an error, where YAML would keep the last."""
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(keys)) < len(keys):
            twice = next(key for index, key in enumerate(keys) if key in keys[:index])
            raise yaml.constructor.ConstructorError(None, None, f"key {twice!r} stands twice", node.start_mark)
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        return mapping


def read_published(text: str, name: str) -> Sheet:
    """The figures of a file of records that is known by `name`.

    Raises:
        AuditError: it is no YAML, or does not hold such records.
    """
    records = [parse_record(each, f"{name}: records[{index}]") for index, each in enumerate(listed(text, name))]
    figures = [figure for record in records if (figure := figure_of(record, name)) is not None]
    if not figures:
        raise AuditError(f"{name}: no record holds a number to check; throughput, latency or ratios would do")
    return Sheet(name, len({figure.table for figure in figures}), tuple(figures))


def listed(text: str, name: str) -> list[Any]:
    """What stands under `records`.

    Raises:
        AuditError: nothing does, or no list.
    """
    try:
        loaded = yaml.load(text, _Loader)  # noqa: S506  a safe loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}" if mark else name
        raise AuditError(f"{place}: not YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise AuditError(f"{name}: not YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise AuditError(f"{name}: nested too deeply; records are a list of flat mappings") from error
    records = loaded.get("records") if isinstance(loaded, dict) else None
    if not isinstance(records, list) or not records:
        raise AuditError(f"{name}: unknown layout; a file of figures has a list of them under records")
    if len(records) > MOST_RECORDS:
        raise AuditError(f"{name}: {len(records)} records; at most {MOST_RECORDS} are read")
    return records


def parse_record(raw: object, place: str) -> PublishedRecord:
    """One record, checked.

    Raises:
        AuditError: it is none.
    """
    try:
        return PublishedRecord.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][:1])
        raise AuditError(f"{place}{'.' if where else ''}{where}: {first['msg'].lower()}") from error


def figure_of(record: PublishedRecord, file: str) -> Figure | None:
    """The figure of a record; None for what is no measurement, such as whether a feature is there."""
    unit = UNITS.get(record.unit)
    found = read_number(str(record.published_text))
    if unit is None or found is None or isinstance(record.value, bool | str):
        return None
    measure = MEASURES.get(record.metric) or f"{ACCURACY} {record.metric}"
    point, against = point_of(record, measure)
    table = record.table if record.source is None else f"{record.source}: {record.table}"
    return Figure(
        file=file,
        table=f"{record.system}: {table}" if record.source is None else table,
        row=row_of(record),
        column=" ".join(word for word in (record.metric, record.statistic) if word),
        line=record.line,
        text=str(record.published_text),
        printed=found[0],
        measure=measure,
        statistic=record.statistic or "value",
        unit=unit,
        point=point,
        against=against,
        stored=record.value,
    )


def point_of(record: PublishedRecord, measure: str) -> tuple[dict[str, str], dict[str, str] | None]:
    """What was measured, and what is different on the other side of a ratio."""
    known = {
        "gpus": record.gpu_count,
        "batch": record.batch_size_per_gpu,
        "xla": record.xla,
        **{word: getattr(record, word) for word in WORDS},
    }
    point = {name: str(value) for name, value in known.items() if value is not None}
    top, _, bottom = (record.precision or "").partition("/")
    if top:
        point["precision"] = top.upper()
    if measure in (SPEEDUP, TIME_SPEEDUP):
        return point, {"precision": bottom.upper() or ANY}
    return point, {"gpus": "1"} if measure == SCALING else None


def row_of(record: PublishedRecord) -> str:
    """A row in words: 8 GPUs, batch 4, AMP, XLA, tf1.15, DGX-1."""
    words = (
        None if record.gpu_count is None else f"{record.gpu_count} GPU{'s' if record.gpu_count > 1 else ''}",
        None if record.batch_size_per_gpu is None else f"batch {record.batch_size_per_gpu}",
        record.precision,
        None if record.xla is None else "XLA" if record.xla else "no XLA",
        record.framework,
    )
    return ", ".join(word for word in words if word)
