"""Out-of-memory errors, threads, and waiting for a device that is done already."""

import pytest
import tensorflow as tf

from backends.tf_impl import device as module
from backends.tf_impl.device import (
    Device,
    device_name,
    device_of,
    memory_errors,
    set_threads,
    synchronize,
    thread_count,
)
from harness.api import Context, DeviceOutOfMemoryError, Trial, UnsupportedTrialError

pytestmark = pytest.mark.tf
CONTEXT = Context(1, 1, 2, "", "")


def test_an_allocation_that_cannot_be_had_is_out_of_memory():
    """What TensorFlow's CPU allocator refuses becomes the harness's error, on one line."""
    with pytest.raises(DeviceOutOfMemoryError, match="OOM when allocating") as caught, memory_errors():
        tf.zeros((1 << 50,), tf.uint8)
    assert "\n" not in str(caught.value)


def test_what_xla_calls_out_of_memory_is_the_same_error():
    """XLA reports exhausted memory as an internal error; its first line is kept."""
    message = "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 20 bytes.\nmore advice"
    with pytest.raises(DeviceOutOfMemoryError, match=r"20 bytes\.$"), memory_errors():
        raise tf.errors.InternalError(None, None, message)


def test_other_errors_stay_what_they_are():
    """A shape error is no lack of memory."""
    with pytest.raises(tf.errors.InvalidArgumentError), memory_errors():
        tf.ones(2) + tf.ones(3)


def test_the_cpu_needs_no_waiting():
    """On the CPU a result is there when its call returns, and the device is called cpu."""
    synchronize(Device("cpu"))
    assert device_name(Device("cpu")) == "cpu"


def test_a_rank_without_a_gpu_of_its_own_is_declined():
    """A rank whose place has no CUDA device is declined with the number that was found."""
    trial = Trial(backend="tf_maskrcnn", phase="infer", device="cuda", gpus=2)
    if len(tf.config.list_physical_devices("GPU")) > 1:
        pytest.skip("this machine has a second GPU")
    with pytest.raises(UnsupportedTrialError, match="local rank 1 needs its own CUDA device; tensorflow finds"):
        device_of(trial, CONTEXT)


def test_a_cpu_trial_sees_no_gpu():
    """On the CPU, no accelerator is visible to TensorFlow."""
    assert device_of(Trial(backend="tf_maskrcnn", phase="infer"), CONTEXT) == Device("cpu")
    assert tf.config.get_visible_devices("GPU") == []


def test_threads_are_taken_from_the_option_and_then_from_the_launcher(monkeypatch):
    """The option wins over the launcher's share; without either TensorFlow is left alone."""
    chosen = []
    monkeypatch.setattr(module, "thread_count", lambda: 1)
    monkeypatch.setattr(tf.config.threading, "set_intra_op_parallelism_threads", chosen.append)
    monkeypatch.setenv(module.THREADS_VARIABLE, "3")
    for option in (5, None, 1):
        set_threads(option)
    monkeypatch.delenv(module.THREADS_VARIABLE)
    set_threads(None)
    assert chosen == [5, 3]


def test_threads_cannot_change_once_tensorflow_runs():
    """Another number of threads in a running process is declined, not ignored."""
    tf.constant(1.0)
    with pytest.raises(UnsupportedTrialError, match="cpu_threads is 7; tensorflow already runs with 1 threads"):
        set_threads(7)
    assert thread_count() == 1
