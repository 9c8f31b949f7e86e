"""Parameter groups and learning rates."""

import pytest
import torch
from torch import nn

from backends.torch_impl.solver import (
    LR_PER_IMAGE,
    PUBLISHED,
    Schedule,
    Solver,
    SolverConfig,
    parse_steps,
    published_recipe,
)

pytestmark = pytest.mark.torch


def solver(optimizer="sgd", schedule=None):
    """A model with one frozen and one trainable layer, and its solver."""
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    model[0].requires_grad_(False)
    return model, Solver(model, SolverConfig(optimizer, 0.08, 1e-4, schedule or Schedule()))


def test_biases_train_twice_as_fast_and_do_not_decay():
    """SGD has biases at twice the rate without decay, and frozen parameters in no group."""
    model, made = solver()
    weights, biases = made.optimizer.param_groups
    assert (weights["lr"], weights["weight_decay"], weights["params"]) == (0.08, 1e-4, [model[1].weight])
    assert (biases["lr"], biases["weight_decay"], biases["params"]) == (0.16, 0.0, [model[1].bias])
    assert weights["momentum"] == 0.9


def test_one_update_is_sgd_with_momentum_and_decay():
    """Two updates move a weight and a bias as the textbook formula says."""
    model, made = solver()
    layer = model[1]
    before = layer.weight.detach().clone(), layer.bias.detach().clone()
    for update in range(2):
        layer.weight.grad, layer.bias.grad = torch.ones_like(layer.weight), torch.ones_like(layer.bias)
        made.apply_rate(update)
        made.optimizer.step()
    first = before[0] - 0.08 * (1 + 1e-4 * before[0])
    second = first - 0.08 * (0.9 * (1 + 1e-4 * before[0]) + 1 + 1e-4 * first)
    torch.testing.assert_close(layer.weight.detach(), second)
    torch.testing.assert_close(layer.bias.detach(), before[1] - 0.16 * (1 + 1.9))


@pytest.mark.parametrize("images", sorted(PUBLISHED))
def test_the_published_rates_are_one_linear_rule(images):
    """The linear rule gives the published learning rate of every published batch size."""
    published = {4: 0.005, 16: 0.02, 32: 0.04, 64: 0.08, 96: 0.12}
    assert images * LR_PER_IMAGE == pytest.approx(published[images])


def test_recipe_between_the_published_sizes():
    """At an unpublished batch size the rate drops after as many images as at 16."""
    assert published_recipe(8).decay_steps == (120_000, 160_000)
    assert published_recipe(64).warmup_steps == 800


def test_warm_up_climbs_linearly_and_then_the_rate_drops_tenfold():
    """The factor starts at the warm-up factor, reaches 1 right after the warm-up, and drops at each decay step."""
    schedule = Schedule(decay_steps=(33_000, 44_000), warmup_steps=500, warmup_factor=1 / 3)
    found = [schedule.factor(update) for update in (0, 250, 499, 500, 32_999, 33_000, 43_999, 44_000)]
    assert found == pytest.approx([1 / 3, 2 / 3, 1 / 3 + 2 / 3 * 0.998, 1, 1, 0.1, 0.1, 0.01])


def test_warm_up_from_zero_is_the_published_one_of_64_images():
    """At 64 images the rate of the weights is base - (800 - update) * 1e-4, and biases stay at twice that."""
    recipe = published_recipe(64)
    _, made = solver(schedule=Schedule(*recipe))
    for update in (0, 1, 400, 799):
        made.apply_rate(update)
        weights, biases = (group["lr"] for group in made.optimizer.param_groups)
        assert weights == pytest.approx(0.08 - (800 - update) * 1e-4, abs=1e-12)
        assert biases == pytest.approx(2 * weights)


def test_adamw_has_no_bias_factor():
    """AdamW trains weights and biases at one rate and decays weights alone."""
    _, made = solver("adamw")
    assert [(group["lr"], group["weight_decay"]) for group in made.optimizer.param_groups] == [
        (0.08, 1e-4),
        (0.08, 0.0),
    ]


@pytest.mark.parametrize(("text", "expected"), [("", ()), ("10", (10,)), ("33000, 44000", (33_000, 44_000))])
def test_decay_steps_are_read(text, expected):
    """Decay steps are numbers between commas; nothing means never."""
    assert parse_steps(text) == expected


@pytest.mark.parametrize("text", ["ten", "5,5", "9,3", "0", "-1", "1.5"])
def test_decay_steps_that_are_none(text):
    """Words, fractions, repeats and a falling order are refused."""
    with pytest.raises(ValueError, match=r".+"):
        parse_steps(text)
