"""The command that runs a trial again: what it says, what it sets, what it warns of."""

import hashlib
import json
import os
import shlex
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_results import MACHINE, PROVENANCE, make_result

from harness.errors import ReportError
from harness.report.replay import Here, kept_matrix, replay
from harness.results.store import Store
from harness.schema.result import Imported, Outcome
from harness.schema.system import Cpu, Machine, Provenance
from harness.schema.trial import DataNames

MATRIX = b"name: demo\n"
DIGEST = hashlib.sha256(MATRIX).hexdigest()
KEPT = PROVENANCE.model_copy(update={"matrix_sha256": DIGEST, "working_directory": "/absent/folder"})
SYNTHETIC = DataNames(train="synthetic", val="synthetic")
PROGRAM = ("harness",)


@pytest.fixture
def store(tmp_path):
    """A store that keeps the matrix."""
    made = Store(tmp_path / "a store")
    made.open()
    made.keep_matrix(MATRIX)
    return made


def printed(result, store, machine=MACHINE, provenance=KEPT, problems=()):
    """Remarks and words of a replay."""
    text = replay(result, store, Here(machine, provenance, problems), PROGRAM, store.folder.parent / "new store")
    lines = text.splitlines()
    remarks = [line.removeprefix("# ") for line in lines if line.startswith("# ")]
    return remarks, shlex.split("\n".join(line for line in lines if not line.startswith("# ")))


def test_the_command_names_matrix_trial_store_and_timeout(store):
    """Switches are set, and the only remark says what it is."""
    result = make_result(provenance=KEPT, data=SYNTHETIC, timeout_s=12.5)
    remarks, words = printed(result, store)
    assert remarks == [f"{result.trial_id}, which ran on node-1 at 2026-03-01 09:30 UTC"]
    assert words == [
        *("env", "OMP_NUM_THREADS=1", "harness", "run", str(store.matrix(DIGEST))),
        *("--only", f"trial_id={result.trial_id}", "--results", str(store.folder.parent / "new store")),
        *("--timeout", "12.5"),
    ]


def test_a_rehearsed_trial_is_rehearsed(store):
    """Else its id would fit no point."""
    real = make_result(provenance=KEPT, data=SYNTHETIC)
    trial = real.trial.model_copy(update={"rehearsal": True})
    _, words = printed(real.model_copy(update={"trial": trial, "trial_id": trial.trial_id}), store)
    assert words[-1] == "--rehearse"


def test_switches_of_here_are_unset(store):
    """A switch that the recorded run did not have must not be there in its replay."""
    here = KEPT.model_copy(update={"environment": {"NCCL_DEBUG": "INFO", "OMP_NUM_THREADS": "4"}})
    remarks, words = printed(make_result(provenance=KEPT, data=SYNTHETIC), store, provenance=here)
    assert words[:4] == ["env", "-u", "NCCL_DEBUG", "OMP_NUM_THREADS=1"]
    assert len(remarks) == 1


@pytest.mark.parametrize(
    ("machine", "provenance", "remark"),
    [
        ({"cpu_model": "Other CPU"}, {}, "differs here: machine.cpu_model was Some CPU 3000 and is Other CPU"),
        ({"cpu": Cpu(governor="powersave")}, {}, "machine.cpu.governor was performance and is powersave"),
        ({}, {"git_commit": "ffff"}, "differs here: provenance.git_commit was 0123456789abcdef and is ffff"),
        ({}, {"harness_sha256": "cc"}, "differs here: provenance.harness_sha256 was aa and is cc"),
        ({}, {"packages": {"torch": "3.0", "numpy": "2.3.0"}}, "provenance.packages.torch was 2.14.1 and is 3.0"),
    ],
)
def test_what_differs_here_is_told(store, machine, provenance, remark):
    """Machine, commit, source and packages: each difference that matters is one comment."""
    old = MACHINE.model_copy(update={"cpu": Cpu(governor="performance")})
    base = KEPT.model_copy(update={"harness_sha256": "aa"})
    now = Machine.model_validate(old.model_copy(update=machine).model_dump())
    there = Provenance.model_validate(base.model_copy(update=provenance).model_dump())
    remarks, _ = printed(make_result(provenance=base, machine=old, data=SYNTHETIC), store, now, there)
    assert len(remarks) == 2
    assert remarks[1].endswith(remark)


def test_outcomes_and_obstacles_are_told(store):
    """A trial that did not end well, and what stands in its way here."""
    result = make_result(provenance=KEPT, data=SYNTHETIC, outcome=Outcome(kind="timeout", reason="after 5 s"))
    remarks, _ = printed(result, store, problems=("not to be run here: no GPU",))
    assert remarks[1:] == ["its outcome was timeout: after 5 s", "not to be run here: no GPU"]


