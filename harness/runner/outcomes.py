"""From the records of the ranks and the ending of their processes to one outcome."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.measure.memory_faults import Fault, faults, memory_cause
from harness.runner.killers import Verdict, Watch
from harness.runner.process import Ending
from harness.schema.causes import Cause, MemoryCause
from harness.schema.result import Outcome, OutcomeKind, RankRecord
from harness.schema.trial import Trial
from harness.units import format_duration

LOG_TAIL_LINES = 20
LOG_TAIL_BYTES = 8192
SEARCHED_BYTES = 1 << 18
"""Of the end of a log: a C++ abort prints its message before a stack of some hundred lines for each rank."""

FROM_ELSEWHERE = frozenset({"SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGXCPU"})
OWN_FAULT = frozenset({"SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE"})
"""Signals that no other rank's end brings about; SIGABRT may be a framework's answer to one."""
TORCHRUN_KILLED = re.compile(r"exitcode\s*: -9 |Signal 9 \(SIGKILL\) received by PID")
"""How torchrun, whose own exit code is always 1, tells of a rank that was killed."""
NO_ROOM = re.compile(r"\[Errno (28|30|122)\] ")
"""ENOSPC, EROFS and EDQUOT, as Python spells them."""


@dataclass(frozen=True)
class Traces:
    """What a trial left behind."""

    trial: Trial
    ending: Ending
    records: Sequence[RankRecord]
    log: Path
    watch: Watch
    """Of the kernel's killer, since the trial began."""

    @property
    def missing(self) -> int:
        """How many ranks left no record."""
        return self.trial.world_size - len(self.records)

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """The end of the log, as far as it is searched."""
        return last_lines(self.log, SEARCHED_BYTES)

    @cached_property
    def faults(self) -> tuple[Fault, ...]:
        """The ends of tracebacks and processes that the log tells of."""
        return tuple(faults(self.lines))

    @cached_property
    def verdict(self) -> Verdict:
        """Who killed what was killed."""
        return self.watch.verdict()


def read_ranks(scratch: Path, world_size: int) -> list[RankRecord]:
    """The records that the ranks left; a rank that died left none."""
    paths = [scratch / f"rank{rank}.json" for rank in range(world_size)]
    return [RankRecord.model_validate_json(path.read_bytes()) for path in paths if path.exists()]


def judge(trial: Trial, ending: Ending, scratch: Path, log: Path, watch: Watch) -> tuple[Outcome, list[RankRecord]]:
    """The outcome of a trial, and the records that its ranks left in their scratch folder.

    A record that cannot be read is a fault of the trial, named in one line.
    """
    try:
        records = read_ranks(scratch, trial.world_size)
    except ValidationError as error:
        traces = Traces(trial, ending, [], log, watch)
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        reason = f"a rank's record is malformed: {f'{where}: ' if where else ''}{first['msg']}"
        return ended(traces, "failed", "malformed_record", reason), []
    return judge_traces(Traces(trial, ending, records, log, watch)), records


def judge_traces(traces: Traces) -> Outcome:
    """A rank's own account comes before what its death looks like from outside, and the earliest before the others.

    But ranks fail for want of one that died; so a rank that left no record while there is proof that it died of memory,
    or of a fault of its own, is the reason.
    """
    told = told_by_ranks(traces)
    if traces.ending.timed_out:
        return timed_out(traces, told)
    if told is not None and told.kind != "failed":
        return told
    if traces.missing:
        found = died_of_memory(traces)
        if found is None and told is not None and traces.ending.signal in OWN_FAULT:
            found = judge_silent(traces)
        if found is not None:
            return found
    return told or judge_silent(traces)


def told_by_ranks(traces: Traces) -> Outcome | None:
    """What the first rank that failed says."""
    for record in sorted(traces.records, key=lambda record: record.ended_at):
        said = record.outcome
        if said.kind == "unsupported":
            return said
        if said.kind != "ok":
            where = f"rank {record.rank}: " if traces.trial.world_size > 1 else ""
            return ended(traces, said.kind, said.cause, f"{where}{said.reason}", said.evidence)
    return None


