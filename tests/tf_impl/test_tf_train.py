"""Training steps: updates, accumulation, losses, XLA, and what comes between them.

One work of each kind is opened and compiled for all tests, which put it back to its beginning.
"""

import dataclasses
import json
import os

import numpy as np
import pytest
import tensorflow as tf
from tf_runs import (
    every,
    everything,
    losses,
    opened,
    parameters,
    record_gradients,
    restart,
    solved_by,
    take,
    trial,
    worst,
)

from backends.tf_impl.graph import eager
from backends.tf_impl.solver import Schedule
from backends.tf_impl.training import LEAST_COUNT
from harness.api import Batch, UnsupportedTrialError

pytestmark = pytest.mark.tf
LEARNING = {
    "norm": "batch",
    "flavour": "torchvision",
    "learning_rate": 0.01,
    "lr_warmup_steps": 0,
    "lr_steps": "",
}
"""SGD: the first updates of AdamW have each gradient's sign and make any rounding of a small one large."""
NAMES = ["loss_objectness", "loss_rpn_box", "loss_class", "loss_box", "loss_mask"]


@pytest.fixture(scope="module")
def opened_graph(mini):
    """A work that learns, its first weights and its first batches."""
    with opened(trial(options=LEARNING, batch_size_per_gpu=2), *mini) as work:
        yield work, every(work), take(work, 4)


@pytest.fixture
def graph(opened_graph):
    """The same, at its beginning."""
    work, start, batches = opened_graph
    restart(work, start)
    return work, batches


@pytest.fixture(scope="module")
def two_steps(opened_graph):
    """Losses of two updates in a graph, and the variables after them."""
    work, start, batches = opened_graph
    restart(work, start)
    return [dict(work.read(work.step(batch))) for batch in batches[:2]], every(work)


def same(found, expected):
    """Losses agree within 1e-5, variables within 1e-4 of their greatest, after two updates."""
    for one, other in zip(found[0], expected[0], strict=True):
        assert one == pytest.approx(other, rel=1e-5)
    assert worst(found[1], expected[1]) < 1e-4


def test_a_step_in_a_graph_is_the_eager_one(graph, two_steps):
    """Two updates operation by operation have the losses and weights of the graph."""
    work, batches = graph
    with eager():
        found = [dict(work.read(work.step(batch))) for batch in batches[:2]], every(work)
    same(found, two_steps)


def test_a_step_under_xla_is_the_same(mini):
    """Two updates compiled by XLA have the losses and weights of the graph, and both passes really are clusters.

    Norms are frozen: live ones over a handful of values make a hundredth of a gradient of any rounding.
    """
    frozen = {**LEARNING, "norm": "frozen"}
    with opened(trial(options=frozen, batch_size_per_gpu=2), *mini) as work:
        start, batches = every(work), take(work, 2)
        expected = [dict(work.read(work.step(batch))) for batch in batches], every(work)
    with opened(trial(options=frozen, batch_size_per_gpu=2, xla=True), *mini) as work:
        restart(work, start)
        assert work.compiles(batches[0])
        found = [dict(work.read(work.step(batch))) for batch in batches], every(work)
        assert not work.compiles(batches[0])
        inputs = batches[0].payload[0].learnt()
        concrete = work._trainer._differentiate.concrete(inputs, tf.constant(0, tf.int64), tf.constant(1.0))
    same(found, expected)
    assert worst(expected[1], start) > 1e-2
    calls = [node for node in concrete.graph.as_graph_def().node if "PartitionedCall" in node.op]
    assert [node.attr["_XlaMustCompile"].b for node in calls] == [True, True]
    outside = {node.op for node in concrete.graph.as_graph_def().node}
    assert not {"Conv2D", "Conv2DBackpropFilter", "MatMul", "While", "StatelessWhile"} & outside


