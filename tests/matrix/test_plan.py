"""A matrix becomes all its points, in order, each once, with what drops it and what it cannot do."""

import gc
import itertools
import json
import math
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matrix_texts import BACKENDS, BOX, ids, machine, plan_of, read, written

from harness.errors import MatrixError
from harness.matrix import pace
from harness.matrix.loading import load_matrix
from harness.matrix.model import TRAIN_ONLY, Axes, Block, Matrix, Settings, Zip
from harness.matrix.plan import expand
from harness.schema.trial import Phase, Trial
from harness.statistics import rates

CROSSED = """\
name: m
device: cpu
defaults: {warmup_steps: 1, seed: 7, threads: 3}
trials:
  - backend: box
    phase: [train, infer]
    zip: {precision: [fp32, amp], batch_size_per_gpu: [1, 2]}
    axes: {gpus: [2, 1], flavour: [plain, spiced]}
"""


def test_phases_rows_and_axes_are_crossed_in_the_order_of_the_file():
    """The phase varies slowest, then the rows of zip, then the axes, the last fastest."""
    points = [
        (trial.phase, trial.precision, trial.batch_size_per_gpu, trial.gpus, trial.options["flavour"])
        for trial, *_ in plan_of(CROSSED).points
    ]

    assert points == [
        (phase, precision, batch, gpus, flavour)
        for phase, (precision, batch), gpus, flavour in itertools.product(
            ("train", "infer"), (("fp32", 1), ("amp", 2)), (2, 1), ("plain", "spiced")
        )
    ]


def test_defaults_reach_every_trial_and_a_block_goes_before_them():
    """A block's own value, or axis, goes before the default; the rest is the trial's own default."""
    first, second = (
        point.trial
        for point in plan_of(
            "name: m\ndevice: cpu\ndefaults: {seed: 7, warmup_steps: 0, timed_steps: 9}\n"
            "trials:\n  - {backend: box, phase: infer, timed_steps: 3, axes: {seed: [1, 2]}}\n"
        ).points
    )

    assert (first.seed, first.warmup_steps, first.timed_steps) == (1, 0, 3)
    assert (second.seed, second.gpus, second.image_size) == (2, 1, None)


def test_an_explicit_null_goes_before_a_default():
    """image_size: null in a block means the published size, whatever the default."""
    plan = plan_of(
        "name: m\ndefaults: {image_size: 64}\ntrials:\n  - {backend: box, phase: infer, image_size: null}\n"
        "  - {backend: box, phase: eval}\n"
    )

    assert [point.trial.image_size for point in plan.points] == [None, 64]


def test_a_trial_has_all_options_of_its_backend_and_phase():
    """Options left out have the backend's default, those of another phase are absent, and the order is fixed."""
    text = "name: m\ntrials:\n  - {backend: box, phase: [train, infer], rate: 1, fused: false}\n"
    train, infer = (point.trial.options for point in plan_of(text).points)

    assert list(train.items()) == [("flavour", "plain"), ("fused", False), ("rate", 1.0), ("threads", 2)]
    assert list(infer.items()) == [("flavour", "plain"), ("fused", False), ("threads", 2)]
    assert type(train["rate"]) is float


def test_an_option_among_the_defaults_goes_to_the_backends_that_have_it():
    """`flavour` reaches box alone, `threads` both."""
    box, pole = (
        point.trial
        for point in plan_of(
            "name: m\ndefaults: {flavour: spiced, threads: 9}\n"
            "trials:\n  - {backend: box, phase: infer}\n  - {backend: pole, phase: infer}\n"
        ).points
    )

    assert box.options == {"flavour": "spiced", "fused": True, "threads": 9}
    assert pole.options == {"threads": 9}


def test_settings_of_training_stay_with_training():
    """Defaults for training do not change what an infer trial is."""
    text = "name: m\ndefaults: {evaluate: true, target: {bbox_ap: 0.3}, gradient_accumulation_steps: 4}\ntrials:\n"
    train, infer = (point.trial for point in plan_of(f"{text}  - {{backend: box, phase: [train, infer]}}\n").points)

    assert (train.evaluate, train.target.bbox_ap, train.gradient_accumulation_steps) == (True, 0.3, 4)
    assert (infer.evaluate, infer.target, infer.gradient_accumulation_steps) == (False, None, 1)


def test_data_of_a_block_goes_before_that_of_the_matrix_role_by_role():
    """A block that names its val set keeps the matrix's train set."""
    plan = plan_of(
        "name: m\ndata: {train: a}\ntrials:\n  - {backend: box, phase: infer, data: {val: b}}\n"
        "  - {backend: box, phase: eval}\n"
    )

    assert [(point.trial.data.train, point.trial.data.val) for point in plan.points] == [
        ("a", "b"),
        ("a", "coco-mini/val"),
    ]


