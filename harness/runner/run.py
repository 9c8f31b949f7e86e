"""The plan, carried out: every point gets exactly one committed record."""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from harness.errors import StoreError
from harness.results.store import Store
from harness.runner.launchers import launch
from harness.runner.outcomes import judge, read_ranks_or_none, with_evidence
from harness.runner.progress import Estimates, Progress, varying_options
from harness.runner.workers import Workers
from harness.schema.backend import Launcher
from harness.schema.result import Assignment, DataPaths, Outcome, OutcomeKind, RankRecord, TrialResult
from harness.schema.system import Machine, Provenance
from harness.schema.trial import DataNames, Trial


@dataclass(frozen=True)
class Door:
    """How to reach one backend: its entry point's value and its launcher for more than one rank."""

    plugin: str
    launcher: Launcher


@dataclass(frozen=True)
class Task:
    """One point of the plan: a trial, and why it will not be tried, if so."""

    trial: Trial
    declined: Outcome | None = None


@dataclass
class Run:
    """One `harness run`: what all its trials share."""

    matrix_name: str
    store: Store
    doors: Mapping[str, Door]
    data: Mapping[DataNames, DataPaths]
    machine: Machine
    provenance: Mapping[str, Provenance]
    """By backend."""
    estimates: Estimates = field(default_factory=Estimates)
    workers: Workers = field(default_factory=Workers)

    def carry_out(self, tasks: Sequence[Task], redo: frozenset[OutcomeKind] = frozenset()) -> Counter[OutcomeKind]:
        """Run what the store does not have, in order, and count the outcomes of all points.

        Args:
            tasks: the points of the plan.
            redo: recorded points with one of these outcomes run again; their old records are kept aside.

        Raises:
            StoreLockedError: another runner is at work on this store.
            StoreError: a record cannot be written; what was recorded before is safe.
            KeyboardInterrupt: after the trial in flight is gone; its point runs again next time.
        """
        self.store.open()
        with self.store.locked(), self.workers:
            self.store.clear_scratch()
            outcomes = self.recorded(tasks, redo)
            left = {task.trial.trial_id: task for task in tasks if task.trial.trial_id not in outcomes}
            varying = varying_options([task.trial for task in tasks])
            progress = Progress(total=len(tasks), varying=varying, finished=len(outcomes))
            if outcomes:
                progress.say(f"{len(outcomes)} of {len(tasks)} points are in {self.store.folder} already")
            for trial_id, task in list(left.items()):
                outcomes[trial_id] = self.do(task, left, progress)
                del left[trial_id]
        return Counter(outcomes.values())

    def recorded(self, tasks: Sequence[Task], redo: frozenset[OutcomeKind]) -> dict[str, OutcomeKind]:
        """The outcomes that the store has of these points, less those to be done again."""
        wanted = {task.trial.trial_id for task in tasks}
        outcomes: dict[str, OutcomeKind] = {}
        for result in self.store.load_all():
            self.estimates.add(result)
            if result.trial_id not in wanted:
                continue
            if result.outcome.kind in redo:
                self.store.supersede(result.trial_id)
            else:
                outcomes[result.trial_id] = result.outcome.kind
        return outcomes

    def do(self, task: Task, left: Mapping[str, Task], progress: Progress) -> OutcomeKind:
        """Run or decline one point, commit its record, return its outcome."""
        if task.declined is None:
            progress.start(task.trial, self.estimates.total(runnable(left)))
            result = self.run_trial(task.trial)
        else:
            result = self.result(task.trial, task.declined, datetime.now(UTC), 0.0)
        self.store.commit(result)
        self.estimates.add(result)
        progress.end(result)
        return result.outcome.kind

    def run_trial(self, trial: Trial) -> TrialResult:
        """Start the workers, wait, and make one result of what they left."""
        scratch = self.store.scratch(trial.trial_id).resolve()
        assignment = scratch / "assignment.json"
        log = self.store.log(trial.trial_id)
        started_at, start = datetime.now(UTC), monotonic()
        try:
            assignment.write_text(self.assignment(trial, scratch).model_dump_json(), encoding="utf-8")
            log.unlink(missing_ok=True)
            launched = launch(trial, self.doors[trial.backend].launcher, assignment)
            ending = self.workers.run_contained(launched, log, trial.timeout_s)
        except OSError as error:
            raise StoreError(f"cannot run {trial.trial_id}: {error.strerror}: {error.filename}") from error
        duration_s = monotonic() - start
        records, malformed = read_ranks_or_none(scratch, trial.world_size)
        outcome = with_evidence("failed", malformed, ending, log) if malformed else judge(trial, ending, records, log)
        shutil.rmtree(scratch, ignore_errors=True)
        return self.result(trial, outcome, started_at, duration_s, records)

    def assignment(self, trial: Trial, scratch: Path) -> Assignment:
        """What the workers of a trial are told."""
        weights = self.store.weights(trial.trial_id) if trial.save_weights else None
        return Assignment(
            trial=trial,
            plugin=self.doors[trial.backend].plugin,
            data=self.data[trial.data],
            scratch=str(scratch),
            weights=None if weights is None else str(weights.resolve()),
        )

    def result(
        self,
        trial: Trial,
        outcome: Outcome,
        started_at: datetime,
        duration_s: float,
        records: Sequence[RankRecord] = (),
    ) -> TrialResult:
        """One record from what all ranks left; rank 0 speaks for what they share."""
        first = records[0] if records else None
        return TrialResult(
            trial_id=trial.trial_id,
            trial=trial,
            matrix_name=self.matrix_name,
            outcome=outcome,
            windows=tuple(window for record in records for window in record.windows),
            measurements=tuple(series for record in records for series in record.measurements),
            accuracy=first.accuracy if first else (),
            device_name=first.device_name if first else None,
            peak_memory_bytes=tuple(record.peak_memory_bytes for record in records),
            time_to_target_s=first.time_to_target_s if first else None,
            settings=first.settings if first else {},
            weights=f"weights/{trial.trial_id}.safetensors" if trial.save_weights and outcome.kind == "ok" else None,
            started_at=started_at,
            duration_s=duration_s,
            machine=self.machine,
            provenance=self.provenance.get(trial.backend),
        )


def runnable(left: Mapping[str, Task]) -> dict[str, Trial]:
    """The trials among these that will be tried."""
    return {trial_id: task.trial for trial_id, task in left.items() if task.declined is None}
