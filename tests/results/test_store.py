"""The store keeps what it has, whatever happens."""

import hashlib
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
from math import isnan
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import demo_trial, result_of

from harness.errors import MissingStoreError, StoreError, StoreLockedError
from harness.results.store import Store, find, open_for_reading
from harness.schema.measurement import Measurement
from harness.schema.result import TrialResult


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    made = Store(tmp_path / "store")
    made.open()
    return made


def test_a_record_comes_back_as_it_was(store: Store) -> None:
    """What is committed is what is read."""
    result = result_of(demo_trial())
    store.commit(result)
    assert store.load(result.trial_id) == result
    assert store.done() == {result.trial_id}


@given(st.lists(st.floats(), max_size=5))
def test_any_float_survives_the_record(values: list[float]) -> None:
    """NaN and infinities are kept, to the bit of every other value."""
    series = Measurement(name="loss", unit="1", values=tuple(values))
    result = result_of(demo_trial(), measurements=(series,))
    back = TrialResult.model_validate_json(result.model_dump_json()).measurements[0].values
    assert [str(value) for value in back] == [str(value) for value in values]
    assert [isnan(value) for value in back] == [isnan(value) for value in values]


def test_an_unfinished_file_is_no_record(store: Store) -> None:
    """A file left by a writer that died is neither done nor read."""
    (store.trials / "half.tmp").write_text('{"schema_version": 1, "tri')
    assert store.done() == frozenset()
    assert store.load_all() == []


@pytest.mark.parametrize("saves", [True, False])
def test_a_record_of_version_1_is_read(store: Store, saves: bool) -> None:
    """It saved its weights under its id, or not at all."""
    trial = demo_trial(phase="train")
    old = json.loads(result_of(trial).model_dump_json())
    for field in ("weights_read", "probe", "rehearsal"):
        del old[field]
    for field in ("probe", "launcher", "rehearsal"):
        del old["trial"][field]
    old["schema_version"] = 1
    old["trial"]["save_weights"] = saves
    (store.trials / f"{trial.trial_id}.json").write_text(json.dumps(old))
    read = store.load(trial.trial_id)
    assert read.trial.save_weights == (trial.trial_id if saves else None)
    assert (read.schema_version, read.trial.options) == (3, trial.options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"schema_version": 4}', "was written by a newer harness: schema_version 4, and this one reads up to 3; use"),
        ('{"schema_version": 0}', "is not a result of this version: schema_version: Input should be 3; move it out"),
        ('{"schema_version": 3, "tri', "is broken: Invalid JSON: EOF while parsing a string"),
        ("", "is broken: Invalid JSON: EOF while parsing a value"),
        (result_of(demo_trial()).model_dump_json(), f"is the record of '{demo_trial().trial_id}'; name it so, or move"),
    ],
)
def test_a_broken_record_is_named(store: Store, text: str, message: str) -> None:
    """A file that is no record, or that of another trial, is named in one line that says what to do."""
    (store.trials / "odd.json").write_text(text)
    with pytest.raises(StoreError, match=rf"odd\.json {re.escape(message)}") as caught:
        store.load_all()
    assert "\n" not in str(caught.value)


def test_records_that_can_be_read_are_read_beside_broken_ones(store: Store) -> None:
    """Each broken one has its line; who wants all records is told how many there are."""
    sound = result_of(demo_trial())
    store.commit(sound)
    for name in ("odd", "other"):
        (store.trials / f"{name}.json").write_text("{")
    results, broken = store.load_sound()
    assert results == [sound]
    assert [str(error).partition(".json ")[0][-5:] for error in broken] == ["s/odd", "other"]
    assert store.load_sound("demo") == ([sound], [])
    with pytest.raises(StoreError, match=r"odd\.json is broken.*\(2 in all: `harness show .*` names them\)"):
        store.load_all()


def test_a_second_runner_is_refused_in_one_line(store: Store) -> None:
    """The lock names its holder, and is free again afterwards."""
    with store.locked(), pytest.raises(StoreLockedError, match=rf"process {os.getpid()}") as caught, store.locked():
        pytest.fail("two runners hold one store")
    assert "\n" not in str(caught.value)
    with store.locked():
        pass


def test_a_child_does_not_keep_the_lock(store: Store) -> None:
    """A process that outlives the runner does not hold its store."""
    with store.locked():
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        with store.locked():
            assert child.poll() is None
    finally:
        child.kill()
        child.wait()


def hold_and_die(folder: Path, ready: "multiprocessing.synchronize.Event") -> None:
    """Take the lock, say so, wait to be killed."""
    with Store(folder).locked():
        ready.set()
        signal.pause()