def timed_out(traces: Traces, told: Outcome | None) -> Outcome:
    """What is known of a trial whose time was over; a rank that failed before, and told why, is the reason."""
    evidence = [f"killed after {format_duration(traces.trial.timeout_s)}, as timeout_s says"]
    if traces.lines:
        silent_s = datetime.now(UTC).timestamp() - traces.log.stat().st_mtime
        evidence.append(f"its last output was {format_duration(max(0.0, silent_s))} before the end")
    if traces.records:
        evidence.append(f"{len(traces.records)} of {traces.trial.world_size} ranks had left a record")
    if told is not None and told.kind != "unsupported":
        return told.model_copy(update={"evidence": (*told.evidence, *evidence)})
    reason = f"not done after {format_duration(traces.trial.timeout_s)}"
    return ended(traces, "timeout", "time_limit", reason, evidence)


def died_of_memory(traces: Traces) -> Outcome | None:
    """The outcome of a trial of which one rank died of memory and could not say so."""
    if was_killed(traces) and (verdict := traces.verdict).cause is not None:
        return ended(traces, "out_of_memory", verdict.cause, verdict.reason, verdict.evidence)
    for fault in credible(traces):
        cause = memory_cause(fault.type, fault.message)
        if cause is not None:
            return ended(traces, "out_of_memory", cause, fault.first_line, [f"log: {fault.first_line}"])
    return None


def was_killed(traces: Traces) -> bool:
    """Whether a rank, or what had started it, ended by SIGKILL."""
    if traces.ending.signal == "SIGKILL" or "SIGKILL" in (traces.ending.lost or ""):
        return True
    return any(TORCHRUN_KILLED.search(line) for line in traces.lines)


def credible(traces: Traces) -> tuple[Fault, ...]:
    """The faults in the log that may be what the processes ended with.

    An exception that nothing caught ends Python with exit code 1, and its traceback is the last; a C++ exception and a
    fatal line end a process by SIGABRT. Where ranks share a log and a launcher's exit code, each may be some rank's.
    """
    if traces.trial.world_size > 1:
        return traces.faults
    if traces.ending.signal == "SIGABRT":
        return tuple(fault for fault in traces.faults if fault.form != "traceback")[-1:]
    return tuple(fault for fault in traces.faults[-1:] if traces.ending.exit_code == 1)


def judge_silent(traces: Traces) -> Outcome:
    """The outcome where no rank tells of a failure and memory is not to blame."""
    ending, missing = traces.ending, traces.missing
    said = [f"log: {fault.first_line}" for fault in credible(traces)[-1:]]
    if ending.lost is not None:
        return ended(traces, "crashed", "not_started", ending.lost, said)
    if ending.signal is not None:
        elsewhere = ending.signal in FROM_ELSEWHERE
        evidence = traces.verdict.evidence if ending.signal == "SIGKILL" else said
        return ended(traces, "crashed", "killed" if elsewhere else "fault", f"killed by {ending.signal}", evidence)
    full = next((found[1] for line in said if (found := NO_ROOM.search(line))), None)
    if full is not None:
        return ended(traces, "failed", "read_only" if full == "30" else "no_space", said[0], said)
    if ending.exit_code != 0:
        return ended(traces, "crashed", "exit_code", f"exit code {ending.exit_code} without a result", said)
    if missing:
        reason = f"exit code 0, but {missing} of the workers left no result"
        return ended(traces, "failed", "no_record", reason)
    return Outcome(kind="ok", peak_memory_bytes=peak(traces))


def ended(
    traces: Traces, kind: OutcomeKind, cause: Cause | MemoryCause | None, reason: str, evidence: Sequence[str] = ()
) -> Outcome:
    """An outcome with what a person needs to understand it."""
    fields: dict[str, Any] = {
        "kind": kind,
        "cause": cause,
        "reason": reason,
        "exit_code": traces.ending.exit_code,
        "signal": traces.ending.signal,
        "peak_memory_bytes": peak(traces),
        "evidence": tuple(evidence),
        "log_tail": last_lines(traces.log, LOG_TAIL_BYTES)[-LOG_TAIL_LINES:],
    }
    return Outcome(**fields)


def peak(traces: Traces) -> int | None:
    """The largest resident memory that one of the processes is known to have had."""
    known = [record.peak_memory_bytes for record in traces.records]
    if traces.ending.peak_memory_bytes is not None:
        known.append(traces.ending.peak_memory_bytes)
    return max(known, default=None)


def last_lines(log: Path, size: int) -> tuple[str, ...]:
    """The lines in the last so many bytes that the workers printed."""
    if not log.exists():
        return ()
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - size))
        return tuple(file.read().decode(errors="replace").splitlines())
