"""From what a trial left to its outcome, where a real process would be too much to ask for."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from pydantic import ValidationError
from records import demo_trial

from harness.errors import BackendError, BackendImportError, DataError, DeviceOutOfMemoryError, HookMismatchError
from harness.measure.oom_killer import Counters, Group
from harness.runner.killers import judge_kill
from harness.runner.outcomes import Traces, judge_traces
from harness.runner.process import Ending
from harness.schema.causes import CAUSES, Cause
from harness.schema.result import OUTCOME_KINDS, Outcome, RankRecord
from harness.worker.outcomes import outcome_of

DOCS = Path(__file__).parents[2] / "docs" / "outcomes.md"
ASKED = "CUDA out of memory. Tried to allocate 20.00 MiB"
ABORT = f"terminate called after throwing an instance of 'c10::OutOfMemoryError'\n  what():  {ASKED}\nframe #0: x\n"
TRACEBACK = "Traceback (most recent call last):\n  File 'x'\n"
NOBODY = SimpleNamespace(verdict=lambda: judge_kill(counters(0), counters(0), ()))
KILLER = SimpleNamespace(verdict=lambda: judge_kill(counters(0), counters(1), ()))


def counters(
    kills: int | None, at_limit: int | None = 0, machine: int | None = 5, limit: int | None = None
) -> Counters:
    """Counters of a group in a group."""
    return Counters((Group("/a/b", kills, 0, None), Group("/a", kills, at_limit, limit)), machine)


def traces(log: Path, text: str, ending: Ending, watch: Any = NOBODY, **changes: Any) -> Traces:
    """What a trial left: its log, its ending, the counters; `records` by rank."""
    log.write_text(text)
    records = changes.pop("records", [])
    return Traces(demo_trial(**changes), ending, records, log, watch)


def record(rank: int, after_s: float = 0.0, **outcome: Any) -> RankRecord:
    """A rank's account of itself."""
    ended_at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=after_s)
    return RankRecord(rank=rank, outcome=Outcome(**outcome), ended_at=ended_at, peak_memory_bytes=rank + 1)


def ending(exit_code: int | None = None, signal: str | None = None, **fields: Any) -> Ending:
    """How the processes ended."""
    return Ending(exit_code, signal, timed_out=False, **fields)


def test_every_cause_has_its_kind_and_its_line_in_the_documentation() -> None:
    """The closed set is told in one place, and that is what the page says."""
    assert set(CAUSES) == set(OUTCOME_KINDS)
    listed = [cause for causes in CAUSES.values() for cause in causes]
    assert sorted(listed) == sorted(set(listed)) == sorted(get_args(Cause))
    page = " ".join(DOCS.read_text().split())
    for kind, causes in CAUSES.items():
        for cause, meaning in causes.items():
            assert f"| `{kind}` | `{cause}` | {meaning} |" in page


def test_a_cause_of_another_kind_is_refused() -> None:
    """A record that says so is malformed."""
    with pytest.raises(ValidationError, match="oom_killer is no cause of the outcome failed"):
        Outcome(kind="failed", cause="oom_killer", reason="x")


LIMIT = 300 << 20


@pytest.mark.parametrize(
    ("before", "after", "kernel", "cause", "says"),
    [
        (counters(0), counters(0), (), None, "so the kernel did not kill it"),
        (counters(0, machine=5), counters(0, machine=6), (), None, "so the kernel did not kill it"),
        (counters(0), counters(1), (), "oom_killer", "oom_kill of control group /a/b: 0 before the trial, 1 after it"),
        (
            counters(2, 1),
            counters(3, 2, limit=LIMIT),
            (),
            "cgroup_limit",
            "control group /a was at its limit of 300.0 M",
        ),
        (Counters((), 5), Counters((), 6), (), "oom_killer", "oom_kill of the machine: 5 before the trial, 6 after it"),
        (Counters((), 5), Counters((), 5), (), None, "oom_kill of the machine: 5"),
        (Counters((), None), Counters((), None), (), None, "is unknown"),
        (counters(None), counters(None, machine=6), (), "oom_killer", "oom_kill of the machine: 5"),
        (
            counters(0),
            counters(1),
            ("oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),oom_memcg=/a,task_memcg=/a/b,task=python,pid=9",),
            "cgroup_limit",
            "control group /a was at its limit",
        ),
        (
            counters(0),
            counters(1, 1),
            ("oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),global_oom,task_memcg=/a/b,task=python,pid=9,uid=0",),
            "oom_killer",
            "kernel log: oom-kill:constraint=CONSTRAINT_NONE",
        ),
    ],
)
def test_who_killed_a_worker_is_told_by_counters(
    before: Counters, after: Counters, kernel: tuple[str, ...], cause: str | None, says: str
) -> None:
    """Our own group's first, then the machine's; the kernel's log says whose limit it was, where it can be read."""
    verdict = judge_kill(before, after, kernel)
    assert verdict.cause == cause
    assert says in "\n".join(verdict.evidence)


