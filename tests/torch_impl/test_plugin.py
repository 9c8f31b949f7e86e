"""What the backend says of itself, and its options."""

import subprocess
import sys
from dataclasses import fields

import pluggy
import pytest

from backends.torch_impl.maskrcnn import plugin
from backends.torch_impl.maskrcnn.options import OPTIONS, Options, options_of
from harness import hookspecs
from harness.api import Trial, UnsupportedTrialError

pytestmark = pytest.mark.torch


def trial(**options):
    """A trial with options."""
    return Trial(backend="torch_maskrcnn", phase="train", options=options)


def test_describing_imports_no_framework():
    """Describing the backend imports neither torch nor torchvision nor numpy."""
    code = (
        "import sys; from backends.torch_impl.maskrcnn import plugin; print(plugin.harness_describe().name);"
        "assert not {'torch', 'torchvision', 'numpy', 'cv2'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "torch_maskrcnn\n"), done.stderr


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
    assert [option.name for option in OPTIONS] == [field.name for field in fields(Options)]
    for option in OPTIONS:
        assert option.default is None or not option.choices or option.default in option.choices
        assert option.help


def test_options_of_a_trial_win_over_defaults():
    """What a trial sets is taken, what it leaves open or null is the default."""
    options = options_of(trial(flavour="torchvision", learning_rate=0.5, half=None))
    assert (options.flavour, options.learning_rate, options.half, options.fpn_channels) == (
        "torchvision",
        0.5,
        "auto",
        256,
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flavor": "nvidia"}, "'flavor' is not known"),
        ({"norm": "group"}, "norm is 'group'; it would be one of frozen"),
    ],
)
def test_unknown_options_are_declined(options, message):
    """An unknown option or choice is declined with its name."""
    with pytest.raises(UnsupportedTrialError, match=message):
        options_of(trial(**options))
