"""What the backend or the machine cannot do is said for each point, and nothing that they can."""

import pytest
from matrix_texts import BOX, POLE, machine, plan_of

from harness.matrix import feasible
from harness.matrix.feasible import device_for, why_not
from harness.matrix.model import Requires
from harness.schema.trial import Trial


def reason(here, info=BOX, needs=None, **fields):
    """Why a trial on CUDA cannot run on a machine."""
    trial = Trial.model_validate({"backend": info.name, "phase": "infer", "device": "cuda"} | fields)
    return why_not(trial, info, here, Requires.model_validate(needs or {}))


NO_GPU = "this machine has none (no driver)"
TESTED = "this machine has 2 (Tested GPU)"


@pytest.mark.parametrize(
    ("here", "fields", "expected"),
    [
        (machine(1), {}, None),
        (machine(2), {"gpus": 2, "precision": "tf32"}, None),
        (machine(0), {"device": "cpu"}, None),
        (machine(0), {"device": "cpu", "precision": "amp", "gpus": 4}, None),
        (machine(0), {}, f"needs 1 GPU; {NO_GPU}"),
        (machine(2), {"gpus": 4}, f"needs 4 GPUs; {TESTED}"),
        (machine(0), {"device": "cpu", "gpus": 5}, "needs 5 CPU ranks; this machine has 4 cores, one rank each"),
        (
            machine(0, cores=1),
            {"device": "cpu", "gpus": 2},
            "needs 2 CPU ranks; this machine has 1 core, one rank each",
        ),
        (machine(8), {"nodes": 2}, "needs 2 nodes; the local launcher starts ranks on this machine alone"),
        (machine(8), {"gpus": 9, "nodes": 2}, "needs 18 ranks; box runs at most 16"),
        (
            machine(0),
            {"device": "cpu", "precision": "tf32"},
            f"tf32 needs a GPU of compute capability 8.0 or newer; {NO_GPU}",
        ),
        (
            machine(1),
            {"device": "cpu", "precision": "tf32"},
            "tf32 needs a GPU of compute capability 8.0 or newer; this trial runs on the CPU",
        ),
        (
            machine(1, "7.5"),
            {"precision": "tf32"},
            "tf32 needs a GPU of compute capability 8.0 or newer; Tested GPU has 7.5",
        ),
        (
            machine(1, "6.1"),
            {"precision": "amp"},
            "amp needs a GPU of compute capability 7.0 or newer; Tested GPU has 6.1",
        ),
        (machine(1, "7.0"), {"precision": "amp"}, None),
        (machine(1, "10.0"), {"precision": "tf32"}, None),
        (machine(1, None), {"precision": "tf32"}, None),
        (machine(1, "6.1"), {"precision": "fp32"}, None),
    ],
)
def test_what_a_machine_cannot_do(here, fields, expected):
    """Ranks, nodes and precisions against the machine, each reason with what is there."""
    assert reason(here, **fields) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"device": "cuda"}, "pole does not run on cuda; it runs on cpu"),
        ({"device": "cpu", "precision": "amp"}, "pole has no precision amp; it has fp32"),
        ({"device": "cpu", "xla": True}, "pole does not compile with XLA"),
        (
            {"device": "cpu", "launcher": "horovod"},
            "pole has no launcher horovod; it has local",
        ),
        ({"device": "cpu", "launcher": "local"}, None),
        ({"device": "cpu"}, None),
    ],
)
def test_what_a_backend_cannot_do(fields, expected):
    """Devices, precisions and XLA against what the backend says of itself."""
    assert reason(machine(1), POLE, **fields) == expected


@pytest.mark.parametrize(
    ("needs", "expected"),
    [
        ({"gpus": 2, "compute_capability": "8.0", "gpu_memory_gib": 40.0, "cpu_cores": 4, "memory_gib": 8.0}, None),
        ({"gpus": 3}, f"the matrix requires 3 GPUs; {TESTED}"),
        (
            {"compute_capability": "9.0"},
            "the matrix needs a GPU of compute capability 9.0 or newer; Tested GPU has 8.0",
        ),
        ({"gpu_memory_gib": 80.0}, "the matrix requires GPUs of 80 GiB; Tested GPU has 40.0 GiB"),
        ({"cpu_cores": 5}, "the matrix requires 5 CPU cores; this machine has 4 cores"),
        ({"memory_gib": 9.0}, "the matrix requires 9 GiB; this machine has 8.0 GiB"),
    ],
)
def test_what_a_matrix_requires(needs, expected):
    """Each need against the machine; what is just enough is enough."""
    assert reason(machine(2), needs=needs) == expected