@pytest.mark.parametrize(
    ("text", "how", "watch", "expected"),
    [
        (ABORT, ending(signal="SIGABRT"), NOBODY, ("out_of_memory", "cuda_memory")),
        (ABORT, ending(signal="SIGSEGV"), NOBODY, ("crashed", "fault")),
        (f"{ABORT}{ABORT.replace(ASKED, 'no')}", ending(signal="SIGABRT"), NOBODY, ("out_of_memory", "cuda_memory")),
        (f"{TRACEBACK}MemoryError\n", ending(1), NOBODY, ("out_of_memory", "process_memory")),
        (f"{TRACEBACK}MemoryError\n", ending(7), NOBODY, ("crashed", "exit_code")),
        (f"{TRACEBACK}MemoryError\n{TRACEBACK}ValueError: x\n", ending(1), NOBODY, ("crashed", "exit_code")),
        (f"{TRACEBACK}OSError: [Errno 28] No space left: 'x'\n", ending(1), NOBODY, ("failed", "no_space")),
        (f"{TRACEBACK}OSError: [Errno 30] Read-only file system: 'x'\n", ending(1), NOBODY, ("failed", "read_only")),
        ("", ending(signal="SIGKILL"), KILLER, ("out_of_memory", "oom_killer")),
        ("", ending(signal="SIGKILL"), NOBODY, ("crashed", "killed")),
        ("", ending(signal="SIGTERM"), KILLER, ("crashed", "killed")),
        (
            "",
            ending(lost="the process that starts workers ended, killed by SIGKILL"),
            KILLER,
            ("out_of_memory", "oom_killer"),
        ),
        ("", ending(lost="the process that starts workers ended, exit code 1"), KILLER, ("crashed", "not_started")),
        ("", ending(7), KILLER, ("crashed", "exit_code")),
    ],
)
def test_a_worker_that_could_say_nothing_is_judged_by_its_end_and_its_log(
    tmp_path: Path, text: str, how: Ending, watch: Any, expected: tuple[str, str]
) -> None:
    """A message counts only where it may be what the process ended with."""
    outcome = judge_traces(traces(tmp_path / "log", text, how, watch))
    assert (outcome.kind, outcome.cause) == expected


def test_ranks_that_fail_for_want_of_one_that_died_of_memory_are_not_the_reason(tmp_path: Path) -> None:
    """Told by the log, by the counters, by torchrun's words, or by the signal of the first to end."""
    closed = record(0, kind="failed", cause="exception", reason="RuntimeError: Connection closed by peer")
    two: dict[str, Any] = {"gpus": 2, "records": [closed]}

    def judged(text: str, how: Ending, watch: Any = NOBODY) -> tuple[str, str | None]:
        outcome = judge_traces(traces(tmp_path / "log", text, how, watch, **two))
        return outcome.kind, outcome.cause

    lost = f"{TRACEBACK}RuntimeError: Connection closed by peer\n"
    torchrun = "  exitcode  : -9 (pid: 77)\n"
    assert judged(ABORT + lost, ending(1)) == ("out_of_memory", "cuda_memory")
    assert judged(lost, ending(signal="SIGKILL"), KILLER) == ("out_of_memory", "oom_killer")
    assert judged(lost + torchrun, ending(1), KILLER) == ("out_of_memory", "oom_killer")
    assert judged(lost, ending(1), KILLER) == ("failed", "exception")
    assert judged(lost, ending(signal="SIGSEGV")) == ("crashed", "fault")
    assert judged(lost, ending(signal="SIGABRT")) == ("failed", "exception")


def test_the_first_rank_that_failed_tells_why_and_the_largest_memory_is_kept(tmp_path: Path) -> None:
    """Its cause and evidence are the trial's."""
    records = [
        record(0, 2.0, kind="failed", cause="exception", reason="lost rank 1"),
        record(1, 1.0, kind="out_of_memory", cause="cuda_memory", reason=ASKED, evidence=("raised from x",)),
    ]
    outcome = judge_traces(traces(tmp_path / "log", "", ending(1, peak_memory_bytes=50), gpus=2, records=records))
    assert (outcome.kind, outcome.cause, outcome.reason) == ("out_of_memory", "cuda_memory", f"rank 1: {ASKED}")
    assert outcome.evidence == ("raised from x",)
    assert outcome.peak_memory_bytes == 50


