"""What came back: the records that travel from worker to runner to store."""

from datetime import datetime
from typing import Literal, get_args

from pydantic import Field

from harness.schema.measurement import Accuracy, Measurement, Window
from harness.schema.record import Record
from harness.schema.system import Machine, Provenance
from harness.schema.trial import Trial

OutcomeKind = Literal["ok", "unsupported", "out_of_memory", "timeout", "crashed", "diverged", "failed", "skipped"]
OUTCOME_KINDS: tuple[OutcomeKind, ...] = get_args(OutcomeKind)
BAD_OUTCOMES: frozenset[OutcomeKind] = frozenset({"failed", "crashed", "timeout"})


class Outcome(Record):
    """How a trial ended, with its evidence; every kind but ok has a reason."""

    kind: OutcomeKind
    reason: str | None = None
    exit_code: int | None = None
    signal: str | None = None
    log_tail: tuple[str, ...] = ()


class DataPaths(Record):
    """The resolved sets of a trial: a path of a COCO-format set, or a name that the data room makes up in memory."""

    train: str
    val: str


class Assignment(Record):
    """What the runner hands to a trial's workers, as one JSON file."""

    trial: Trial
    plugin: str
    """Where the backend's hooks are, as its entry point names it: module or module:attribute."""
    data: DataPaths
    scratch: str
    """A folder that all ranks of this trial see; each writes rank<N>.json into it."""
    weights: str | None = None
    """Where rank 0 leaves the trained weights."""


class RankRecord(Record):
    """What one rank reports."""

    rank: int
    outcome: Outcome
    windows: tuple[Window, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    accuracy: tuple[Accuracy, ...] = ()
    device_name: str | None = None
    peak_memory_bytes: int
    time_to_target_s: float | None = None
    settings: dict[str, str] = Field(default_factory=dict)
    """What the backend really used, in its own words: half type, kernels that ran, memory format."""


class TrialResult(Record):
    """The record that the store keeps: one file, never edited.

    History of schema_version: 1, first.
    """

    schema_version: Literal[1] = 1
    trial_id: str
    trial: Trial
    matrix_name: str
    outcome: Outcome
    windows: tuple[Window, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    accuracy: tuple[Accuracy, ...] = ()
    device_name: str | None = None
    peak_memory_bytes: tuple[int, ...] = ()
    """Peak resident memory by rank."""
    time_to_target_s: float | None = None
    settings: dict[str, str] = Field(default_factory=dict)
    weights: str | None = None
    started_at: datetime
    duration_s: float
    machine: Machine
    provenance: Provenance | None = None
