"""The store: a folder with one committed file per trial; what is there is done, so resuming needs no other memory.

results/NAME/
    trials/TRIAL_ID.json     committed: written aside, flushed to the disk, renamed
    matrices/SHA256.yaml     every matrix file that was run, byte for byte, by the digest that records name it by
    superseded/              records that a later attempt replaced
    logs/TRIAL_ID.log        what the workers printed
    telemetry/TRIAL_ID.jsonl.gz
                             raw samples of the machine (harness/measure/telemetry/recording.py); those of a record that
                             was superseded as number N are TRIAL_ID.N.jsonl.gz
    weights/NAME.safetensors trained weights, by the name under which a trial saves them
    scratch/TRIAL_ID/        of the trial in flight; removed afterwards
    lock                     held by the one runner
A reader needs no lock: it sees whole records only.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

from harness.errors import MissingStoreError, StoreError, StoreLockedError
from harness.results.reading import listed, read_result
from harness.schema.result import TrialResult

ROOM_BYTES = 1 << 16
"""As much as a record of some hundred steps takes."""


class Store:
    """The results of one matrix. Reading needs no lock; writing is for the runner that holds `locked()`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trials = folder / "trials"

    def open(self) -> None:
        """Create the folders.

        Raises:
            StoreError: the place cannot be written.
        """
        try:
            for folder in (self.trials, *(self.folder / name for name in ("logs", "scratch", "weights"))):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot create the store {self.folder}: {error.strerror}") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the store's lock; the kernel frees it when this process dies, and no child inherits it.

        Raises:
            StoreLockedError: another runner holds it.
            StoreError: it cannot be written.
        """
        path = self.folder / "lock"
        with writing(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
                raise StoreLockedError(
                    f"{self.folder} is in use by another runner (process {holder}); wait for it or use --results"
                ) from error
            with writing(path):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def scratch(self, trial_id: str) -> Path:
        """An empty folder for the trial that is about to run.

        Raises:
            StoreError: it cannot be made.
        """
        folder = self.folder / "scratch" / trial_id
        shutil.rmtree(folder, ignore_errors=True)
        with writing(folder):
            folder.mkdir(parents=True)
        return folder

    def clear_scratch(self) -> None:
        """Remove what interrupted trials left.

        Raises:
            StoreError: the place cannot be written.
        """
        folder = self.folder / "scratch"
        with writing(folder):
            shutil.rmtree(folder)
            folder.mkdir()

    def require_room(self) -> None:
        """See whether records can still be written, after a trial that left none.

        Raises:
            StoreError: the file system is full or read-only; the trial is to run again once that is put right.
        """
        probe = self.folder / "scratch" / "room"
        with writing(probe):
            try:
                write_flushed(probe, probe.with_suffix(".tmp"), bytes(ROOM_BYTES))
            finally:
                probe.unlink(missing_ok=True)

    def log(self, trial_id: str) -> Path:
        """Where the workers of this trial write what they print."""
        return self.folder / "logs" / f"{trial_id}.log"

    def samples(self, trial_id: str) -> Path:
        """Where the raw samples of this trial's telemetry are."""
        return self.folder / "telemetry" / f"{trial_id}.jsonl.gz"

    def weights(self, name: str) -> Path:
        """Where weights of this name are."""
        return self.folder / "weights" / f"{name}.safetensors"

    def weights_names(self) -> frozenset[str]:
        """The names of all weights that are there.

        Raises:
            StoreError: the system does not let us look.
        """
        return frozenset(path.stem for path in listed(self.folder / "weights", ".safetensors"))

    def done(self) -> frozenset[str]:
        """The trial ids that have a committed record.

        Raises:
            StoreError: the system does not let us look.
        """
        return frozenset(path.stem for path in listed(self.trials, ".json"))

    def matrix(self, sha256: str) -> Path:
        """Where the matrix file of this digest is kept."""
        return self.folder / "matrices" / f"{sha256}.yaml"

    def keep_matrix(self, data: bytes) -> Path:
        """Keep a matrix file, once whatever it is called; needs no lock, since equal names have equal contents.

        Raises:
            StoreError: it cannot be written.
        """
        path = self.matrix(hashlib.sha256(data).hexdigest())
        try:
            path.parent.mkdir(exist_ok=True)
            if not path.exists():
                write_flushed(path, path.with_suffix(f".{os.getpid()}.tmp"), data)
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror}") from error
        return path

    def commit(self, result: TrialResult) -> None:
        """Write one record so that it is there whole or not at all, also after a power cut.

        Raises:
            StoreError: it cannot be written; nothing that was there is lost.
        """
        path = self.trials / f"{result.trial_id}.json"
        try:
            write_flushed(path, path.with_suffix(".tmp"), result.model_dump_json(indent=1).encode())
        except OSError as error:
            raise StoreError(
                f"cannot write {path}: {error.strerror}; the {len(self.done())} trials recorded before are safe"
            ) from error

    def supersede(self, trial_id: str) -> None:
        """Move a record aside, so that its trial runs again.

        Raises:
            StoreError: it cannot be moved.
        """
        with writing(self.folder / "superseded"):
            self._supersede(trial_id)

    def _supersede(self, trial_id: str) -> None:
        folder = self.folder / "superseded"
        folder.mkdir(exist_ok=True)
        taken = {path.name.removeprefix(f"{trial_id}.").removesuffix(".json") for path in listed(folder, ".json")}
        number = max((int(each) for each in taken if each.isdecimal()), default=-1) + 1
        if (samples := self.samples(trial_id)).exists():
            samples.replace(self.samples(f"{trial_id}.{number}"))
        (self.trials / f"{trial_id}.json").replace(folder / f"{trial_id}.{number}.json")

    def load(self, trial_id: str) -> TrialResult:
        """Read one record.

        Raises:
            StoreError: there is none, or it cannot be read.
        """
        return read_result(self.trials / f"{trial_id}.json")

    def load_all(self) -> list[TrialResult]:
        """Read all records in the order in which they were started.

        Raises:
            StoreError: a file is no record that this version reads; a table without its row would be wrong.
        """
        results, broken = self.load_sound()
        if broken:
            others = f" ({len(broken)} in all: `harness show {self.folder}` names them)" if len(broken) > 1 else ""
            raise StoreError(f"{broken[0]}{others}")
        return results

    def load_sound(self, beginning: str = "") -> tuple[list[TrialResult], list[StoreError]]:
        """Read the records that can be read, in the order in which they were started; and what is wrong with the rest.

        Args:
            beginning: of the ids of the trials that are wanted.

        Raises:
            StoreError: the system does not let us look.
        """
        results: list[TrialResult] = []
        broken: list[StoreError] = []
        for path in listed(self.trials, ".json"):
            if not path.name.startswith(beginning):
                continue
            try:
                results.append(read_result(path))
            except StoreError as error:
                broken.append(error)
        return sorted(results, key=lambda result: (result.started_at, result.trial_id)), broken


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say in one line what could not be written, and why.

    Raises:
        StoreError: the system refused.
    """
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}; what is recorded is safe") from error


def open_for_reading(folder: Path) -> Store:
    """A store that exists.

    Raises:
        MissingStoreError: the folder holds no store, or an empty one.
        StoreError: the system does not let us look.
    """
    store = Store(folder)
    try:
        if folder.exists() and not folder.is_dir():
            raise MissingStoreError(f"{folder} is no folder; name the one that `harness run` wrote its results to")
        if not store.trials.is_dir():
            raise MissingStoreError(f"{folder} holds no results; `harness run MATRIX --results {folder}` writes some")
    except OSError as error:
        raise StoreError(f"cannot read {folder}: {error.strerror}") from error
    if not store.done():
        raise MissingStoreError(f"{folder} holds no finished trial yet")
    return store


def find(store: Store, name: str) -> str:
    """The one trial whose id is this name, begins or ends with it.

    Raises:
        MissingStoreError: none is, or more than one.
    """
    ids = sorted(store.done())
    if name in ids:
        return name
    found = [trial_id for trial_id in ids if trial_id.startswith(name) or trial_id.endswith(name)]
    if len(found) == 1:
        return found[0]
    if not found:
        near = get_close_matches(name, ids, n=1, cutoff=0.3)
        hint = f"; did you mean {near[0]}" if near else ""
        raise MissingStoreError(f"no trial {name!r} in {store.folder}{hint}")
    raise MissingStoreError(f"{name!r} fits {len(found)} trials in {store.folder}, such as {found[0]} and {found[1]}")


def write_flushed(path: Path, aside: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all.

    Raises:
        OSError: it cannot be written; what was there still is.
    """
    try:
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        flush_folder(path.parent)
    except OSError:
        aside.unlink(missing_ok=True)
        raise


def flush_folder(folder: Path) -> None:
    """Make a rename in this folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
