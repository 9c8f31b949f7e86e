"""Small EfficientDet trials for the tests of the TensorFlow backend: tiny images, a narrow backbone, one BiFPN cell."""

import contextlib
import dataclasses
from unittest import mock

import numpy as np

from backends.tf_impl.efficientdet import session
from backends.tf_impl.efficientdet.evaluate import open_eval
from backends.tf_impl.efficientdet.infer import open_infer
from backends.tf_impl.efficientdet.train import open_train
from backends.tf_impl.layers import named_variables
from harness.api import Context, Trial

OPEN = {"train": open_train, "eval": open_eval, "infer": open_infer}
SMALL = {"loader_threads": 1, "optimizer": "adamw", "learning_rate": 3e-3}
FEW = {"width": 0.25, "depth": 0.25, "fpn_channels": 16, "fpn_cells": 1, "head_depth": 1, "candidates": 200}
"""A fifteenth of D0's parameters: compiling and computing cost little, and every kind of layer is there."""


def trial(phase="train", options=None, **axes):
    """A trial on tiny images; options and axes win over the small defaults."""
    return Trial(
        backend="tf_efficientdet_d0",
        phase=phase,
        **{"image_size": 128, **axes},
        options={**SMALL, **(options or {})},
    )


@contextlib.contextmanager
def opened(wanted, train="", val="", rank=0, **config):
    """The work of a trial on one rank, closed afterwards; `config` changes fields of the model's configuration."""
    make = session.config_of

    def few(*args):
        return dataclasses.replace(make(*args), **{**FEW, **config})

    with mock.patch.object(session, "config_of", few):
        work = OPEN[wanted.phase](wanted, Context(rank, rank, wanted.world_size, train, val))
    with contextlib.closing(work):
        yield work


def take(work, count):
    """The first batches, loader closed."""
    with contextlib.closing(work.batches()) as batches:
        return [next(batches) for _ in range(count)]


def losses(work, count):
    """What `read` says of each of the first steps."""
    return [dict(work.read(work.step(batch))) for batch in take(work, count)]


def everything(work):
    """All detections of a pass over the shard, by image id."""
    return {found.image_id: found for batch in work.batches() for found in work.detections(work.step(batch))}


def variables(work):
    """Copies of all variables by name, statistics included."""
    return {name: variable.numpy() for name, variable in named_variables(work._session.model).items()}


def worst(found, expected):
    """The largest difference of any tensor, relative to that tensor's absolute maximum."""
    assert found.keys() == expected.keys()
    return max(
        float(np.abs(found[name] - expected[name]).max() / max(np.abs(expected[name]).max(), 1e-12))
        for name in expected
    )


def confident(model, scale=30.0):
    """Make a random model sure of itself, so that it detects: class scores spread out."""
    weight = model.class_net.predict.conv_pw.weight
    weight.assign(weight * scale)
