"""The command that runs one trial of a store again, as lines for a shell; what to know about it stands as comments."""

import hashlib
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.analysis.comparable_facts import differences, facts
from harness.errors import ReportError
from harness.report.text import plain
from harness.results.store import Store
from harness.schema.result import TrialResult
from harness.schema.system import Machine, Provenance
from harness.schema.trial import STORE_PREFIX, Trial

CATALOGUE = ("synthetic", "coco-mini", "coco2017/", "coco2014/")
"""What names of data sets that are no paths begin with."""
SET_BY_COMMAND = "provenance.environment."
CODE = ("provenance.harness_", "provenance.backend_", "provenance.git_", "provenance.kernels.")
"""Fields in which two results may differ, and a replay should not."""


@dataclass(frozen=True)
class Here:
    """Where a replay would run: this machine, this installation, and what stands in its way, a line each."""

    machine: Machine
    provenance: Provenance
    problems: Sequence[str] = ()


@dataclass(frozen=True)
class Weights:
    """What brings the weights that a trial reads from its store: files to copy, trials to run before, and remarks."""

    copied: tuple[Path, ...] = ()
    savers: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def kept_matrix(result: TrialResult, store: Store) -> Path:
    """The copy of the matrix file that a trial was run from.

    Raises:
        ReportError: the record names none, or the store has lost or changed it.
    """
    refusal = f"{plain(result.trial_id)} cannot be replayed"
    if result.imported is not None:
        raise ReportError(f"{refusal}: it was not run here but read from the log {plain(result.imported.file)}")
    source = result.provenance
    how = f"the command was {plain(' '.join(source.command))}" if source else "nor how it was run"
    if source is None or source.matrix_sha256 is None:
        raise ReportError(f"{refusal}: its record names no copy of its matrix; {how}")
    digest = source.matrix_sha256
    path = store.matrix(digest)
    try:
        data = path.read_bytes()
    except OSError as error:
        lost = f"the store has lost its matrix: {plain(str(path))}: {error.strerror}"
        raise ReportError(f"{refusal}: {lost}; {how}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise ReportError(f"{refusal}: {plain(str(path))} was changed; its SHA-256 is {found}, not that of its name")
    return path


def replay(result: TrialResult, store: Store, here: Here, program: Sequence[str], results: Path) -> str:
    """The lines: remarks as comments, then one command over several lines, joined by &&.

    Args:
        result: of the trial; `kept_matrix` has found its matrix.
        store: that it is in.
        here: where it would run.
        program: the words that start the harness.
        results: where the replay leaves its record.

    Raises:
        ReportError: a word of the command cannot be shown on one line of a terminal.
    """
    weights = weights_of(result, store)
    folder = folder_of(result)
    remarks = [*told(result, here), *weights.remarks]
    steps: list[list[str]] = []
    if folder is not None and not folder.is_dir():
        remarks.append(f"relative paths begin in {folder}, which is not here; run this where they fit")
    elif folder is not None:
        steps.append(["cd", str(folder)])
    if weights.copied:
        place = results / "weights"
        steps += [["mkdir", "-p", str(place)], ["cp", *map(str, weights.copied), f"{place}/"]]
    steps.append([*environment(result, here), *program, *arguments(result, store, weights.savers, results)])
    spelled = [words_of(step, result) for step in steps]
    return "\n".join([*(f"# {plain(remark)}" for remark in remarks), " &&\n".join(spelled)])


def words_of(step: Iterable[str], result: TrialResult) -> str:
    """One command as a shell reads it."""
    text = shlex.join(step)
    if not text.isprintable():
        raise ReportError(f"{plain(result.trial_id)} cannot be replayed: not to be shown on a line: {plain(text)}")
    return text


def arguments(result: TrialResult, store: Store, savers: Sequence[str], results: Path) -> list[str]:
    """What `harness run` is told: the matrix that was kept, these trials of it, and what the command line had said.

    A time-out is for all that run: that of the trial, or of one that must run before it and may take longer.
    """
    timeout_s = max(each.trial.timeout_s for each in (result, *map(store.load, savers)))
    rehearsed = ["--rehearse"] if result.trial.rehearsal else []
    return [
        *("run", str(kept_matrix(result, store).absolute())),
        *("--only", f"trial_id={','.join((*savers, result.trial_id))}"),
        *("--results", str(results)),
        *("--timeout", f"{timeout_s:g}"),
        *rehearsed,
    ]


def environment(result: TrialResult, here: Here) -> list[str]:
    """The switches of the record, set; those that are set here alone, unset."""
    recorded = result.provenance.environment if result.provenance else {}
    unset = [word for name in here.provenance.environment if name not in recorded for word in ("-u", name)]
    given = [f"{name}={value}" for name, value in recorded.items()]
    return ["env", *unset, *given] if unset or given else []


def told(result: TrialResult, here: Here) -> Iterator[str]:
    """What a replay is of, and where this place is another than that of the record."""
    yield f"{result.trial_id}, which ran on {result.machine.hostname} at {result.started_at:%Y-%m-%d %H:%M %Z}"
    if result.outcome.kind != "ok":
        yield f"its outcome was {result.outcome.kind}: {result.outcome.reason or 'no reason recorded'}"
    yield from here.problems
    now = result.model_copy(update={"machine": here.machine, "provenance": here.provenance})
    for each in differences([facts(result)], [facts(now)], ()):
        if matters(each.field, each.standing):
            yield f"differs here: {each.field} was {each.base or 'unknown'} and is {each.other or 'unknown'}"


def matters(field: str, standing: str) -> bool:
    """Whether a difference may change what a replay gives, as far as the command does not take care of it."""
    if field.startswith((SET_BY_COMMAND, "provenance.data_fingerprints.")):
        return False
    return standing == "blocks" or field.startswith(CODE)


def folder_of(result: TrialResult) -> Path | None:
    """Where relative paths of the trial begin; None where it has none or the record does not say."""
    folder = result.provenance.working_directory if result.provenance else None
    if folder is None or not any(map(relative, paths_of(result.trial, result.weights_read))):
        return None
    return Path(folder).expanduser()


def paths_of(trial: Trial, weights_read: Mapping[str, str]) -> Iterator[str]:
    """The names in a trial that are paths: of data sets, of weights files, and whatever looks like one."""
    yield from (name for name in (trial.data.train, trial.data.val) if not name.startswith(CATALOGUE))
    texts = {name: value for name, value in trial.options.items() if isinstance(value, str)}
    for name, value in texts.items():
        if not value.startswith(STORE_PREFIX) and (name in weights_read or "/" in value):
            yield value


def relative(path: str) -> bool:
    """Whether a path depends on the working directory."""
    return not path.startswith(("/", "~"))


def weights_of(result: TrialResult, store: Store) -> Weights:
    """How a replay comes by the weights that its trial reads by name, and whether files of weights are the same."""
    copied: dict[Path, None] = {}
    savers: dict[str, None] = {}
    remarks = [*changed_files(result)]
    for option, name in result.trial.weights_read().items():
        path = store.weights(name)
        if path.is_file():
            copied[path.absolute()] = None
            remarks += unlike(f"weights {name} of this store", path, result.weights_read.get(option))
            continue
        chain = saving(name, store.load_sound()[0])
        savers |= dict.fromkeys(chain)
        remarks.append(
            f"weights {name} are not in this store: {', '.join(chain)} makes them anew"
            if chain
            else f"weights {name} are not in this store, and no trial of it saves them"
        )
    return Weights(tuple(copied), tuple(savers), tuple(remarks))


def saving(name: str, results: Sequence[TrialResult]) -> list[str]:
    """The trials that lead to weights of this name, first things first; none where no trial saves it."""
    savers = {each.trial.save_weights: each.trial for each in results if each.trial.save_weights is not None}
    chain: list[str] = []
    wanted: str | None = name
    while wanted in savers and savers[wanted].trial_id not in chain:
        trial = savers[wanted]
        chain.insert(0, trial.trial_id)
        wanted = next(iter(trial.weights_read().values()), None)
    return chain


def changed_files(result: TrialResult) -> Iterator[str]:
    """Remarks on weights that were read from files outside the store."""
    folder = Path((result.provenance and result.provenance.working_directory) or ".").expanduser()
    for option, digest in result.weights_read.items():
        value = result.trial.options.get(option)
        if isinstance(value, str) and not value.startswith(STORE_PREFIX):
            yield from unlike(f"{option} {value}", folder / Path(value).expanduser(), digest)


def unlike(what: str, path: Path, digest: str | None) -> list[str]:
    """A remark where a file is not there or is not the one that was read."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return [f"{what} cannot be read: {error.strerror}"]
    return [] if digest in {None, found} else [f"{what} is not the file that was read: its SHA-256 was {digest}"]