def test_repeats_are_rounds_over_all_points():
    """Every point runs once before any runs twice; a block with fewer repeats sits out the later rounds."""
    plan = plan_of(
        "name: m\ndefaults: {repeats: 3}\ntrials:\n  - {backend: box, phase: infer, axes: {gpus: [1, 2]}}\n"
        "  - {backend: pole, phase: infer, repeats: 2}\n"
    )

    assert [(point.trial.repeat, point.trial.backend, point.trial.gpus) for point in plan.points] == [
        (0, "box", 1),
        (0, "box", 2),
        (0, "pole", 1),
        (1, "box", 1),
        (1, "box", 2),
        (1, "pole", 1),
        (2, "box", 1),
        (2, "box", 2),
    ]
    assert len(set(ids(plan))) == len(plan.points)


def test_a_dropped_point_keeps_its_place_and_says_by_which_rule():
    """The first rule that meets a point drops it; dropped points are not judged further."""
    plan = plan_of(
        f"{CROSSED}exclude:\n  - {{when: {{phase: train, gpus: '>=2'}}, because: too long}}\n"
        "  - {when: {backend: 'b*', flavour: [spiced, sour], precision: amp}, because: not asked}\n"
    )

    dropped = [(point.trial.phase, point.trial.gpus, point.dropped_by) for point in plan.points if point.dropped_by]
    assert len(plan.points) == 16
    assert dropped == [("train", 2, "exclude[0]: too long")] * 4 + [
        ("train", 1, "exclude[1]: not asked"),
        ("infer", 2, "exclude[1]: not asked"),
        ("infer", 1, "exclude[1]: not asked"),
    ]
    assert all(point.unsupported is None and not point.runs for point in plan.points if point.dropped_by)


def test_the_same_point_from_blocks_that_differ_in_length_is_no_twin():
    """Blocks of one backend and phase may stand side by side when no point is in both."""
    plan = plan_of(
        "name: m\ntrials:\n  - {backend: box, phase: infer, axes: {seed: [1, 2]}}\n"
        "  - {backend: box, phase: infer, axes: {seed: [3, 4]}}\n"
    )

    assert [point.trial.seed for point in plan.points] == [1, 2, 3, 4]


AXES = st.fixed_dictionaries(
    {},
    optional={
        "gpus": st.lists(st.integers(1, 8), min_size=1, max_size=3, unique=True),
        "batch_size_per_gpu": st.lists(st.integers(1, 64), min_size=1, max_size=3, unique=True),
        "precision": st.lists(st.sampled_from(["fp32", "tf32", "amp"]), min_size=1, unique=True),
        "xla": st.lists(st.booleans(), min_size=1, unique=True),
        "image_size": st.lists(st.none() | st.integers(32, 800), min_size=1, max_size=2, unique=True),
        "threads": st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True) | st.integers(1, 9),
        "fused": st.lists(st.booleans(), min_size=1, unique=True) | st.booleans(),
    },
)


@st.composite
def matrices(draw):
    """A valid matrix of one block per phase, as plain values, with the number of points of one round of each."""
    phases = draw(st.lists(st.sampled_from(["train", "eval", "infer"]), min_size=1, unique=True))
    blocks, sizes = [], []
    for phase in phases:
        axes = draw(AXES)
        rows = draw(st.integers(0, 3))
        zipped = {"seed": list(range(rows)), "nodes": draw(st.lists(st.integers(1, 2), min_size=rows, max_size=rows))}
        block = {"backend": "box", "phase": phase, "axes": axes, "repeats": draw(st.integers(1, 3))}
        blocks.append(block | ({"zip": zipped} if rows else {}))
        crossed = math.prod(len(values) if isinstance(values, list) else 1 for values in axes.values())
        sizes.append(crossed * max(rows, 1))
    return {"name": "m", "device": draw(st.sampled_from(["cuda", "cpu", "auto"])), "trials": blocks}, sizes


@given(matrices(), st.integers(0, 4))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_number_of_points_is_the_product_of_the_axes(made, gpus):
    """For any valid matrix: as many points as the product says, all different, each equal to its validated self."""
    document, sizes = made
    # JSON is YAML: the file is written by another writer than the one that reads it.
    text = json.dumps(document)
    plan = plan_of(text, machine(gpus))

    expected = sum(size * block["repeats"] for size, block in zip(sizes, document["trials"], strict=True))
    trials = [point.trial for point in plan.points]
    assert len(trials) == expected
    assert len(set(ids(plan))) == expected
    for trial in trials:
        again = Trial.model_validate_json(trial.model_dump_json())
        assert again == trial
        assert again.trial_id == trial.trial_id
        assert Trial.model_validate(trial.model_dump(), strict=True) == trial
    assert ids(plan_of(text, machine(gpus))) == ids(plan)