def test_a_required_gpu_that_is_not_there():
    """A need about GPUs is not met by a machine without any, even for a trial on the CPU."""
    needs = {"compute_capability": "8.0"}

    assert reason(machine(0), needs=needs, device="cpu") == f"the matrix requires a GPU; {NO_GPU}"


def test_a_block_requires_more_or_less_than_the_matrix():
    """The block's word counts, need by need."""
    plan = plan_of(
        "name: m\nrequires: {gpus: 8, cpu_cores: 2}\ntrials:\n  - {backend: box, phase: infer}\n"
        "  - {backend: box, phase: eval, requires: {gpus: 1}}\n"
        "  - {backend: box, phase: train, requires: {gpus: 1, cpu_cores: 64}}\n",
        machine(1),
    )

    assert [point.unsupported for point in plan.points] == [
        "the matrix requires 8 GPUs; this machine has 1 (Tested GPU)",
        None,
        "the matrix requires 64 CPU cores; this machine has 4 cores",
    ]


@pytest.mark.parametrize(
    ("choice", "gpus", "here", "info", "expected"),
    [
        ("cuda", 1, machine(0), BOX, "cuda"),
        ("cpu", 1, machine(8), BOX, "cpu"),
        ("auto", 2, machine(2), BOX, "cuda"),
        ("auto", 3, machine(2), BOX, "cpu"),
        ("auto", 1, machine(0), BOX, "cpu"),
        ("auto", 1, machine(1), POLE, "cpu"),
        ("auto", 1, machine(0), BOX.model_copy(update={"devices": ("cuda",)}), "cuda"),
    ],
)
def test_the_device_of_a_trial(choice, gpus, here, info, expected):
    """Auto is CUDA where there are as many GPUs as asked for, else the CPU, else the only device of the backend."""
    assert device_for(choice, gpus, info, here) == expected


def test_auto_is_decided_for_each_trial():
    """On a machine of two GPUs, two ranks are GPUs and four are CPU processes; a block can say otherwise."""
    plan = plan_of(
        "name: m\ndevice: auto\ntrials:\n  - {backend: box, phase: infer, axes: {gpus: [2, 4]}}\n"
        "  - {backend: box, phase: eval, gpus: 4, device: cuda}\n",
        machine(2),
    )

    assert [(point.trial.device, point.runs) for point in plan.points] == [
        ("cuda", True),
        ("cpu", True),
        ("cuda", False),
    ]


def test_without_a_word_about_devices_ranks_are_gpus():
    """The default is CUDA: no matrix falls back to the CPU unasked."""
    (point,) = plan_of("name: m\ntrials:\n  - {backend: box, phase: infer}\n").points

    assert (point.trial.device, point.unsupported) == ("cuda", f"needs 1 GPU; {NO_GPU}")


@pytest.mark.parametrize(("fields", "missing"), [({"gpus": 2}, True), ({"gpus": 1}, False)])
def test_ranks_of_horovod_need_horovod(monkeypatch, fields, missing):
    """Several ranks cannot be started by it where it is not installed, and the reason says so; one rank can."""
    monkeypatch.setattr(feasible, "_installed", {}.get)
    info = BOX.model_copy(update={"launchers": ("horovod",)})
    expected = "the launcher horovod needs Horovod, which is not installed; `make horovod` builds it"
    assert reason(machine(2), info, **fields) == (expected if missing else None)


def test_horovod_is_asked_for_only_where_it_is_chosen(monkeypatch):
    """Another launcher of the same backend does without it."""
    monkeypatch.setattr(feasible, "_installed", {}.get)
    info = BOX.model_copy(update={"launchers": ("torchrun", "horovod")})
    assert reason(machine(2), info, gpus=2) is None
    assert "make horovod" in reason(machine(2), info, gpus=2, launcher="horovod")
