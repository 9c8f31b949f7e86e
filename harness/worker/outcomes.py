"""From an exception to the outcome that it stands for, with its cause."""

import errno
import resource
from collections.abc import Iterator

from harness.errors import (
    BackendError,
    BackendImportError,
    DataError,
    DeviceOutOfMemoryError,
    DivergedError,
    HarnessError,
    HookMismatchError,
    UnsupportedTrialError,
    WeightsError,
)
from harness.measure.memory_faults import memory_cause, not_memory
from harness.plugins import one_line
from harness.schema.causes import CAUSES, Cause
from harness.schema.result import OUTCOME_KINDS, Outcome, OutcomeKind

BY_TYPE: tuple[tuple[type[Exception], Cause], ...] = (
    (UnsupportedTrialError, "declined"),
    (DivergedError, "not_finite"),
    (DataError, "bad_data"),
    (WeightsError, "bad_weights"),
    (HookMismatchError, "wrong_hook"),
)
BY_ERRNO: dict[int, Cause] = {errno.ENOSPC: "no_space", errno.EDQUOT: "no_space", errno.EROFS: "read_only"}
KINDS: dict[Cause, OutcomeKind] = {cause: kind for kind in OUTCOME_KINDS for cause in CAUSES[kind]}
LIMITS = {"RLIMIT_AS": resource.RLIMIT_AS, "RLIMIT_DATA": resource.RLIMIT_DATA}


def outcome_of(error: Exception, plugin: str) -> Outcome:
    """The outcome that an exception stands for.

    Args:
        error: what a trial raised.
        plugin: where the backend is; a module of its own package that is missing is a mistake in it.
    """
    cause = cause_of(error, plugin.replace(":", ".").partition(".")[0])
    kind = KINDS[cause]
    named = isinstance(error, HarnessError) or not str(error).strip()
    reason = one_line(error) if named else f"{type(error).__name__}: {one_line(error)}"
    return Outcome(kind=kind, reason=reason, cause=cause, evidence=evidence_of(error, kind))


def cause_of(error: Exception, package: str) -> Cause:
    """What the exception, or one that it was raised from, says."""
    by_type = next((cause for base, cause in BY_TYPE if isinstance(error, base)), None)
    return by_type or resource_cause(error) or loading_cause(error, package) or "exception"


def resource_cause(error: Exception) -> Cause | None:
    """What the machine had none left of, if that is what it says: memory, or room on a disk."""
    chain = list(raised_from(error))
    for each in chain:
        if isinstance(each, OSError) and each.errno in BY_ERRNO:
            return BY_ERRNO[each.errno]
        if lacking := not_memory(str(each)):
            return "exception" if lacking == "Too many open files" else "no_space"
        if memory := memory_cause(full_name(each), str(each)):
            return memory
    return "backend_memory" if isinstance(error, DeviceOutOfMemoryError) else None


def loading_cause(error: Exception, package: str) -> Cause | None:
    """What went wrong with a module, the backend's or one that it imports, or else with the backend's promises."""
    origin = error.__cause__ if isinstance(error, BackendImportError) else error
    if isinstance(origin, ModuleNotFoundError):
        missing = (origin.name or "").partition(".")[0]
        return "import_error" if missing in {"", package} else "missing_package"
    if isinstance(origin, ImportError) or isinstance(error, BackendImportError):
        return "import_error"
    return "broken_seam" if isinstance(error, BackendError) else None


def raised_from(error: BaseException) -> Iterator[BaseException]:
    """The exception, and those that it was raised from; each once, since one may be raised from itself."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and not any(cause is each for each in seen):
        seen.append(cause)
        cause = cause.__cause__
    return iter(seen)


def full_name(error: BaseException) -> str:
    """The type's name as tracebacks have it."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def evidence_of(error: Exception, kind: OutcomeKind) -> tuple[str, ...]:
    """What it was raised from, and, where memory ran out, the limits of this process."""
    origin = list(raised_from(error))[-1]
    said = () if origin is error else (f"raised from {full_name(origin)}: {first_line(origin)}",)
    return said + (limits() if kind == "out_of_memory" else ())


def first_line(error: BaseException) -> str:
    """Of its message."""
    return str(error).strip().partition("\n")[0]


def limits() -> tuple[str, ...]:
    """The limits on this process's memory, where there are any."""
    soft = {name: resource.getrlimit(number)[0] for name, number in LIMITS.items()}
    return tuple(f"{name} is {value} bytes" for name, value in soft.items() if value != resource.RLIM_INFINITY)
