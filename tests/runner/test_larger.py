"""What becomes of points no smaller than one that ran out of memory."""

from pathlib import Path
from typing import Any

import pytest
from made_results import make_machine
from records import MACHINE, demo_trial, result_of

from harness.results.store import Store
from harness.runner.larger import Ceilings, no_smaller
from harness.runner.prepare import make_run, prepare
from harness.runner.run import Door, Run, Task
from harness.schema.result import DataPaths, Outcome
from harness.schema.system import Container
from harness.schema.trial import DataNames, Trial

OUT = Outcome(kind="out_of_memory", cause="cuda_memory", reason="CUDA out of memory")
NEEDS = {"options": {"fault": "needs_memory"}}
"""The demo backend then runs out of memory from 4 images, or pixels of them, on."""


def run_in(folder: Path, *, try_larger: bool = False) -> Run:
    """A run of the demo backend into a store."""
    data = {DataNames(): DataPaths(train="synthetic:32x24:6", val="synthetic:32x24:7")}
    run = Run("test", Store(folder), {"demo": Door("demo_backend", ("local",))}, data, MACHINE, {})
    run.ceilings.rule = "run" if try_larger else "skip"
    return run


def outcomes(run: Run, trials: list[Trial]) -> list[str]:
    """How these points stand in the store."""
    return [run.store.load(trial.trial_id).outcome.kind for trial in trials]


MATRIX = """
name: sizes
device: cpu
data: {train: synthetic, val: synthetic}
trials: [{backend: demo, phase: infer}]
"""


@pytest.mark.parametrize(
    ("key", "try_larger", "rule"),
    [("", False, "skip"), ("", True, "run"), ("after_out_of_memory: run", False, "run")],
)
def test_the_matrix_and_the_command_line_decide_the_rule(tmp_path: Path, key: str, try_larger: bool, rule: str) -> None:
    """Skipping is what happens where neither says otherwise."""
    (tmp_path / "sizes.yaml").write_text(MATRIX + key)
    run, _ = make_run(prepare(tmp_path / "sizes.yaml"), Store(tmp_path / "store"), try_larger=try_larger)
    assert run.ceilings.rule == rule


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"batch_size_per_gpu": 8}, True),
        ({"image_size": 640}, True),
        ({"batch_size_per_gpu": 8, "image_size": 640, "seed": 9}, True),
        ({"repeat": 1}, True),
        ({"timed_steps": 9, "timeout_s": 5.0, "save_weights": "other", "scorer": "hotcoco"}, True),
        ({}, True),
        ({"seed": 9}, False),
        ({"batch_size_per_gpu": 2}, False),
        ({"batch_size_per_gpu": 8, "image_size": 256}, False),
        ({"batch_size_per_gpu": 8, "image_size": None}, False),
        ({"batch_size_per_gpu": 8, "precision": "amp"}, False),
        ({"batch_size_per_gpu": 8, "phase": "train"}, False),
        ({"batch_size_per_gpu": 8, "gpus": 2}, False),
        ({"batch_size_per_gpu": 8, "options": {"step_ms": 1.0}}, False),
    ],
)
def test_no_smaller_is_decided_within_a_family(changes: dict[str, Any], expected: bool) -> None:
    """By batch size and image size; the same sizes with another seed are other images."""
    small = demo_trial(batch_size_per_gpu=4, image_size=512)
    assert no_smaller(small.model_copy(update=changes), small) == expected


def test_a_larger_point_is_skipped_with_the_trial_and_the_rule() -> None:
    """The reason names who ran out, the evidence both sizes."""
    small, large = demo_trial(batch_size_per_gpu=4), demo_trial(batch_size_per_gpu=8)
    ceilings = Ceilings(MACHINE)
    assert ceilings.why_not(large) is None
    ceilings.add(result_of(small, outcome=OUT))
    found = ceilings.why_not(large)
    assert found is not None
    assert (found.kind, found.cause) == ("skipped", "too_large")
    assert found.reason is not None
    assert found.reason.startswith(f"{small.trial_id} ran out of memory")
    assert "batch_size_per_gpu 4, image_size as published; here: batch_size_per_gpu 8" in found.evidence[0]
    assert Ceilings(MACHINE, "run", ran_out=[small]).why_not(large) is None
    assert ceilings.why_not(large.model_copy(update={"rehearsal": True})) is None


