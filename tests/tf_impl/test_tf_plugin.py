"""What the backend says of itself, its options, and what they make of the model."""

import subprocess
import sys
from dataclasses import fields

import pluggy
import pytest

from backends.tf_impl.maskrcnn import plugin
from backends.tf_impl.maskrcnn.options import OPTIONS, Options, options_of
from backends.tf_impl.maskrcnn.session import config_of
from backends.tf_impl.maskrcnn.train import solver_config
from harness import hookspecs
from harness.api import Trial, UnsupportedTrialError

pytestmark = pytest.mark.tf


def trial(phase="train", image_size=None, **options):
    """A trial with options."""
    return Trial(backend="tf_maskrcnn", phase=phase, image_size=image_size, options=options)


def config(wanted):
    """The model's numbers of a trial on six classes."""
    return config_of(wanted, options_of(wanted), 6)


def test_describing_imports_no_framework():
    """Describing the backend imports neither tensorflow nor keras nor horovod nor numpy."""
    code = (
        "import sys; from backends.tf_impl.maskrcnn import plugin; print(plugin.harness_describe().name);"
        "assert not {'tensorflow', 'keras', 'horovod', 'numpy', 'cv2'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "tf_maskrcnn\n"), done.stderr


def test_hooks_match_the_specifications():
    """Every hook of the plugin is one that the host knows, with the host's arguments."""
    manager = pluggy.PluginManager(hookspecs.PROJECT_NAME)
    manager.add_hookspecs(hookspecs)
    manager.register(plugin)
    manager.check_pending()
    implemented = {caller.name for caller in manager.get_hookcallers(plugin)}
    assert implemented == {"harness_describe", "harness_train", "harness_eval", "harness_infer"}


def test_what_it_offers():
    """All phases and precisions, XLA, and ranks by Horovod."""
    info = plugin.harness_describe()
    assert (info.framework, info.model, info.xla) == ("tensorflow", "Mask R-CNN", True)
    assert (info.phases, info.precisions) == (("train", "eval", "infer"), ("fp32", "tf32", "amp"))
    assert info.launchers == ("horovod",)
    assert info.distributions[0] == "tensorflow"


def test_every_option_has_a_typed_field_and_a_default_that_it_allows():
    """Options and their typed form have the same names, and each default is a choice or null."""
    assert sorted(option.name for option in OPTIONS) == sorted(field.name for field in fields(Options))
    for option in OPTIONS:
        assert option.default is None or not option.choices or option.default in option.choices
        assert option.help


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flavor": "nvidia"}, "'flavor' is not known"),
        ({"norm": "group"}, "norm is 'group'; it would be one of frozen"),
        ({"canvas": "square"}, "canvas is 'square'; it would be one of oriented"),
    ],
)
def test_unknown_options_are_declined(options, message):
    """An unknown option or choice is declined with its name."""
    with pytest.raises(UnsupportedTrialError, match=message):
        options_of(trial(**options))


def test_the_rois_of_an_image_are_an_option():
    """`rois_per_image` changes what the heads are trained on; null leaves the published 512."""
    assert [config(trial(rois_per_image=count)).roi_samples for count in (None, 64)] == [512, 64]


@pytest.mark.parametrize(
    ("image_size", "canvas", "sides"), [(None, (832, 1344), (800, 1333)), (64, (64, 128), (64, 106))]
)
def test_the_image_size_scales_both_kinds_of_canvas(image_size, canvas, sides):
    """The published size keeps 832 x 1344 and 800 to 1333; another one keeps their shape."""
    made = config(trial(image_size=image_size))
    assert (made.canvas_size, (made.shorter_side, made.longer_side)) == (canvas, sides)


@pytest.mark.parametrize(
    ("option", "flavour", "expected"),
    [
        (None, "nvidia", "oriented"),
        (None, "torchvision", "batch"),
        ("own", "nvidia", "batch"),
        ("fixed", "torchvision", "fixed"),
    ],
)
def test_the_canvas_is_the_options_or_the_flavours(option, flavour, expected):
    """Null leaves each flavour its own canvas."""
    assert config(trial(canvas=option, flavour=flavour)).canvas == expected


@pytest.mark.parametrize(
    ("options", "penalty", "decay"),
    [
        ({}, 1e-4, 0.0),
        ({"weight_decay": 0.5}, 0.5, 0.0),
        ({"flavour": "torchvision"}, 0.0, 1e-4),
        ({"flavour": "torchvision", "weight_decay": 0.5}, 0.0, 0.5),
        ({"optimizer": "adamw"}, 0.0, 0.01),
        ({"weight_decay": 0.0}, 0.0, 0.0),
    ],
)
def test_weights_decay_once(options, penalty, decay):
    """The published system decays by a loss, all else by the solver, and never both do."""
    wanted = trial(**options)
    assert config(wanted).l2_weight == penalty
    assert solver_config(wanted, options_of(wanted)).weight_decay == decay


def test_the_published_recipe_is_the_default():
    """At 32 images an update: rate 0.04 after 1000 steps from zero, dropping at 30000 and 40000."""
    wanted = Trial(backend="tf_maskrcnn", phase="train", gpus=8, batch_size_per_gpu=4)
    made = solver_config(wanted, options_of(wanted))
    assert (made.optimizer, made.learning_rate, made.momentum) == ("sgd", pytest.approx(0.04), 0.9)
    assert (made.schedule.decay_steps, made.schedule.warmup_steps) == ((30_000, 40_000), 1000)
    assert made.schedule.warmup_factor == 0
