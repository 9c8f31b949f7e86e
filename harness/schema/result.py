"""What came back: the records that travel from worker to runner to store."""

from datetime import UTC, datetime
from typing import Any, Literal, Self, get_args

from pydantic import Field, model_validator

from harness.schema.causes import CAUSES, Cause
from harness.schema.measurement import Accuracy, Measurement, Probe, TimerCost, Window
from harness.schema.record import Record, Words
from harness.schema.system import Machine, Provenance
from harness.schema.telemetry import Telemetry
from harness.schema.trial import Trial

OutcomeKind = Literal["ok", "unsupported", "out_of_memory", "timeout", "crashed", "diverged", "failed", "skipped"]
OUTCOME_KINDS: tuple[OutcomeKind, ...] = get_args(OutcomeKind)
BAD_OUTCOMES: frozenset[OutcomeKind] = frozenset({"failed", "crashed", "timeout"})
VERSION: Literal[3] = 3
"""Of the records that are written; TrialResult has the history."""


class Outcome(Record):
    """How a trial ended, with its evidence; every kind but ok has a reason, and those of this version a cause."""

    kind: OutcomeKind
    reason: Words | None = None
    cause: Cause | None = None
    """What harness.schema.causes knows for this kind; None where the outcome is ok, and in older records."""
    exit_code: int | None = None
    signal: str | None = None
    peak_memory_bytes: int | None = None
    """Largest resident memory that one of its processes is known to have had; None where none is known."""
    evidence: tuple[Words, ...] = ()
    """What the cause was found by, a line each: the log's line, the counter that rose, the limit that was met."""
    log_tail: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _cause_of_its_kind(self) -> Self:
        if self.cause is not None and self.cause not in CAUSES[self.kind]:
            raise ValueError(f"{self.cause} is no cause of the outcome {self.kind}")
        return self


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
    """Where rank 0 leaves the trained weights; the runner moves them into the store once all ranks are well."""


class RankRecord(Record):
    """What one rank reports."""

    rank: int
    outcome: Outcome
    ended_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    windows: tuple[Window, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    accuracy: tuple[Accuracy, ...] = ()
    device_name: str | None = None
    peak_memory_bytes: int
    time_to_target_s: float | None = None
    timer: TimerCost | None = None
    settings: dict[str, Words] = Field(default_factory=dict)
    """What the backend really used, in its own words: half type, kernels that ran, memory format."""
    probe: Probe | None = None


class Rehearsal(Record):
    """What ran in the place of a trial that is only rehearsed."""

    stand_in: Trial
    run_for: str
    """Id of the trial whose workers made the record: this one, or an earlier one that had the same stand-in."""


class Imported(Record):
    """Where a result comes from that this harness did not measure."""

    format: Literal["dllogger"]
    file: str
    """Its name, without folders."""
    sha256: str
    timed_by: Literal["timestamps", "none"]
    """What its windows are made of: the time stamps of its lines, which no synchronisation backs, or nothing."""


class TrialResult(Record):
    """The record that the store keeps: one file, never edited.

    History of schema_version: 1, first. 2, weights are saved by name, those read are digested, launchers are chosen,
    trials rehearsed; a record of 1 is read as one that saved its weights under its id. 3, telemetry, what ended a
    window, what timing costs, causes of outcomes and more provenance; what older records lack is unknown in them.
    """

    schema_version: Literal[3] = VERSION
    trial_id: str
    trial: Trial
    rehearsal: Rehearsal | None = None
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
    timer: TimerCost | None = None
    """Of rank 0."""
    telemetry: Telemetry | None = None
    """What was sampled from outside while its windows ran; None where nothing was."""
    weights: str | None = None
    """The trained weights that it left, as a path in the store."""
    weights_read: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of each weights file that it was given, by the option that named it."""
    probe: Probe | None = None
    """Of rank 0."""
    imported: Imported | None = None
    """None for what was measured here."""
    started_at: datetime
    started_ns: int | None = None
    """The same moment on CLOCK_MONOTONIC, which spans of windows are on; None in older records."""
    duration_s: float
    machine: Machine
    provenance: Provenance | None = None

    @model_validator(mode="before")
    @classmethod
    def _lifted(cls, data: Any) -> Any:
        """A record of an older version as one of this."""
        if not isinstance(data, dict) or data.get("schema_version") not in {1, 2}:
            return data
        lifted = data | {"schema_version": VERSION}
        trial = data.get("trial")
        if data["schema_version"] == 1 and isinstance(trial, dict):
            saved = data.get("trial_id") if trial.get("save_weights") else None
            lifted["trial"] = trial | {"save_weights": saved}
        return lifted