def test_twenty_steps_lower_the_loss_and_can_be_repeated(graph):
    """On two batches the last of twenty steps lose clearly less than the first; a second run loses the same."""
    work, batches = graph
    start = every(work)
    with solved_by(work, optimizer="adamw", learning_rate=2e-3, weight_decay=0.01):
        found = [work.read(work.step(batch)) for batch in batches[:2] * 10]
        restart(work, start)
        assert [work.read(work.step(batch)) for batch in take(work, 2)] == found[:2]
    totals = [step["loss"] for step in found]
    assert sum(totals[-6:]) / 6 < 0.75 * totals[0]


def test_without_a_learning_rate_nothing_is_learnt(graph):
    """The control: at rate 0 the trained weights stay to the bit."""
    work, batches = graph
    before = parameters(work)
    with solved_by(work, learning_rate=0.0):
        for batch in batches[:3]:
            work.step(batch)
    assert worst(parameters(work), before) == 0


def test_losses_are_named_and_sum_up(two_steps):
    """Five losses come back with their sum under `loss`."""
    found = two_steps[0][0]
    assert list(found) == [*NAMES, "loss"]
    assert found["loss"] == pytest.approx(sum(found[name] for name in NAMES), rel=1e-6)


def test_a_step_fetches_nothing(graph, monkeypatch):
    """A step hands back tensors and brings none to the host: it does not wait for its own losses."""
    work, batches = graph
    work.step(batches[0])
    kind = type(tf.constant(0.0))
    monkeypatch.setattr(kind, "numpy", lambda _: pytest.fail("a tensor was fetched"))
    monkeypatch.setattr(kind, "__float__", lambda _: pytest.fail("a tensor was fetched"))
    output = work.step(Batch(4, batches[0].payload + batches[1].payload))
    assert all(isinstance(value, kind) and value.shape == () for value in output.values())


def test_accumulated_gradients_are_the_mean_of_the_micro_batches(graph):
    """An update over two micro-batches takes the mean of the gradients and losses that each would have alone."""
    work, batches = graph
    start, apply = every(work), work._trainer._apply
    seen, found = record_gradients(work), []
    both = Batch(4, batches[0].payload + batches[1].payload)
    for batch in (both, *batches[:2]):
        restart(work, start)
        found.append(work.read(work.step(batch)))
    work._trainer._apply = apply
    together, first, second = seen
    assert worst(together, {name: (first[name] + second[name]) / 2 for name in first}) < 1e-5
    assert found[0] == pytest.approx({name: (found[1][name] + found[2][name]) / 2 for name in found[0]}, rel=1e-5)


def test_the_schedule_counts_updates(graph):
    """Each step is one update, whatever its micro-batches; the rate climbs and drops by updates."""
    work, batches = graph
    rates = []
    with solved_by(work, schedule=Schedule((4,), 4, 0.0), learning_rate=1e-3):
        work._trainer._apply = lambda _, rate, update: rates.append((float(rate), int(update)))
        for _ in range(5):
            work.step(Batch(4, batches[0].payload + batches[1].payload))
    assert [update for _, update in rates] == [0, 1, 2, 3, 4]
    assert [rate for rate, _ in rates] == pytest.approx([0, 2.5e-4, 5e-4, 7.5e-4, 1e-4])


def test_evaluating_in_between_changes_nothing(graph, two_steps):
    """Losses after an evaluation, of each val image once, are those of a run without it."""
    work, batches = graph
    first = dict(work.read(work.step(batches[0])))
    assert len(everything(work.evaluation())) == 17
    assert [first, dict(work.read(work.step(batches[1])))] == two_steps[0]


def test_saved_weights_come_back(graph, mini, tmp_path):
    """A model opened from saved weights has the trained ones to the bit, statistics too, by torchvision's names."""
    work, batches = graph
    work.step(batches[0])
    work.save(tmp_path / "weights.safetensors")
    trained = every(work)
    with opened(trial(options={**LEARNING, "weights": str(tmp_path / "weights.safetensors")}), *mini) as again:
        assert worst(every(again), trained) == 0
        assert again.settings()["weights"].endswith("weights.safetensors")
    assert {"backbone.fpn.inner_blocks.0.0.weight", "backbone.body.bn1.running_mean"} < trained.keys()