def test_relative_paths_begin_where_they_did(store, tmp_path):
    """With a relative data set the command changes the folder first, where that is here; else a comment says so."""
    data = DataNames(train="synthetic", val="sets/val.json")
    remarks, words = printed(make_result(provenance=KEPT, data=data), store)
    assert remarks[1] == "relative paths begin in /absent/folder, which is not here; run this where they fit"
    assert "cd" not in words
    there = KEPT.model_copy(update={"working_directory": str(tmp_path)})
    remarks, words = printed(make_result(provenance=there, data=data), store)
    assert (remarks[1:], words[:3]) == ([], ["cd", str(tmp_path), "&&"])
    weights = {"options": {"weights": "models/a.safetensors"}, "weights_read": {"weights": "ab" * 32}}
    remarks, words = printed(make_result(provenance=there, data=SYNTHETIC, **weights), store)
    assert (remarks[1:], words[0]) == (["weights models/a.safetensors cannot be read: No such file or directory"], "cd")


def test_weights_are_brought_along(store):
    """Those that the store has are copied into the new one; changed ones are told."""
    data = b"learnt"
    store.weights("small").write_bytes(data)
    reads = {"options": {"weights": "store:small"}, "data": SYNTHETIC, "provenance": KEPT}
    same = make_result(**reads, weights_read={"weights": hashlib.sha256(data).hexdigest()})
    remarks, words = printed(same, store)
    place = store.folder.parent / "new store/weights"
    copies = ["mkdir", "-p", str(place), "&&", "cp", str(store.weights("small")), f"{place}/", "&&"]
    assert (len(remarks), words[:8]) == (1, copies)
    remarks, _ = printed(make_result(**reads, weights_read={"weights": "00" * 32}), store)
    assert remarks[1].startswith("weights small of this store is not the file that was read")


def test_weights_that_are_gone_are_made_by_their_chain(store):
    """The trials that lead to them run before, first things first; without any, a comment says so."""
    first = make_result(provenance=KEPT, data=SYNTHETIC, save_weights="one", timeout_s=7200.5)
    second = make_result(provenance=KEPT, data=SYNTHETIC, options={"weights": "store:one"}, save_weights="two")
    last = make_result(provenance=KEPT, data=SYNTHETIC, phase="eval", options={"weights": "store:two"})
    remarks, _ = printed(last, store)
    assert remarks[1] == "weights two are not in this store, and no trial of it saves them"
    for each in (first, second, last):
        store.commit(each)
    _, words = printed(last, store)
    wanted = ",".join(each.trial_id for each in (first, second, last))
    assert words[words.index("--only") + 1] == f"trial_id={wanted}"
    assert words[words.index("--timeout") + 1] == "7200.5"


def test_records_that_lead_to_no_matrix_are_refused(store):
    """One from before matrices were kept, one whose copy was changed or is gone, one read from a log: a line each."""
    with pytest.raises(ReportError, match="names no copy of its matrix; the command was harness run matrices/demo"):
        kept_matrix(make_result(), store)
    result = make_result(provenance=KEPT)
    assert kept_matrix(result, store) == store.matrix(DIGEST)
    store.matrix(DIGEST).write_bytes(b"name: other\n")
    with pytest.raises(ReportError, match="was changed; its SHA-256 is"):
        kept_matrix(result, store)
    store.matrix(DIGEST).unlink()
    lost = r"lost its matrix: .*\.yaml: No such file or directory; the command was harness run matrices/demo"
    with pytest.raises(ReportError, match=lost):
        kept_matrix(result, store)
    with pytest.raises(ReportError, match="names no copy of its matrix; nor how it was run"):
        kept_matrix(make_result(provenance=None), store)
    source = Imported(format="dllogger", file="log\n.json", sha256="00" * 32, timed_by="none")
    with pytest.raises(ReportError, match=r"not run here but read from the log log .json$"):
        kept_matrix(make_result(imported=source), store)


@settings(max_examples=30, deadline=None)
@given(value=st.text(max_size=40).filter(lambda text: "\0" not in text))
def test_no_value_escapes_its_quotes(tmp_path_factory, value):
    """A shell hands over exactly what the record says, or the record is refused; and a comment never ends its line."""
    made = Store(tmp_path_factory.mktemp("stores") / "store")
    made.open()
    made.keep_matrix(MATRIX)
    source = KEPT.model_copy(update={"environment": {"OMP_NUM_THREADS": value}})
    outcome = Outcome(kind="failed", reason=value)
    result = make_result(provenance=source, data=SYNTHETIC, outcome=outcome)
    here = Here(MACHINE, KEPT)
    show = ("python3", "-c", "import json, os; print(json.dumps(os.environ['OMP_NUM_THREADS']))")
    if not value.isprintable():
        with pytest.raises(ReportError, match="not to be shown on a line"):
            replay(result, made, here, show, made.folder / "new")
        return
    text = replay(result, made, here, show, made.folder / "new")
    assert all(line.isprintable() for line in text.splitlines())
    done = subprocess.run(["sh", "-e", "-c", text], capture_output=True, text=True, env=dict(os.environ), check=True)
    assert json.loads(done.stdout) == value