def test_one_no_smaller_that_went_well_takes_the_proof_away() -> None:
    """Memory was then not short for the size."""
    ceilings = Ceilings(MACHINE)
    ceilings.add(result_of(demo_trial(batch_size_per_gpu=4), outcome=OUT))
    ceilings.add(result_of(demo_trial(batch_size_per_gpu=2)))
    assert ceilings.why_not(demo_trial(batch_size_per_gpu=8)) is not None
    ceilings.add(result_of(demo_trial(batch_size_per_gpu=4, repeat=1)))
    assert ceilings.why_not(demo_trial(batch_size_per_gpu=8)) is None


def test_a_machine_with_more_memory_has_another_ceiling() -> None:
    """Of the host, or of its GPUs."""
    there = make_machine(gpus=1)
    more_host = there.model_copy(update={"memory_bytes": (there.memory_bytes or 0) * 2})
    more_gpu = there.model_copy(
        update={"gpus": tuple(gpu.model_copy(update={"memory_bytes": 2**40}) for gpu in there.gpus)}
    )
    less = there.model_copy(update={"memory_bytes": 2**30})
    for here, skipped in ((there, True), (less, True), (more_host, False), (more_gpu, False)):
        ceilings = Ceilings(here)
        ceilings.add(result_of(demo_trial(batch_size_per_gpu=4), outcome=OUT, machine=there))
        assert (ceilings.why_not(demo_trial(batch_size_per_gpu=8)) is not None) == skipped


@pytest.mark.parametrize(
    ("then", "now", "skipped"),
    [(2**30, None, False), (2**30, 2**31, False), (2**30, 2**30, True), (None, 2**30, True), (2**40, None, True)],
)
def test_a_control_group_s_limit_is_the_memory_there_is(then: int | None, now: int | None, skipped: bool) -> None:
    """What ran out in a narrow container is tried again in a wider one, and outside."""
    machine = make_machine()
    limited = {limit: Container(kind="docker", memory_limit_bytes=limit) for limit in (then, now)}
    here, there = (machine.model_copy(update={"container": limited[limit]}) for limit in (now, then))
    ceilings = Ceilings(here)
    ceilings.add(result_of(demo_trial(batch_size_per_gpu=4), outcome=OUT, machine=there))
    assert (ceilings.why_not(demo_trial(batch_size_per_gpu=8)) is not None) == skipped


def test_larger_points_are_skipped_in_the_run_and_when_it_resumes(tmp_path: Path) -> None:
    """And run when they are wanted all the same; the batch sizes are those of the plan throughout."""
    trials = [demo_trial(phase="train", batch_size_per_gpu=size, **NEEDS) for size in (2, 4, 8, 16)]
    first = run_in(tmp_path)
    first.carry_out([Task(trial) for trial in trials[:2]])
    assert outcomes(first, trials[:2]) == ["ok", "out_of_memory"]
    resumed = run_in(tmp_path)
    assert resumed.carry_out([Task(trial) for trial in trials]) == {"ok": 1, "out_of_memory": 1, "skipped": 2}
    assert not resumed.store.log(trials[2].trial_id).exists()
    stubborn = run_in(tmp_path, try_larger=True)
    assert stubborn.carry_out([Task(trial) for trial in trials]) == {"ok": 1, "out_of_memory": 3}
    assert [stubborn.store.load(trial.trial_id).trial for trial in trials] == trials


def test_a_point_opens_again_when_the_one_that_ran_out_is_run_again(tmp_path: Path) -> None:
    """As --fresh on that one alone does; the old records are kept aside."""
    trials = [demo_trial(phase="train", batch_size_per_gpu=size, **NEEDS) for size in (4, 8)]
    tasks = [Task(trial) for trial in trials]
    run = run_in(tmp_path)
    assert run.carry_out(tasks) == {"out_of_memory": 1, "skipped": 1}
    assert run_in(tmp_path).carry_out(tasks) == {"out_of_memory": 1, "skipped": 1}
    assert not list((tmp_path / "superseded").glob("*"))
    run.store.supersede(trials[0].trial_id)
    run.store.commit(result_of(trials[0], machine=MACHINE))
    assert run_in(tmp_path).carry_out(tasks) == {"ok": 1, "out_of_memory": 1}
    assert len(list((tmp_path / "superseded").iterdir())) == 2