def test_a_count_of_zero_divides_nothing(graph):
    """A batch without any object has finite losses, no loss of boxes or masks, and moves the weights."""
    work, batches = graph
    (inputs,) = batches[0].payload
    nothing = {name: tf.zeros_like(value) for name, value in inputs.targets.items()}
    before = parameters(work)
    found = work.read(work.step(Batch(2, (dataclasses.replace(inputs, targets=nothing),))))
    assert all(np.isfinite(list(found.values())))
    assert found["loss_rpn_box"] == found["loss_box"] == found["loss_mask"] == 0
    assert worst(parameters(work), before) > 0
    assert 0 < LEAST_COUNT < 1e-4


def test_settings_say_what_trains(graph):
    """The solver, its schedule and the ranks are named beside what the session says."""
    work, _ = graph
    expected = {
        "optimizer": "sgd",
        "learning_rate": "0.01",
        "weight_decay": "0.0001",
        "lr_warmup": "0 steps from 0",
        "lr_steps": "never",
        "ranks_equal": "one rank",
        "half": "none",
    }
    settings = work.settings()
    assert {name: settings[name] for name in expected} == expected
    work.synchronize()
    work.barrier()


def test_the_published_flavour_trains(mini):
    """NVIDIA's losses come back by the same names with its penalty; its solver has no decay of its own."""
    with opened(trial(options={"flavour": "nvidia", "learning_rate": 1e-3, "lr_warmup_steps": 0}), *mini) as work:
        before = parameters(work)
        with eager():
            (found,) = losses(work, 1)
        assert list(found) == [*NAMES, "loss_l2", "loss"]
        assert found["loss"] == pytest.approx(sum(found.values()) - found["loss"], rel=1e-5)
        assert worst(parameters(work), before) > 1e-6
        assert work.settings()["weight_decay"] == "0.0001 among the losses"
        assert work._trainer.solver.config.weight_decay == 0


def test_amp_on_the_cpu_trains_in_bfloat16(mini, two_steps):
    """Amp changes the losses a little, in bfloat16 and without loss scaling; weights and losses stay float32."""
    with opened(trial(options=LEARNING, batch_size_per_gpu=2, precision="amp"), *mini) as work:
        with eager():
            output = work.step(take(work, 1)[0])
        found, settings = work.read(output), work.settings()
        assert {value.dtype for value in output.values()} == {tf.float32}
        assert {variable.dtype for variable in work._variables.values()} == {tf.float32}
    assert (settings["half"], settings["loss_scaling"]) == ("bfloat16", "false")
    assert found["loss"] != two_steps[0][0]["loss"]
    assert found["loss"] == pytest.approx(two_steps[0][0]["loss"], rel=0.05)


def test_a_set_without_objects_is_declined(tmp_path):
    """A set whose only object is a crowd ends in one line."""
    from PIL import Image

    (tmp_path / "images").mkdir()
    Image.new("RGB", (64, 48), (200, 30, 90)).save(tmp_path / "images" / "1.png")
    image = {"id": 1, "file_name": "1.png", "width": 64, "height": 48}
    runs = {"size": [48, 64], "counts": [100, 900, 2072]}
    crowd = {"id": 9, "image_id": 1, "category_id": 7, "bbox": [2, 4, 19, 48], "area": 900, "iscrowd": 1}
    content = {
        "images": [image],
        "annotations": [{**crowd, "segmentation": runs}],
        "categories": [{"id": 7, "name": "seven"}],
    }
    (tmp_path / "instances.json").write_text(json.dumps(content))
    with (
        opened(trial(), os.fspath(tmp_path)) as work,
        pytest.raises(UnsupportedTrialError, match="none of the 1 training images has an object that is no crowd"),
    ):
        take(work, 1)


@pytest.mark.parametrize("lr_steps", ["5,5", "ten"])
def test_bad_decay_steps_are_declined(lr_steps, mini):
    """Decay steps that do not grow are named."""
    with (
        pytest.raises(UnsupportedTrialError, match=f"lr_steps is '{lr_steps}'"),
        opened(trial(options={"lr_steps": lr_steps}), *mini),
    ):
        pass
