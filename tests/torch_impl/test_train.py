"""Training steps: updates, accumulation, losses, and what comes between them."""

from collections import Counter

import pytest
import torch
from torch_runs import (
    crowds_only,
    everything,
    losses,
    opened,
    parameters,
    plain_convolutions,
    record_gradients,
    take,
    trial,
    worst,
)

from backends.torch_impl.maskrcnn.inputs import TrainInputs
from backends.torch_impl.maskrcnn.targets import Target
from harness.api import Batch, UnsupportedTrialError

pytestmark = pytest.mark.torch
LEARNING = {"norm": "batch", "optimizer": "adamw", "learning_rate": 2e-3}


def total(steps):
    """The total loss of each step."""
    return [step["loss"] for step in steps]


@pytest.mark.parametrize("flavour", ["nvidia", "torchvision"])
def test_twenty_steps_lower_the_loss(mini, flavour):
    """The last five of twenty steps lose clearly less than on the same images without learning."""
    last = []
    for rate in (LEARNING["learning_rate"], 0.0):
        options = {**LEARNING, "flavour": flavour, "learning_rate": rate}
        with opened(trial(options=options, batch_size_per_gpu=2), *mini) as work:
            last.append(sum(total(losses(work, 20))[-5:]))
    assert last[0] < 0.8 * last[1]


def test_without_a_learning_rate_nothing_is_learnt(mini):
    """The control: at rate 0 the weights stay to the bit, and the same batch loses the same again."""
    wanted = trial(options={**LEARNING, "learning_rate": 0.0, "norm": "frozen"}, batch_size_per_gpu=2)
    with opened(wanted, *mini) as work:
        before = parameters(work)
        losses(work, 6)
        assert worst(parameters(work), before) == 0


def test_the_same_seed_gives_the_same_losses(mini):
    """Two runs from one seed lose the same to the bit; another seed does not."""
    runs = []
    for seed in (3, 3, 4):
        with opened(trial(options=LEARNING, batch_size_per_gpu=2, seed=seed), *mini) as work:
            runs.append(losses(work, 4))
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_losses_are_named_and_sum_up(mini):
    """Five losses come back with their sum under `loss`."""
    with opened(trial(options=LEARNING), *mini) as work:
        (found,) = losses(work, 1)
    assert list(found) == ["loss_objectness", "loss_rpn_box", "loss_class", "loss_box", "loss_mask", "loss"]
    assert found["loss"] == pytest.approx(sum(found.values()) - found["loss"], rel=1e-6)


def test_a_step_fetches_no_scalar(mini, monkeypatch):
    """A step hands back detached tensors and calls `item` on none: it does not wait for its own losses."""
    with opened(trial(options=LEARNING, gradient_accumulation_steps=2), *mini) as work:
        (batch,) = take(work, 1)
        calls = Counter()
        item = torch.Tensor.item
        monkeypatch.setattr(torch.Tensor, "item", lambda tensor: (calls.update(item=1), item(tensor))[1])
        output = work.step(batch)
    assert calls["item"] == 0
    assert all(isinstance(value, torch.Tensor) and not value.requires_grad for value in output.values())


def test_each_step_is_one_update_of_all_its_micro_batches(mini):
    """With three micro-batches the first update comes after exactly three, and the schedule counts updates."""
    options = {"lr_warmup_steps": 4, "lr_warmup_factor": 0.0, "lr_steps": "4", "learning_rate": 1e-3}
    with opened(trial(options=options, gradient_accumulation_steps=3), *mini) as work:
        gradients, rates, passes = record_gradients(work), [], Counter()
        work._session.model.register_forward_hook(lambda *_: passes.update(forward=1))
        for batch in take(work, 5):
            assert batch.images == 3
            work.step(batch)
            rates.append(work._solver.optimizer.param_groups[0]["lr"])
    assert (len(gradients), passes["forward"]) == (5, 15)
    assert rates == pytest.approx([0, 2.5e-4, 5e-4, 7.5e-4, 1e-4])


@pytest.mark.parametrize("flavour", ["nvidia", "torchvision"])
def test_accumulated_gradients_are_the_mean_of_the_micro_batches(mini, flavour):
    """An update over two micro-batches takes the mean of the gradients that each would have alone."""
    options = {"flavour": flavour, "learning_rate": 0.0}
    with opened(trial(options=options, gradient_accumulation_steps=2), *mini) as work:
        seen = record_gradients(work)
        (batch,) = take(work, 1)
        work.step(batch)
        for inputs in batch.payload:
            work._updates = 0
            work.step(Batch(1, (inputs,)))
    together, first, second = seen
    assert worst(together, {name: (first[name] + second[name]) / 2 for name in first}) < 1e-6


