"""The plan, carried out: every point gets exactly one committed record."""

import shutil
import signal
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, monotonic_ns

from harness.errors import StoreError
from harness.results.store import Store
from harness.runner.killers import Watch
from harness.runner.larger import Ceilings
from harness.runner.launchers import Launch, launch
from harness.runner.observer import Observer
from harness.runner.outcomes import judge
from harness.runner.progress import Estimates, Progress, varying_options
from harness.runner.weights import digests, keep_weights, resolved, why_without, with_names
from harness.runner.workers import Workers
from harness.schema.causes import Cause
from harness.schema.result import Assignment, DataPaths, Outcome, OutcomeKind, RankRecord, Rehearsal, TrialResult
from harness.schema.system import Machine, Provenance
from harness.schema.trial import DataNames, Launcher, Trial

WEIGHTS_FILE = "weights.safetensors"
"""In a trial's scratch folder, until all its ranks are well."""
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends a run in words; it waits while records are set aside."""
UNTRIED: frozenset[Cause | None] = frozenset({"excluded", "infeasible", "too_large"})
"""Why a point was declined, where that can change from run to run; what is missing of weights is looked at apart."""


@dataclass(frozen=True)
class Door:
    """How to reach one backend: its entry point's value, and what can start several ranks of it, the default first."""

    plugin: str
    launchers: tuple[Launcher, ...]


