"""What the EfficientDet backend says of itself, its options, and the published recipes."""

import subprocess
import sys
from dataclasses import fields

import pluggy
import pytest

from backends.tf_impl.efficientdet import plugin
from backends.tf_impl.efficientdet.options import OPTIONS, Options, options_of
from backends.tf_impl.efficientdet.recipe import PUBLISHED, published_recipe, steps_of
from harness import hookspecs
from harness.api import Trial, UnsupportedTrialError


def trial(**options):
    """A trial with options."""
    return Trial(backend="tf_efficientdet_d0", phase="train", options=options)


def test_describing_imports_no_framework():
    """Describing the backend imports neither tensorflow nor keras nor numpy."""
    code = (
        "import sys; from backends.tf_impl.efficientdet import plugin; print(plugin.harness_describe().name);"
        "assert not {'tensorflow', 'keras', 'numpy', 'cv2'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "tf_efficientdet_d0\n"), done.stderr


def test_hooks_match_the_specifications():
    """Every hook of the plugin is one that the host knows, with the host's arguments."""
    manager = pluggy.PluginManager(hookspecs.PROJECT_NAME)
    manager.add_hookspecs(hookspecs)
    manager.register(plugin)
    manager.check_pending()
    implemented = {caller.name for caller in manager.get_hookcallers(plugin)}
    assert implemented == {"harness_describe", "harness_train", "harness_eval", "harness_infer"}


def test_every_option_has_a_typed_field_and_a_default_that_it_allows():
    """Options and their typed form have the same names, and each default is a choice or null."""
    assert sorted(option.name for option in OPTIONS) == sorted(field.name for field in fields(Options))
    for option in OPTIONS:
        assert option.default is None or not option.choices or option.default in option.choices
        assert option.help


def test_options_of_a_trial_win_over_defaults():
    """What a trial sets is taken, what it leaves open or null is the default."""
    options = options_of(trial(variant="lite0", learning_rate=0.5, half=None))
    assert (options.variant, options.learning_rate, options.half, options.nms) == ("lite0", 0.5, "auto", "hard")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"varient": "d0"}, "'varient' is not known"),
        ({"variant": "d8"}, "variant is 'd8'; it would be one of d0"),
        ({"scale_min": 2.0, "scale_max": 1.0}, "scale_min is 2 and scale_max 1"),
    ],
)
def test_unknown_options_are_declined(options, message):
    """An unknown option or choice, or a jitter upside down, is declined with its name."""
    with pytest.raises(UnsupportedTrialError, match=message):
        options_of(trial(**options))


def test_other_batch_sizes_take_the_rate_of_eight_a100s_in_proportion():
    """1,600 images take the published 2.2, an eighth of them an eighth of it, with the same warm-up in epochs."""
    whole, part = published_recipe(1600), published_recipe(200)
    assert whole == PUBLISHED[1600]
    assert part.learning_rate == pytest.approx(2.2 / 8)
    assert part[1:] == whole[1:]


def test_a_published_epoch_is_120000_images():
    """400 epochs of 1,600 images are 30,000 updates; a batch that does not divide the epoch is rounded up."""
    assert (steps_of(400, 1600), steps_of(1, 832)) == (30_000, 145)