@pytest.mark.parametrize("flavour", ["nvidia", "torchvision"])
def test_micro_batches_of_equal_counts_are_one_big_batch(flavour):
    """Where every image fills its samples, 2 x 1 accumulated images have the gradients of 1 x 2."""
    options = {"flavour": flavour, "proposals_per": "image"}
    full = {"rpn_samples": 16, "roi_samples": 4}  # one foreground RoI an image, which every image has
    gradients = []
    for batch, parts in ((1, 2), (2, 1)):
        wanted = trial(options=options, batch_size_per_gpu=batch, gradient_accumulation_steps=parts)
        with plain_convolutions(), opened(wanted, "synthetic:64x64:6", **full) as work:
            gradients.append(record_gradients(work))
            losses(work, 1)
    assert worst(gradients[0][0], gradients[1][0]) < 1e-6


def test_evaluating_in_between_changes_nothing(mini):
    """Losses after an evaluation are those of a run without it."""
    runs = []
    for evaluate in (False, True):
        with opened(trial(options=LEARNING), *mini) as work:
            batches = take(work, 3)
            found = [work.read(work.step(batches[0]))]
            if evaluate:
                evaluation = work.evaluation()
                assert len(everything(evaluation)) == 17
                assert not work._session.model.training
            found += [work.read(work.step(batch)) for batch in batches[1:]]
            assert work._session.model.training
            runs.append(found)
    assert runs[0] == runs[1]


def test_saved_weights_come_back(mini, tmp_path):
    """A model opened from saved weights has the trained ones, with torchvision's names."""
    with opened(trial(options=LEARNING), *mini) as work:
        losses(work, 2)
        work.save(tmp_path / "weights.safetensors")
        trained = parameters(work)
    options = {"norm": "batch", "weights": str(tmp_path / "weights.safetensors")}
    with opened(trial(options=options), *mini) as work:
        assert worst(parameters(work), trained) == 0
    assert "backbone.fpn.inner_blocks.0.0.weight" in trained


def test_amp_on_the_cpu_trains_in_bfloat16(mini):
    """Amp changes the losses a little, in bfloat16 and without loss scaling."""
    runs = {}
    for precision in ("fp32", "amp"):
        with opened(trial(options=LEARNING, precision=precision), *mini) as work:
            runs[precision] = losses(work, 1)[0]["loss"]
            settings = work.settings()
    assert (settings["half"], settings["loss_scaling"]) == ("bfloat16", "false")
    assert runs["amp"] != runs["fp32"]
    assert runs["amp"] == pytest.approx(runs["fp32"], rel=0.05)


@pytest.mark.parametrize("flavour", ["nvidia", "torchvision"])
@pytest.mark.parametrize("ids", [(5,), (5, 6)])
def test_images_without_objects_are_learnt_from(mini, flavour, ids):
    """A step on images without any object has finite losses, no mask loss, and moves the weights."""
    targets = tuple(Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), image_id) for image_id in ids)
    inputs = TrainInputs(
        torch.full((len(ids), 64, 64, 3), 90, dtype=torch.uint8), torch.tensor([(60, 50)] * len(ids)), targets
    )
    with opened(trial(options={**LEARNING, "flavour": flavour}), *mini) as work:
        before = parameters(work)
        found = work.read(work.step(Batch(len(ids), (inputs,))))
        assert worst(parameters(work), before) > 0
    assert all(value == value and abs(value) < 100 for value in found.values())  # noqa: PLR0124  NaN differs from itself
    assert found["loss_mask"] == 0
    assert found["loss_objectness"] > 0


def test_tf32_on_the_cpu_is_declined(mini):
    """tf32 on the CPU ends with the reason before any work is done."""
    with pytest.raises(UnsupportedTrialError, match="tf32 needs a CUDA device"), opened(trial(precision="tf32"), *mini):
        pass


@pytest.mark.parametrize(
    ("options", "axes", "message"),
    [
        ({"lr_steps": "late"}, {}, "lr_steps is 'late'"),
        ({}, {"xla": True}, "xla is true"),
        ({}, {"device": "cuda"}, "torch finds 0"),
        ({}, {"gpus": 2}, "2 ranks need torchrun's environment"),
    ],
)
def test_what_cannot_be_had_is_declined(mini, options, axes, message, monkeypatch):
    """Bad options, XLA, missing devices and missing ranks end in one line that says what was found."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UnsupportedTrialError, match=message), opened(trial(options=options, **axes), *mini):
        pass


def test_a_set_of_crowds_cannot_be_trained_on(tmp_path):
    """A set whose only objects are crowds is declined in one line."""
    with opened(trial(), crowds_only(tmp_path)) as work, pytest.raises(UnsupportedTrialError, match="none of the 2"):
        work.batches()


def test_published_settings_are_reported(mini):
    """Without options, sgd takes the published rate, warm-up and decay of the effective batch size."""
    with opened(trial(batch_size_per_gpu=2, gradient_accumulation_steps=2), *mini) as work:
        settings = work.settings()
    expected = {"optimizer": "sgd", "learning_rate": "0.005", "lr_steps": "240000,360000", "weight_decay": "0.0001"}
    assert {key: settings[key] for key in expected} == expected
    assert settings["lr_warmup"] == "500 steps from 0.333333"
