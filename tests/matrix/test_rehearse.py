"""A rehearsal keeps every point and gives each a stand-in that runs anywhere."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matrix_texts import BACKENDS, BOX, POLE, machine, plan_of

from harness.matrix.listing import plan_report, plan_table
from harness.matrix.rehearse import rehearsed, stand_in
from harness.matrix.select import select
from harness.plugins import describe_all
from harness.schema.trial import Target, Trial

BIG = (
    "name: m\nrequires: {gpus: 8, gpu_memory_gib: 80.0}\ntrials:\n"
    "  - {backend: box, phase: train, axes: {gpus: [1, 4, 8], batch_size_per_gpu: [8, 12], precision: [tf32, amp]}}\n"
    "  - {backend: box, phase: infer, xla: true, axes: {batch_size_per_gpu: [1, 64]}, repeats: 2}\n"
)


def rehearsal(text, here=None):
    """The rehearsed plan of a text on a machine of two cores without GPU."""
    here = here or machine(cores=2)
    return rehearsed(plan_of(text, here), BACKENDS, here)


def test_every_point_of_the_plan_is_there_and_runs():
    """With its own labels, marked, whatever the matrix requires and the machine lacks."""
    plan = rehearsal(BIG)
    original = plan_of(BIG, machine(cores=2))
    assert not any(point.runs for point in original.points)
    assert [point.trial.model_copy(update={"rehearsal": False}) for point in plan.points] == [
        point.trial for point in original.points
    ]
    assert all(point.runs and point.trial.rehearsal for point in plan.points)
    assert len({point.trial.trial_id for point in (*plan.points, *original.points)}) == 2 * len(plan.points)


def test_points_that_differ_in_size_alone_have_one_stand_in():
    """Four and eight GPUs are two CPU ranks, batches of 8 and 12 are of 2, tf32 is fp32; repeats are one."""
    plan = rehearsal(BIG)
    trains = {point.stand_in.size for point in plan.points if point.trial.phase == "train"}
    infers = {point.stand_in.size for point in plan.points if point.trial.phase == "infer"}
    ids = {point.stand_in.trial_id for point in plan.points}
    assert trains == {
        f"{ranks} × 2 images of 128 px, {precision}"
        for ranks in ("1 cpu rank", "2 cpu ranks")
        for precision in ("fp32", "amp")
    }
    assert infers == {"1 cpu rank × 1 image of 128 px, fp32, XLA", "1 cpu rank × 2 images of 128 px, fp32, XLA"}
    assert len(ids) == len(trains) + len(infers)


def test_what_decides_the_work_is_kept():
    """Backend, phase, XLA, solver options, launcher and seed are the point's; no target is waited for."""
    trial = Trial(
        backend="box",
        phase="train",
        device="cuda",
        xla=True,
        seed=7,
        launcher="local",
        evaluate=True,
        evaluate_every_steps=500,
        max_warmup_steps=900,
        timed_seconds=60.0,
        timed_interval=0.01,
        max_timed_steps=5000,
        target=Target(bbox_ap=0.377),
        gradient_accumulation_steps=4,
        options={"flavour": "spiced", "threads": 8},
    )
    small = stand_in(trial, BOX.model_copy(update={"rehearsal": {"threads": 1}}), machine(8))
    kept = ("backend", "phase", "xla", "seed", "launcher", "evaluate")
    assert [getattr(small, name) for name in kept] == [getattr(trial, name) for name in kept]
    assert (small.device, small.target, small.gradient_accumulation_steps) == ("cpu", None, 2)
    assert small.evaluate_every_steps == small.timed_steps
    repeated = ("max_warmup_steps", "timed_seconds", "timed_interval", "max_timed_steps")
    assert [getattr(small, name) for name in repeated] == [None] * 4
    assert small.options == {"flavour": "spiced", "threads": 1}
    assert not small.rehearsal


@given(
    gpus=st.integers(1, 64),
    nodes=st.integers(1, 8),
    batch=st.integers(1, 512),
    precision=st.sampled_from(["fp32", "tf32", "amp"]),
    cores=st.integers(1, 128),
)
@settings(max_examples=50)
def test_a_stand_in_is_never_larger_than_its_point_nor_than_the_machine(gpus, nodes, batch, precision, cores):
    """Ranks are as many as the point's, up to the cores; its id is a valid trial's."""
    trial = Trial(
        backend="box",
        phase="train",
        device="cuda",
        gpus=gpus,
        nodes=nodes,
        batch_size_per_gpu=batch,
        precision=precision,
    )
    small = stand_in(trial, BOX, machine(cores=cores))
    assert (small.world_size, small.nodes) == (min(gpus * nodes, cores), 1)
    assert small.batch_size_per_gpu == min(batch, 2)
    assert Trial.model_validate(small.model_dump()) == small


@pytest.mark.parametrize(
    ("keys", "reason"),
    [("precision: amp", "pole has no precision amp; it has fp32"), ("xla: true", "pole does not compile with XLA")],
)
def test_what_a_backend_lacks_cannot_be_rehearsed(keys, reason):
    """Such a point stays unsupported, with its reason."""
    (point,) = rehearsal(f"name: m\ntrials:\n  - {{backend: pole, phase: infer, device: cpu, {keys}}}\n").points
    assert (point.unsupported, point.runs) == (reason, False)


def test_a_dropped_point_stays_dropped():
    """A rule holds in a rehearsal too, and the point is marked."""
    text = f"{BIG}exclude:\n  - {{when: {{gpus: 8}}, because: not today}}\n"
    dropped = [point for point in rehearsal(text).points if point.dropped_by]
    assert len(dropped) == 4
    assert all(point.trial.rehearsal and point.stand_in is None for point in dropped)


def test_the_listing_says_what_runs_instead():
    """How many small trials there are, and beside each point which; in JSON the whole trial."""
    plan = rehearsal(BIG)
    head, first, *_ = plan_table(plan)
    assert head == "will run: 16 of 16 points, rehearsed by 6 small trials"
    assert first.endswith("as 1 cpu rank × 2 images of 128 px, fp32")
    assert plan_report(plan).points[0].stand_in == plan.points[0].stand_in


def test_points_are_selected_by_their_own_labels():
    """--only looks at what the matrix says, not at the stand-ins."""
    assert len(select(rehearsal(BIG), "gpus=8 precision=tf32").points) == 2


def test_a_backend_of_gpus_alone_is_rehearsed_there():
    """Without a CPU to run on, its stand-in keeps the device, with as many ranks as there are GPUs."""
    info = POLE.model_copy(update={"devices": ("cuda",)})
    trial = Trial(backend="pole", phase="infer", device="cuda", gpus=8, precision="tf32")
    small = stand_in(trial, info, machine(2))
    assert (small.device, small.gpus, small.precision) == ("cuda", 2, "tf32")


def test_what_backends_name_for_a_rehearsal_are_options_of_theirs():
    """Each name with a value that a matrix could set."""
    backends, _ = describe_all()
    for info in backends.values():
        for name, value in info.rehearsal.items():
            option = info.option(name)
            assert option is not None, f"{info.name}: {name}"
            assert value is None or not option.choices or value in option.choices
            assert option.default is None if value is None else type(value).__name__ == option.type