@dataclass(frozen=True)
class Task:
    """One point of the plan: a trial, and why it will not be tried, if so."""

    trial: Trial
    declined: Outcome | None = None
    stand_in: Trial | None = None
    """What runs in its place, in a rehearsal."""

    @property
    def work(self) -> Trial:
        """The trial that workers are given."""
        return self.stand_in or self.trial


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
    observer: Observer = field(default_factory=Observer)
    rehearsed: dict[str, TrialResult] = field(default_factory=dict)
    """By the id of the stand-in, a result that it gave."""
    begun_anew: bool = field(default=False, init=False)
    """Whether all that was to be done again has been set aside."""
    ceilings: Ceilings = field(init=False)
    """What ran out of memory, and so which points are not tried."""

    def __post_init__(self) -> None:
        self.ceilings = Ceilings(self.machine)

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
        with self.store.locked(), self.workers, self.observer:
            self.store.clear_scratch()
            savers = {task.trial.save_weights: task.trial.trial_id for task in tasks if task.trial.save_weights}
            recorded = self.recorded(tasks, redo)
            outcomes = {trial_id: outcome.kind for trial_id, outcome in recorded.items()}
            self.reopen(tasks, savers, outcomes)
            self.reopen_declined(tasks, recorded, outcomes)
            left = {task.trial.trial_id: task for task in tasks if task.trial.trial_id not in outcomes}
            varying = varying_options([task.trial for task in tasks])
            progress = Progress(total=len(tasks), varying=varying, finished=len(outcomes))
            if outcomes:
                progress.say(f"{len(outcomes)} of {len(tasks)} points are in {self.store.folder} already")
            for trial_id, task in list(left.items()):
                declined = (
                    task.declined
                    or why_without(task.trial, savers, outcomes, self.store)
                    or self.ceilings.why_not(task.trial)
                )
                outcomes[trial_id] = self.do(replace(task, declined=declined), left, progress)
                del left[trial_id]
        return Counter(outcomes.values())

    def recorded(self, tasks: Sequence[Task], redo: frozenset[OutcomeKind]) -> dict[str, Outcome]:
        """The outcomes that the store has of these points, less those to be done again."""
        wanted = {task.trial.trial_id for task in tasks}
        outcomes: dict[str, Outcome] = {}
        results = self.store.load_all()
        if redo:
            self.set_aside([each.trial_id for each in results if each.trial_id in wanted and each.outcome.kind in redo])
        for result in results:
            self.estimates.add(result)
            if result.rehearsal is not None and result.outcome.kind not in redo:
                self.rehearsed.setdefault(result.rehearsal.stand_in.trial_id, result)
            if result.trial_id in wanted and result.outcome.kind in redo:
                continue
            self.ceilings.add(result)
            if result.trial_id in wanted:
                outcomes[result.trial_id] = result.outcome
        return outcomes

    def set_aside(self, trial_ids: Sequence[str]) -> None:
        """Set records aside, all or none: half of them would leave a run that is neither the old nor a new one.

        Raises:
            StoreError: there is no room, or one cannot be moved.
        """
        self.store.require_room()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
        try:
            for trial_id in trial_ids:
                self.store.supersede(trial_id)
            self.begun_anew = True
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def reopen(self, tasks: Sequence[Task], savers: Mapping[str, str], outcomes: dict[str, OutcomeKind]) -> None:
        """Take points out of these outcomes that were skipped for want of weights which are there now or soon will."""
        for task in tasks:
            trial = task.trial
            names = trial.weights_read().values()
            if not names or task.declined is not None or outcomes.get(trial.trial_id) != "skipped":
                continue
            coming = any(name in savers and savers[name] not in outcomes for name in names)
            if coming or why_without(trial, savers, outcomes, self.store) is None:
                self.store.supersede(trial.trial_id)
                del outcomes[trial.trial_id]

    def reopen_declined(
        self, tasks: Sequence[Task], recorded: Mapping[str, Outcome], outcomes: dict[str, OutcomeKind]
    ) -> None:
        """Take points out of these outcomes that were never tried, where what held against them no longer does.

        A rule that the matrix has no more, a device that is here now, a smaller point's want of memory.
        """
        for task in tasks:
            trial_id = task.trial.trial_id
            cause = recorded[trial_id].cause if trial_id in outcomes else None
            too_large = cause == "too_large" and self.ceilings.why_not(task.trial) is not None
            if cause in UNTRIED and task.declined is None and not too_large:
                self.store.supersede(trial_id)
                del outcomes[trial_id]

    def do(self, task: Task, left: Mapping[str, Task], progress: Progress) -> OutcomeKind:
        """Run or decline one point, commit its record, return its outcome."""
        if task.declined is None:
            progress.start(task.trial, self.estimates.total(runnable(left, self.rehearsed)))
            result = self.run_trial(task.trial) if task.stand_in is None else self.rehearse(task.trial, task.stand_in)
        else:
            result = self.result(task.trial, task.declined, datetime.now(UTC), 0.0)
        self.store.commit(result)
        self.estimates.add(result)
        self.ceilings.add(result)
        progress.end(result)
        return result.outcome.kind

    def rehearse(self, trial: Trial, stand_in: Trial) -> TrialResult:
        """Run a stand-in once, for the first point that it stands for; further points get the same record at once."""
        known = self.rehearsed.get(stand_in.trial_id)
        result = known or self.run_trial(stand_in, rehearsal=True)
        run_for = trial.trial_id if known is None or known.rehearsal is None else known.rehearsal.run_for
        changes: dict[str, object] = {"duration_s": 0.0} if known else {}
        changes |= {"rehearsal": Rehearsal(stand_in=stand_in, run_for=run_for)}
        done = result.model_copy(update={"trial_id": trial.trial_id, "trial": trial, **changes})
        self.rehearsed.setdefault(stand_in.trial_id, done)
        return done

    def run_trial(self, trial: Trial, *, rehearsal: bool = False) -> TrialResult:
        """Start the workers, wait, and make one result of what they left."""
        scratch = self.store.scratch(trial.trial_id).resolve()
        log = self.store.log(trial.trial_id)
        told = resolved(trial, self.store)
        started_at, start, started_ns = datetime.now(UTC), monotonic(), monotonic_ns()
        try:
            weights_read = digests(told)
            log.unlink(missing_ok=True)
            launched = self.prepare_launch(told, scratch, rehearsal=rehearsal)
            if not rehearsal:
                self.observer.begin(trial, scratch)
            with Watch() as watch:
                ending = self.workers.run_contained(launched, log, trial.timeout_s)
                duration_s = monotonic() - start
                outcome, records = judge(trial, ending, scratch, log, watch)
            if outcome.kind == "ok" and trial.save_weights is not None:
                outcome = keep_weights(outcome, scratch / WEIGHTS_FILE, self.store.weights(trial.save_weights))
        except OSError as error:
            place = error.filename or self.store.folder
            raise StoreError(f"cannot run {trial.trial_id}: {error.strerror}: {place}; it is not recorded") from error
        if len(records) < trial.world_size or outcome.cause in {"no_space", "read_only"}:
            self.store.require_room()
        samples = self.store.samples(trial.trial_id)
        telemetry = None if rehearsal else self.observer.end(records, scratch, samples)
        shutil.rmtree(scratch, ignore_errors=True)
        result = self.result(trial, outcome, started_at, duration_s, records)
        settings = with_names(result.settings, trial, told)
        update = {"settings": settings, "weights_read": weights_read, "started_ns": started_ns}
        return result.model_copy(update=update | {"telemetry": telemetry})

    def prepare_launch(self, trial: Trial, scratch: Path, *, rehearsal: bool) -> Launch:
        """Leave the assignment of a trial's workers in its scratch folder; what to start for it."""
        path = scratch / "assignment.json"
        path.write_text(self.assignment(trial, scratch).model_dump_json(), encoding="utf-8")
        launcher = trial.launcher or self.doors[trial.backend].launchers[0]
        return launch(trial, launcher, path, rehearsal=rehearsal)

    def assignment(self, trial: Trial, scratch: Path) -> Assignment:
        """What the workers of a trial are told."""
        return Assignment(
            trial=trial,
            plugin=self.doors[trial.backend].plugin,
            data=self.data[trial.data],
            scratch=str(scratch),
            weights=None if trial.save_weights is None else str(scratch / WEIGHTS_FILE),
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
        saved = trial.save_weights if outcome.kind == "ok" else None
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
            settings=settings_of(records),
            timer=first.timer if first else None,
            weights=None if saved is None else str(self.store.weights(saved).relative_to(self.store.folder)),
            probe=first.probe if first else None,
            started_at=started_at,
            duration_s=duration_s,
            machine=self.machine,
            provenance=self.provenance.get(trial.backend),
        )


def settings_of(records: Sequence[RankRecord]) -> dict[str, str]:
    """What rank 0 says that it used; where another rank says otherwise, what each of them says."""
    found = {}
    for name, value in records[0].settings.items() if records else ():
        said = {record.rank: record.settings.get(name, "nothing") for record in records}
        alike = set(said.values()) == {value}
        found[name] = value if alike else "; ".join(f"rank {rank}: {each}" for rank, each in said.items())
    return found


def runnable(left: Mapping[str, Task], rehearsed: Collection[str] = ()) -> dict[str, Trial]:
    """The trials among these whose workers will run, by what they are given."""
    work = {task.work.trial_id: task.trial for task in left.values() if task.declined is None}
    return {trial_id: trial for trial_id, trial in work.items() if trial_id not in rehearsed}
