"""Small Mask R-CNN trials for the tests of the TensorFlow backend: tiny images, a ten-layer trunk, few RoIs."""

import contextlib
import dataclasses
from unittest import mock

import numpy as np
import tensorflow as tf

from backends.tf_impl.graph import compiled
from backends.tf_impl.layers import named_variables
from backends.tf_impl.maskrcnn import session
from backends.tf_impl.maskrcnn.evaluate import open_eval
from backends.tf_impl.maskrcnn.infer import open_infer
from backends.tf_impl.maskrcnn.train import open_train
from backends.tf_impl.solver import Solver
from harness.api import Context, Trial

OPEN = {"train": open_train, "eval": open_eval, "infer": open_infer}
SMALL = {"backbone": "resnet10", "fpn_channels": 16, "loader_threads": 1, "canvas": "fixed"}
"""One canvas: a shape compiles once, and compiling is what these tests take their time for."""
FEW = {
    "roi_samples": 32,
    "rpn_samples": 64,
    "rpn_pre_nms_train": 100,
    "rpn_pre_nms_test": 100,
    "rpn_post_nms_train": 100,
    "rpn_post_nms_test": 60,
    "detections": 20,
}
"""The box head then has 32 RoIs an image instead of 512, which is where a step of this size spends its time."""


def trial(phase="train", options=None, **axes):
    """A trial on tiny images; options and axes win over the small defaults."""
    return Trial(backend="tf_maskrcnn", phase=phase, **{"image_size": 64, **axes}, options={**SMALL, **(options or {})})


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


def worst(found, expected):
    """The largest difference of any tensor, relative to that tensor's absolute maximum."""
    assert found.keys() == expected.keys()
    return max(
        float(np.abs(found[name] - expected[name]).max() / max(np.abs(expected[name]).max(), 1e-12))
        for name in expected
    )


def parameters(work):
    """Copies of the trainable parameters by name."""
    named = named_variables(work._session.model).items()
    return {name: variable.numpy().copy() for name, variable in named if variable.trainable}


def everything(work):
    """All detections of a pass over the shard, by image id."""
    return {found.image_id: found for batch in work.batches() for found in work.detections(work.step(batch))}


def confident(model, scale=100.0):
    """Make a random model sure of itself, so that it detects: class scores spread out, boxes move."""
    for layer in (model.roi_heads.box_predictor.cls_score, model.roi_heads.box_predictor.bbox_pred):
        layer.weight.assign(layer.weight * scale)


def every(work):
    """Copies of all variables by name, statistics of norms too."""
    return {name: variable.numpy().copy() for name, variable in named_variables(work._session.model).items()}


def restart(work, start):
    """Put a training work back to its beginning, on given weights, so that what it compiled can be used again."""
    for name, variable in named_variables(work._session.model).items():
        variable.assign(start[name])
    solver = work._trainer.solver
    for variable in (*(slot for slots in solver._slots for slot in slots), solver._applied):
        variable.assign(tf.zeros_like(variable))
    work._updates = 0


@contextlib.contextmanager
def solved_by(work, **changes):
    """Another optimiser for a while, on what the work has compiled."""
    trainer = work._trainer
    before = trainer.solver, trainer._apply
    trainer.solver = Solver(trainer.solver.variables_by_name, dataclasses.replace(trainer.solver.config, **changes))
    trainer._apply = compiled(trainer._reduced_and_applied, xla=False)
    try:
        yield
    finally:
        trainer.solver, trainer._apply = before


def record_gradients(work):
    """A list that receives every update's gradients by name, just before the ranks and the optimiser take them."""
    seen = []
    apply = work._trainer._apply

    def copied(gradients, *rest):
        names = work._trainer.solver.variables_by_name
        seen.append({name: gradient.numpy() for name, gradient in zip(names, gradients, strict=True)})
        return apply(gradients, *rest)

    work._trainer._apply = copied
    return seen