def test_a_rank_that_failed_before_the_time_was_over_is_the_reason(tmp_path: Path) -> None:
    """A worker that told why it failed and then hung, as libraries do on leaving, is no mere time-out."""
    over = Ending(None, None, timed_out=True)
    failed = record(0, kind="out_of_memory", cause="cuda_memory", reason=ASKED, evidence=("raised from x",))
    outcome = judge_traces(traces(tmp_path / "log", "", over, gpus=2, records=[failed]))
    assert (outcome.kind, outcome.cause, outcome.reason) == ("out_of_memory", "cuda_memory", f"rank 0: {ASKED}")
    assert outcome.evidence[:2] == ("raised from x", "killed after 30 s, as timeout_s says")
    well = judge_traces(traces(tmp_path / "log", "", over, gpus=2, records=[record(0, kind="ok")]))
    assert (well.kind, well.cause) == ("timeout", "time_limit")


def test_an_exception_without_a_message_is_named_once() -> None:
    """Not `MemoryError: MemoryError`."""
    assert outcome_of(MemoryError(), "mine").reason == "MemoryError"
    assert outcome_of(ValueError("x"), "mine").reason == "ValueError: x"


def test_what_is_not_known_of_memory_is_none(tmp_path: Path) -> None:
    """Not zero."""
    assert judge_traces(traces(tmp_path / "log", "", ending(7))).peak_memory_bytes is None


def raised(error: Exception, origin: Exception) -> Exception:
    """An exception that was raised from another."""
    error.__cause__ = origin
    return error


class ResourceExhaustedError(Exception):
    """As TensorFlow's."""


ResourceExhaustedError.__module__ = "tensorflow.python.framework.errors_impl"
DISK = ResourceExhaustedError("ckpt/x; No space left on device [Op:SaveV2]")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (DeviceOutOfMemoryError("no memory left"), ("out_of_memory", "backend_memory")),
        (DeviceOutOfMemoryError(ASKED), ("out_of_memory", "cuda_memory")),
        (raised(DeviceOutOfMemoryError("x"), ResourceExhaustedError("x")), ("out_of_memory", "tensorflow_memory")),
        (raised(DeviceOutOfMemoryError(str(DISK)), DISK), ("failed", "no_space")),
        (
            raised(DeviceOutOfMemoryError("x"), ResourceExhaustedError("a; Too many open files")),
            ("failed", "exception"),
        ),
        (RuntimeError("CUDA error: out of memory"), ("out_of_memory", "cuda_memory")),
        (MemoryError("x"), ("out_of_memory", "process_memory")),
        (OSError(12, "Cannot allocate memory"), ("out_of_memory", "process_memory")),
        (OSError(28, "No space left on device"), ("failed", "no_space")),
        (OSError(30, "Read-only file system"), ("failed", "read_only")),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), ("failed", "missing_package")),
        (ModuleNotFoundError("No module named 'mine.x'", name="mine.x"), ("failed", "import_error")),
        (ImportError("libcudart.so.13"), ("failed", "import_error")),
        (
            raised(BackendImportError("x"), ModuleNotFoundError("y", name="tensorflow.keras")),
            ("failed", "missing_package"),
        ),
        (raised(BackendImportError("x"), SyntaxError("y")), ("failed", "import_error")),
        (HookMismatchError("x"), ("failed", "wrong_hook")),
        (BackendError("synchronize() returned before the device was done"), ("failed", "broken_seam")),
        (DataError("no such set"), ("failed", "bad_data")),
        (ValueError("about memory: out of memory"), ("failed", "exception")),
    ],
)
def test_an_exception_is_one_cause(error: Exception, expected: tuple[str, str]) -> None:
    """By its type, by what it was raised from, and by its words only where they are a framework's own."""
    outcome = outcome_of(error, "mine.plugin:Backend")
    assert (outcome.kind, outcome.cause) == expected
    assert outcome.reason


def test_an_exception_that_was_raised_from_itself_has_an_outcome() -> None:
    """Python allows it, alone and in a ring; the worker must not look for its origin for ever."""
    alone, one, two = ValueError("alone"), ValueError("one"), ValueError("two")
    alone.__cause__, one.__cause__, two.__cause__ = alone, two, one
    assert [outcome_of(error, "mine").reason for error in (alone, one)] == ["ValueError: alone", "ValueError: one"]
