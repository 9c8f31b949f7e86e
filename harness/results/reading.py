"""One record file, and which there are: what cannot be read is said in one line, with what to do about it."""

from pathlib import Path

from pydantic import ValidationError

from harness.errors import StoreError
from harness.schema.result import VERSION, TrialResult


def listed(folder: Path, suffix: str) -> list[Path]:
    """The files of a folder that end so, by name; none where there is no such folder.

    Raises:
        StoreError: the system does not let us look: what is there is not known, so it must not count as nothing.
    """
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == suffix)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StoreError(f"cannot read {folder}: {error.strerror}") from error


def read_result(path: Path) -> TrialResult:
    """Read one record file.

    Raises:
        StoreError: unreadable, no record that this version reads, or that of another trial than its name says.
    """
    try:
        result = TrialResult.model_validate_json(path.read_bytes())
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    except ValidationError as error:
        raise StoreError(why_unreadable(path, error)) from error
    if result.trial_id != path.stem:
        raise StoreError(f"{path} is the record of {result.trial_id!r}; name it so, or move it out of the store")
    return result


def why_unreadable(path: Path, error: ValidationError) -> str:
    """What is wrong with a record file, and what to do about it, in one line."""
    first = error.errors()[0]
    if first["loc"] == ("schema_version",) and isinstance(first["input"], int) and first["input"] > VERSION:
        newer = f"schema_version {first['input']}, and this one reads up to {VERSION}"
        return f"{path} was written by a newer harness: {newer}; use that one, or another --results"
    what = f"is broken: {first['msg']}"
    if first["loc"]:
        what = f"is not a result of this version: {'.'.join(map(str, first['loc']))}: {first['msg']}"
    return f"{path} {what}; move it out of the store, and `harness run` runs its trial again"