def test_the_lock_dies_with_its_holder(store: Store) -> None:
    """A kill -9 of a runner leaves a store that the next one can use."""
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=hold_and_die, args=(store.folder, ready))
    holder.start()
    assert ready.wait(30)
    holder.kill()
    holder.join()
    with store.locked():
        assert (store.folder / "lock").exists()


FILL = """
import resource, signal, sys
from pathlib import Path
from harness.errors import StoreError
from harness.results.store import Store
from records import demo_trial, result_of
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
try:
    Store(Path(sys.argv[1])).commit(result_of(demo_trial(seed=2)))
except StoreError as error:
    print(error)
"""


def test_a_full_disk_loses_nothing(store: Store) -> None:
    """A record that cannot be written leaves no trace, and those before it are safe."""
    before = result_of(demo_trial(seed=1))
    store.commit(before)
    run = subprocess.run(
        [sys.executable, "-c", FILL, str(store.folder)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    assert "the 1 trials recorded before are safe" in run.stdout
    assert run.stdout.count("\n") == 1
    assert [path.name for path in store.trials.iterdir()] == [f"{before.trial_id}.json"]


def test_a_superseded_record_is_kept_aside(store: Store) -> None:
    """Running a point again never destroys its earlier records."""
    result = result_of(demo_trial())
    for _ in range(2):
        store.commit(result)
        store.supersede(result.trial_id)
    assert store.done() == frozenset()
    assert len(list((store.folder / "superseded").iterdir())) == 2


def test_a_superseded_record_never_takes_the_place_of_another(store: Store) -> None:
    """Also where somebody has removed an earlier one: numbers go on from the last."""
    result = result_of(demo_trial())
    for _ in range(11):
        store.commit(result)
        store.supersede(result.trial_id)
    folder = store.folder / "superseded"
    (folder / f"{result.trial_id}.3.json").unlink()
    last = folder / f"{result.trial_id}.10.json"
    written = last.stat()
    store.commit(result)
    store.supersede(result.trial_id)
    assert last.stat() == written
    assert (folder / f"{result.trial_id}.11.json").exists()


def test_records_are_read_in_the_order_they_were_started(store: Store) -> None:
    """Not in the order of their names."""
    later = result_of(demo_trial(seed=1))
    earlier = result_of(demo_trial(seed=2), started_at=later.started_at.replace(year=2025))
    store.commit(later)
    store.commit(earlier)
    assert store.load_all() == [earlier, later]


def test_a_trial_is_found_by_the_beginning_or_end_of_its_name(store: Store) -> None:
    """What a person types is enough where it is unique."""
    results = [result_of(demo_trial(phase=phase)) for phase in ("train", "infer")]
    for result in results:
        store.commit(result)
    assert find(store, "demo-train") == results[0].trial_id
    assert find(store, results[1].trial_id[-6:]) == results[1].trial_id
    with pytest.raises(MissingStoreError, match="fits 2 trials"):
        find(store, "demo")
    with pytest.raises(MissingStoreError, match=r"no trial 'demo-trian'.*did you mean demo-train"):
        find(store, "demo-trian")


def test_a_folder_without_results_is_named(tmp_path: Path) -> None:
    """A reader says what would put results there."""
    with pytest.raises(MissingStoreError, match="holds no results; `harness run MATRIX"):
        open_for_reading(tmp_path)
    assert MissingStoreError.exit_code == 2
    (tmp_path / "file").write_text("")
    with pytest.raises(MissingStoreError, match="file is no folder; name the one"):
        open_for_reading(tmp_path / "file")


def test_a_place_that_cannot_be_looked_at_is_not_taken_for_empty() -> None:
    """What is there is not known, so a run must not begin anew and a reader must not say that there is nothing."""
    folder = Path("a" * 300)
    store = Store(folder)
    for look in (store.done, store.load_all, store.load_sound, store.weights_names, lambda: open_for_reading(folder)):
        with pytest.raises(StoreError, match=r"cannot read a.*: File name too long"):
            look()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A file where a folder should be."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot create the store"):
        Store(tmp_path / "file" / "store").open()


def test_a_matrix_is_kept_once_by_its_digest(store: Store) -> None:
    """Every byte, under the name that records have; keeping it again changes nothing, and nothing is left aside."""
    data = b"name: m\r\n# \xc3\xa9"
    path = store.keep_matrix(data)
    assert path == store.matrix(hashlib.sha256(data).hexdigest())
    written = path.stat()
    assert store.keep_matrix(data) == path
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    store.keep_matrix(b"name: other")
    assert len(list(path.parent.iterdir())) == 2
    assert path.read_bytes() == data


def test_a_matrix_that_cannot_be_kept_is_an_error(store: Store) -> None:
    """A file in the way of the folder: one line that says which."""
    (store.folder / "matrices").write_text("in the way")
    with pytest.raises(StoreError, match=r"cannot write .*matrices"):
        store.keep_matrix(b"name: m")
