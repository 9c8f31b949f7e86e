"""DLLogger files, line by line: what a log says, nothing interpreted."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from harness.errors import ReportError
from harness.schema.trial import Phase

PREFIX = "DLLL "
DLLOGGER_PHASES: Mapping[Phase, str] = {"train": "train", "eval": "val", "infer": "infer"}
"""What metrics of a phase begin with."""
LARGEST_BYTES = 1 << 30
LONGEST_LINE = 1 << 20


@dataclass(frozen=True)
class StepLine:
    """The values of one step."""

    timestamp: float
    """Seconds since 1970."""
    epoch: int | None
    step: int
    data: dict[str, float]


@dataclass
class LogFile:
    """A DLLogger file: settings, units by metric, lines of steps, and the summary."""

    name: str
    sha256: str
    parameters: dict[str, Any] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    steps: list[StepLine] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    first_s: float = 0.0
    last_s: float = 0.0
    notes: list[str] = field(default_factory=list)


def read_log(path: Path) -> LogFile:
    """Read a file; lines that are not DLLogger's, as of a console, are passed over.

    Raises:
        ReportError: it cannot be read, is too large, or holds no line or a broken line of DLLogger.
    """
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise ReportError(f"{path} is larger than 1 GiB; right would be the log of one run")
        content = path.read_bytes()
    except OSError as error:
        raise ReportError(f"cannot read {path}: {error.strerror}") from error
    log = LogFile(path.name, sha256(content).hexdigest())
    times = [take(log, fields) for fields in entries(path, content, log)]
    if not times:
        raise ReportError(f"{path} holds no line of DLLogger; right would be lines that begin with {PREFIX!r}")
    log.first_s, log.last_s = min(times), max(times)
    return log


def entries(path: Path, content: bytes, log: LogFile) -> Iterator[dict[str, Any]]:
    """The objects of all lines; the last line may be torn, as a killed run leaves it.

    Raises:
        ReportError: another line is broken.
    """
    listed = content.decode(errors="replace").splitlines()
    for number, line in enumerate(listed, start=1):
        if not line.startswith(PREFIX):
            continue
        try:
            yield checked(line[len(PREFIX) :])
        except (ValueError, RecursionError) as error:
            if number == len(listed):
                log.notes.append(f"{path.name}: line {number}, the last, is torn and left out")
                return
            raise ReportError(f"{path}: line {number} is no line of DLLogger: {error}") from error


def checked(text: str) -> dict[str, Any]:
    """One object with a time stamp and a type.

    Raises:
        ValueError: it is none.
    """
    if len(text) > LONGEST_LINE:
        raise ValueError(f"{len(text)} characters; at most {LONGEST_LINE} are read")
    fields = json.loads(text)
    if not isinstance(fields, dict) or fields.get("type") not in {"LOG", "METADATA"}:
        raise ValueError("found no object of type LOG or METADATA")
    moment = float(fields.get("timestamp", "nan"))
    if not 0 <= moment < 1e11:
        raise ValueError(f"time stamp {fields.get('timestamp')!r}; right would be seconds since 1970")
    return {**fields, "timestamp": moment}


def take(log: LogFile, fields: dict[str, Any]) -> float:
    """Put one line where it belongs; return its time stamp."""
    moment: float = fields["timestamp"]
    if fields["type"] == "METADATA":
        unit = (fields.get("metadata") or {}).get("unit")
        if isinstance(unit, str):
            log.units[str(fields.get("metric"))] = unit
        return moment
    data = fields.get("data")
    known = data if isinstance(data, dict) else {}
    place = position(fields.get("step"))
    if fields.get("step") == "PARAMETER":
        log.parameters |= known
    elif place is None:
        log.summary |= known
    else:
        numbers = {name: float(value) for name, value in known.items() if is_number(value)}
        log.steps.append(StepLine(moment, *place, numbers))
    return moment


def position(step: object) -> tuple[int | None, int] | None:
    """Epoch and step of a line; None of a summary, of an epoch as a whole, or of steps within an evaluation."""
    if is_whole(step):
        return None, int(str(step))
    if isinstance(step, list) and len(step) == 2 and all(map(is_whole, step)):
        return int(step[0]), int(step[1])
    return None


def is_whole(value: object) -> bool:
    """Whether it is a step's number."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_number(value: object) -> bool:
    """Whether a value is a finite number, not text such as `0.1 (0.2)`, whose meaning differs from log to log."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value - value == 0
