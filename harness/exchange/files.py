"""Folders of logs out of a store, and logs into one."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from harness.analysis.simulated import why_simulated
from harness.errors import ReportError
from harness.exchange import dllogger, mllog
from harness.exchange.dllogger_import import Told, imported
from harness.exchange.dllogger_lines import read_log
from harness.results.store import Store
from harness.schema.result import TrialResult

Format = Literal["mllog", "dllogger"]
SUFFIX: dict[Format, str] = {"mllog": ".log", "dllogger": ".json"}


def export(
    results: Sequence[TrialResult], form: Format, folder: Path, submission: mllog.Submission
) -> tuple[int, list[str]]:
    """Write one log for each trial into a new folder.

    Returns:
        How many were written, and of the others why not.

    Raises:
        ReportError: the folder exists, cannot be written, or no trial can be exported.
    """
    texts: dict[str, str] = {}
    left_out: list[str] = []
    for result in results:
        if reason := "a rehearsal" if result.trial.rehearsal else why_simulated(result):
            left_out.append(f"{result.trial_id}: {reason}: its numbers measure nothing")
            continue
        try:
            lines = mllog.lines(result, submission) if form == "mllog" else dllogger.lines(result)
            texts[result.trial_id + SUFFIX[form]] = "".join(f"{line}\n" for line in lines)
        except ReportError as error:
            left_out.append(str(error))
    if not texts:
        raise ReportError(f"none of {len(results)} trials can be exported: {left_out[0]}")
    try:
        folder.mkdir(parents=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except FileExistsError as error:
        raise ReportError(f"{folder} exists; right would be a folder that does not") from error
    except OSError as error:
        raise ReportError(f"cannot write {folder}: {error.strerror}") from error
    return len(texts), left_out


def import_logs(paths: Sequence[Path], told: Told, folder: Path) -> Iterator[str]:
    """Commit a record for each log, and say so in a line; all are read before the first is committed.

    Raises:
        ReportError: a log cannot be understood, is given twice, or its record is there already.
        StoreError: a record cannot be written.
    """
    logs = [read_log(path) for path in paths]
    digests = [log.sha256 for log in logs]
    if twice := next((log for place, log in enumerate(logs) if log.sha256 in digests[:place]), None):
        raise ReportError(f"{twice.name} is given twice; right would be one file for each run")
    results = [imported(log, told, repeat) for repeat, log in enumerate(logs)]
    store = Store(folder)
    store.open()
    with store.locked():
        there = store.done() & {result.trial_id for result in results}
        if there:
            raise ReportError(f"{folder} has {min(there)} already; right would be another --results")
        for log, result in zip(logs, results, strict=True):
            store.commit(result)
            windows = "a window by its time stamps" if result.windows else "no window, so no throughput"
            yield f"{log.name}: {result.trial_id}: {windows}; {len(result.measurements)} series"
            yield from (f"note: {note}" for note in log.notes)
