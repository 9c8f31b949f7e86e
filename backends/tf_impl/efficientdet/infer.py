"""Inference for its speed: the eval phase's steps over this rank's shard, again and again, in full batches."""

from backends.tf_impl.efficientdet.evaluate import Inference, open_inference
from harness.api import Context, Trial


def open_infer(trial: Trial, context: Context) -> Inference:
    """Inference steps without end; errors as `open_inference`."""
    return open_inference(trial, context, endless=True)
