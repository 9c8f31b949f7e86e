"""From the records of the ranks and the ending of their processes to one outcome."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from harness.runner.process import Ending
from harness.schema.result import Outcome, RankRecord
from harness.schema.trial import Trial
from harness.units import format_duration

LOG_TAIL_LINES = 20
LOG_TAIL_BYTES = 8192


def read_ranks(scratch: Path, world_size: int) -> list[RankRecord]:
    """The records that the ranks left; a rank that died left none."""
    paths = [scratch / f"rank{rank}.json" for rank in range(world_size)]
    return [RankRecord.model_validate_json(path.read_bytes()) for path in paths if path.exists()]


def read_ranks_or_none(scratch: Path, world_size: int) -> tuple[list[RankRecord], str | None]:
    """As `read_ranks`; records that cannot be read are a fault of the trial, named in one line."""
    try:
        return read_ranks(scratch, world_size), None
    except ValidationError as error:
        first = error.errors()[0]
        return [], f"a rank's record is malformed: {'.'.join(map(str, first['loc']))}: {first['msg']}"


def judge(trial: Trial, ending: Ending, records: Sequence[RankRecord], log: Path) -> Outcome:
    """The outcome of a trial. A rank's own account comes before what its death looks like from outside.

    The first rank that failed tells why; others fail for want of it.
    """
    if ending.timed_out:
        return with_evidence("timeout", f"not done after {format_duration(trial.timeout_s)}", ending, log)
    for record in sorted(records, key=lambda record: record.ended_at):
        if record.outcome.kind == "unsupported":
            return record.outcome
        if record.outcome.kind != "ok":
            where = f"rank {record.rank}: " if trial.world_size > 1 else ""
            return with_evidence(record.outcome.kind, f"{where}{record.outcome.reason}", ending, log)
    return judge_silent(trial.world_size - len(records), ending, log)


def judge_silent(missing: int, ending: Ending, log: Path) -> Outcome:
    """The outcome where no rank tells of a failure; `missing` ranks left no record."""
    if ending.lost is not None:
        return with_evidence("crashed", ending.lost, ending, log)
    if ending.signal is not None:
        return with_evidence("crashed", f"killed by {ending.signal}", ending, log)
    if ending.exit_code != 0:
        return with_evidence("crashed", f"exit code {ending.exit_code} without a result", ending, log)
    if missing:
        return with_evidence("failed", f"exit code 0, but {missing} of the workers left no result", ending, log)
    return Outcome(kind="ok")


def with_evidence(kind: str, reason: str, ending: Ending, log: Path) -> Outcome:
    """An outcome with what a person needs to understand it."""
    return Outcome.model_validate(
        {
            "kind": kind,
            "reason": reason,
            "exit_code": ending.exit_code,
            "signal": ending.signal,
            "log_tail": log_tail(log),
        }
    )


def log_tail(log: Path) -> tuple[str, ...]:
    """The last lines that the workers printed."""
    if not log.exists():
        return ()
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_TAIL_BYTES))
        return tuple(file.read().decode(errors="replace").splitlines()[-LOG_TAIL_LINES:])
