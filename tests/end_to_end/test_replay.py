"""`harness show --replay` prints what runs a recorded trial again, and it does."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from harness.analysis.comparable_facts import differences, facts
from harness.results.store import Store
from harness.schema.record import Record
from harness.schema.result import TrialResult

Harness = Callable[..., "subprocess.CompletedProcess[str]"]
SCRIPTS = str(Path(sys.executable).parent)
FIELDS = 35
"""Of machine and provenance, counted one by one, that every result knows at least, whatever the machine."""

MATRIX = """
name: small
device: cpu
data: {train: "sets/tiny.json", val: "synthetic:32x24:6"}
defaults: {warmup_steps: 1, timed_steps: 4, timeout_s: 60}
trials:
  - backend: demo
    phase: train
    save_weights: learnt
  - backend: demo
    phase: infer
    axes: {precision: [fp32, amp], step_ms: 2.0}
    weights: "store:learnt"
"""
SET = '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "box"}]}'


def known_leaves(record: Record, prefix: str = "") -> frozenset[str]:
    """The dotted names of the fields that are known, inner ones too; a mapping, and things of one kind, count once."""
    found: set[str] = set()
    for field in type(record).model_fields:
        value, name = getattr(record, field), f"{prefix}{field}"
        inside = [each for each in (value if isinstance(value, tuple) else (value,)) if isinstance(each, Record)]
        found.update(*(known_leaves(each, f"{name}.") for each in inside))
        if not inside and value not in (None, (), {}):
            found.add(name)
    return frozenset(found)


def loaded(store: Path) -> dict[str, TrialResult]:
    """The records of a store by id."""
    return {result.trial_id: result for result in Store(store).load_all()}


def in_a_shell(text: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Execute what was printed, as a person pastes it."""
    path = f"{SCRIPTS}:{os.environ['PATH']}"
    given = os.environ | {"PATH": path, "HARNESS_DATA_DIR": str(folder / "data")} | environment
    command = ["sh", "-e", "-c", text]
    return subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True, timeout=120, check=False)


def results_of(text: str) -> Path:
    """The store that a printed command writes to."""
    words = shlex.split(text, comments=True)
    return Path(words[words.index("--results") + 1])


def test_the_printed_command_repeats_the_trial(harness: Harness, tmp_path: Path) -> None:
    """In a shell elsewhere, the matrix changed: same id, settings, switches, data, weights and comparable fields.

    Weights that the store has are handed over, weights that it has lost are trained anew.
    """
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets/tiny.json").write_text(SET)
    matrix = tmp_path / "small.yaml"
    matrix.write_text(MATRIX)
    options = ("--results", "kept here", "--timeout", "45.5")
    first = harness("run", matrix, *options, PATH=f"{SCRIPTS}:{os.environ['PATH']}", OMP_NUM_THREADS="1")
    assert first.returncode == 0, first.stderr
    matrix.write_text(MATRIX.replace("timed_steps: 4", "timed_steps: 9"))
    store = tmp_path / "kept here"
    wanted = next(each for each in loaded(store).values() if each.trial.phase == "infer")
    shown = harness("show", store, wanted.trial_id, "--replay", OMP_PROC_BIND="true")
    assert shown.returncode == 0, shown.stderr
    assert "-u OMP_PROC_BIND" in shown.stdout
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    again = in_a_shell(shown.stdout, elsewhere, OMP_PROC_BIND="true", OMP_NUM_THREADS="7")
    assert again.returncode == 0, again.stderr
    replayed = loaded(results_of(shown.stdout))
    assert list(replayed) == [wanted.trial_id]
    result = replayed[wanted.trial_id]
    assert (result.trial, result.settings, result.outcome.kind) == (wanted.trial, wanted.settings, "ok")
    assert (result.trial.timeout_s, result.weights_read) == (45.5, wanted.weights_read)
    for name in ("environment", "packages", "data_fingerprints", "software", "kernels", "matrix_sha256", "framework"):
        assert getattr(result.provenance, name) == getattr(wanted.provenance, name), name
    for name in ("cpu", "memory", "container", "gpu_states", "cuda_driver"):
        assert getattr(result.machine, name) == getattr(wanted.machine, name), name
    assert result.provenance is not None
    assert result.provenance.environment["OMP_NUM_THREADS"] == "1"
    assert [each for each in differences([facts(wanted)], [facts(result)], ()) if each.standing != "noted"] == []
    assert len(known_leaves(result.machine)) + len(known_leaves(result.provenance)) >= FIELDS
    shutil.rmtree(store / "weights")
    saver = next(each for each in loaded(store).values() if each.trial.save_weights)
    shown = harness("show", store, wanted.trial_id, "--replay")
    assert f"# weights learnt are not in this store: {saver.trial_id} makes them anew" in shown.stdout
    anew = in_a_shell(shown.stdout, elsewhere)
    assert anew.returncode == 0, anew.stderr
    assert set(loaded(results_of(shown.stdout))) == {saver.trial_id, wanted.trial_id}