@given(matrices(), st.sampled_from([("gpus", ">=3"), ("precision", "*32"), ("xla", True), ("threads", [1, 2])]))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_rule_drops_what_it_meets_and_nothing_else(made, rule):
    """The kept and the dropped points are the same as a reader of the rule would sort them."""
    document, _ = made
    name, wanted = rule
    meets = {
        "gpus": lambda trial: trial.gpus >= 3,
        "precision": lambda trial: trial.precision in ("fp32", "tf32"),
        "xla": lambda trial: trial.xla is True,
        "threads": lambda trial: trial.options["threads"] in (1, 2),
    }[name]
    everything = plan_of(json.dumps(document)).points
    expected = [meets(point.trial) for point in everything]
    if not any(expected):
        return
    document["exclude"] = [{"when": {name: wanted}, "because": "asked"}]

    dropped = plan_of(json.dumps(document)).points

    assert [point.dropped_by is not None for point in dropped] == expected
    assert [point.trial for point in dropped] == [point.trial for point in everything]


def test_the_manual_s_matrix_makes_what_the_manual_says(tmp_path):
    """The example on the surface page loads, and its points are the product less what its rule drops."""
    text = (
        "name: dgx\nrequires: {gpus: 8, compute_capability: '8.0'}\n"
        "data: {train: coco2017/train, val: coco2017/val}\n"
        "defaults: {warmup_steps: 100, timed_steps: 500, seed: 1, repeats: 3}\n"
        "trials:\n"
        "  - backend: box\n    phase: train\n"
        "    axes: {gpus: [1, 4, 8], precision: [tf32, amp], batch_size_per_gpu: 8}\n"
        "  - backend: box\n    phase: eval\n"
        "    zip: {precision: [tf32, amp], batch_size_per_gpu: [104, 200]}\n    axes: {gpus: [4, 8], xla: true}\n"
        "exclude:\n  - {when: {phase: 'ev*', gpus: 4}, because: not published}\n"
    )
    plan = expand(load_matrix(written(tmp_path, text)), BACKENDS, machine(8))

    assert len(plan.points) == 3 * (3 * 2 + 2 * 2)
    assert sum(point.dropped_by is not None for point in plan.points) == 3 * 2
    assert all(point.unsupported is None for point in plan.points)
    few = expand(read(text), BACKENDS, machine(1))
    assert {point.unsupported for point in few.points if not point.dropped_by} == {
        "the matrix requires 8 GPUs; this machine has 1 (Tested GPU)",
        "needs 4 GPUs; this machine has 1 (Tested GPU)",
        "needs 8 GPUs; this machine has 1 (Tested GPU)",
    }


def test_settings_are_those_of_a_trial():
    """Every setting but repeats is a field of a trial with that type, default and range; every axis is a setting."""
    for name, setting in Settings.model_fields.items():
        if name == "repeats":
            continue
        field = Trial.model_fields[name]
        assert setting.get_default() == field.get_default(), name
        if name != "target":  # its quality is checked more closely than a record's
            assert (setting.annotation, setting.metadata) == (field.annotation, field.metadata), name
    own = {"backend", "phase", "device", "repeat", "data", "options", "rehearsal"}
    assert set(Trial.model_fields) - own == set(Settings.model_fields) - {"repeats"}
    assert set(Axes.model_fields) == set(Zip.model_fields) < set(Settings.model_fields)
    assert set(Settings.model_fields) > TRAIN_ONLY


def test_what_is_refused_as_too_few_is_what_statistics_call_too_few():
    """The room of statistics loads numpy, so planning has the two numbers of its own."""
    assert pace.INTERVAL_STRETCHES == rates.MIN_STRETCHES
    assert pace.STEADY_STRETCHES == rates.SETTLED_STRETCHES


def test_every_key_of_the_file_is_documented_where_it_is_declared():
    """No field of the matrix's models is without a description."""
    for model in (Matrix, Settings, Block):
        assert all(field.description for field in model.model_fields.values())


def test_the_committed_demo_is_a_matrix():
    """matrices/demo.yaml loads; it names phases, precisions, batch sizes and ranks to cross."""
    demo = load_matrix(Path(__file__).parents[2] / "matrices" / "demo.yaml")

    phases: set[Phase] = {phase for block in demo.trials for phase in block.phase}
    assert (demo.name, demo.device) == ("demo", "cpu")
    assert phases == {"train", "eval", "infer"}
    assert all(rule.because for rule in demo.exclude)


def test_a_trial_that_was_never_validated_whole_is_what_validation_makes():
    """Trials are laid out from checked values; validating one whole changes nothing, to the type."""
    for point in plan_of(CROSSED).points:
        whole = Trial.model_validate(point.trial.model_dump())
        assert whole == point.trial
        assert whole.model_dump_json() == point.trial.model_dump_json()
        assert BOX.option("flavour").default == "plain"


@pytest.mark.parametrize("rule", ["", "exclude: [{when: {gpus: 99}, because: wrong}]\n"])
def test_the_garbage_collector_is_left_as_it_was(rule):
    """Expanding pauses the collector, and sets it on again whether it succeeds or fails."""
    with suppress(MatrixError):
        plan_of(CROSSED + rule)

    assert gc.isenabled()
