"""How a session gets its kernels, and what the record says of them."""

from dataclasses import dataclass

import pytest
import tensorflow as tf
from tensorflow.python.framework import kernels as registry  # nothing public tells of kernels

from backends.tf_impl.device import Device, thread_count
from backends.tf_impl.kernels import building, choose_kernels, framework, native
from harness.kernels import Built, KernelError, Library, build, load

pytestmark = pytest.mark.tf

CPU = Device("cpu")


@dataclass(frozen=True)
class Options:
    """What a trial says of its kernels."""

    kernels: str = "native"
    strict_kernels: bool = False


def test_native_kernels_are_the_choice_and_use_tensorflows_threads(monkeypatch):
    """The words are those of the record."""
    asked = []
    monkeypatch.setattr(Library, "set_threads", lambda _, threads: asked.append(threads))
    assert choose_kernels(Options(), CPU, xla=False) == (native, "native (cpu)")
    assert asked == [thread_count()]


def test_plain_tensorflow_is_used_where_asked_for():
    """Strictness has nothing against it, nor has XLA."""
    for xla in (False, True):
        assert choose_kernels(Options("framework", strict_kernels=True), CPU, xla=xla) == (framework, "framework")


def test_native_kernels_are_refused_under_xla():
    """With that reason; strictly, it is an error."""
    reason = "XLA compiles no custom operation"
    assert choose_kernels(Options(), CPU, xla=True) == (framework, f"framework instead of native: {reason}")
    with pytest.raises(KernelError, match=f"native kernels cannot be had: {reason}"):
        choose_kernels(Options(strict_kernels=True), CPU, xla=True)


def test_xla_compiles_none_of_the_operations():
    """The reason is true."""
    native.load("cpu")
    compiled = tf.function(native.box_iou, jit_compile=True, autograph=False)
    with pytest.raises(tf.errors.InvalidArgumentError, match="HarnessBoxIou"):
        compiled(tf.zeros((2, 4)), tf.zeros((2, 4)))


def test_operations_that_cannot_be_built_are_a_reason(monkeypatch):
    """One line, and an error where the trial is strict."""

    def refuse():
        raise KernelError("g++ failed: no space left")

    monkeypatch.setattr(native, "operations", refuse)
    assert choose_kernels(Options(), CPU, xla=False) == (
        framework,
        "framework instead of native: g++ failed: no space left",
    )
    with pytest.raises(KernelError, match=r"cannot be had: g\+\+ failed: no space left"):
        choose_kernels(Options(strict_kernels=True), CPU, xla=False)


def test_a_file_that_is_no_library_is_named(monkeypatch, tmp_path):
    """Loading fails in one line that names the file."""
    broken = tmp_path / "broken.so"
    broken.write_bytes(b"nothing")
    monkeypatch.setattr(building, "build", lambda _: Built(broken, load("cpu").built.compiler, 0.0))
    with pytest.raises(KernelError, match=r"broken\.so cannot be loaded: .*$") as refusal:
        building.operations.__wrapped__()
    assert "\n" not in str(refusal.value)


def test_the_binding_is_another_for_another_tensorflow(monkeypatch):
    """Its digest holds TensorFlow's version and the library that it is linked to."""
    before = building.binding_recipe(load("cpu")).digest()
    assert before == building.binding_recipe(load("cpu")).digest()
    monkeypatch.setattr(tf.version, "VERSION", "0.0")
    assert building.binding_recipe(load("cpu")).digest() != before


@pytest.mark.slow
def test_gpu_kernels_of_every_operation_link_and_load():
    """Without a GPU too: all that the binding calls is in the library, and each operation has its GPU kernel."""
    try:
        library = load("cuda")
    except KernelError as error:
        pytest.skip(str(error))
    build(building.binding_recipe(library))
    native.load("cuda")
    kernels = registry.get_all_registered_kernels().kernel
    found = {device: {one.op for one in kernels if one.device_type == device} for device in ("CPU", "GPU")}
    ours = {device: {op for op in ops if op.startswith("Harness")} for device, ops in found.items()}
    assert len(ours["CPU"]) == 13
    assert ours["CPU"] == ours["GPU"]
