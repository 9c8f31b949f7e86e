"""The entry point of EfficientDet; tensorflow is imported by the hooks that need it, never by this module."""

from backends.tf_impl.efficientdet.options import OPTIONS
from harness.api import BackendInfo, Context, InferenceWork, TrainWork, Trial, hookimpl

INFO = BackendInfo(
    name="tf_efficientdet_d0",
    framework="tensorflow",
    model="EfficientDet-D0",
    phases=("train", "eval", "infer"),
    precisions=("fp32", "tf32", "amp"),
    devices=("cpu", "cuda"),
    xla=True,
    launchers=("horovod",),
    distributions=("tensorflow", "horovod", "numpy", "simplejpeg", "opencv-python-headless"),
    options=OPTIONS,
    kernels_builder="backends.tf_impl.kernels",
    # Lite0 has D0's pyramid, heads and losses, and XLA is through with it in half the time
    rehearsal={
        "variant": "lite0",
        "weights": "random",
        "weights_part": "model",
        "num_classes": None,
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
    from backends.tf_impl.efficientdet.train import open_train  # noqa: PLC0415  describing must not import tensorflow

    return open_train(trial, context)


@hookimpl
def harness_eval(trial: Trial, context: Context) -> InferenceWork:
    """Return evaluation steps over this rank's shard."""
    from backends.tf_impl.efficientdet.evaluate import open_eval  # noqa: PLC0415  describing must not import tensorflow

    return open_eval(trial, context)


@hookimpl
def harness_infer(trial: Trial, context: Context) -> InferenceWork:
    """Return inference steps that cycle over the val set."""
    from backends.tf_impl.efficientdet.infer import open_infer  # noqa: PLC0415  describing must not import tensorflow

    return open_infer(trial, context)
