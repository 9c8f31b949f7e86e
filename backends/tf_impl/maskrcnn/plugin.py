"""The entry point of TensorFlow Mask R-CNN; TensorFlow is imported by the hooks that need it, never by this module."""

from backends.tf_impl.maskrcnn.options import OPTIONS
from harness.api import BackendInfo, Context, InferenceWork, TrainWork, Trial, hookimpl

INFO = BackendInfo(
    name="tf_maskrcnn",
    framework="tensorflow",
    model="Mask R-CNN",
    phases=("train", "eval", "infer"),
    precisions=("fp32", "tf32", "amp"),
    devices=("cpu", "cuda"),
    xla=True,
    launchers=("horovod",),
    distributions=("tensorflow", "horovod", "numpy", "simplejpeg", "opencv-python-headless"),
    options=OPTIONS,
    kernels_builder="backends.tf_impl.kernels",
    rehearsal={
        "backbone": "resnet10",
        "fpn_channels": 16,
        "rois_per_image": 16,
        "weights": "random",
        "weights_part": "model",
        "loader_threads": 1,
    },
)


@hookimpl
def harness_describe() -> BackendInfo:
    """Return the static facts; no framework is imported."""
    return INFO


@hookimpl
def harness_train(trial: Trial, context: Context) -> TrainWork:
    """Return training steps."""
    from backends.tf_impl.maskrcnn.train import open_train  # noqa: PLC0415  describing must not import tensorflow

    return open_train(trial, context)


@hookimpl
def harness_eval(trial: Trial, context: Context) -> InferenceWork:
    """Return evaluation steps over this rank's shard."""
    from backends.tf_impl.maskrcnn.evaluate import open_eval  # noqa: PLC0415  describing must not import tensorflow

    return open_eval(trial, context)


@hookimpl
def harness_infer(trial: Trial, context: Context) -> InferenceWork:
    """Return inference steps that cycle over the val set."""
    from backends.tf_impl.maskrcnn.infer import open_infer  # noqa: PLC0415  describing must not import tensorflow

    return open_infer(trial, context)
