"""The switches of fp32, tf32 and amp, and loss scaling."""

import pytest
import tensorflow as tf

from backends.tf_impl import precision as module
from backends.tf_impl.device import Device
from backends.tf_impl.precision import FIRST_LOSS_SCALE, GROWTH_STEPS, LossScaler, set_precision
from harness.api import Trial, UnsupportedTrialError

pytestmark = pytest.mark.tf
CPU, GPU = Device("cpu"), Device("cuda", 0)
tf32_enabled = tf.config.experimental.tensor_float_32_execution_enabled


def trial(precision, device="cpu"):
    """A trial of a precision on a device."""
    return Trial(backend="tf_maskrcnn", phase="infer", precision=precision, device=device)


@pytest.fixture(autouse=True)
def switch():
    """Put TensorFlow's process-wide switch back after each test."""
    before = tf32_enabled()
    yield
    tf.config.experimental.enable_tensor_float_32_execution(before)


@pytest.fixture
def capability(monkeypatch):
    """Let the device report a compute capability, as if it were there."""
    return lambda *version: monkeypatch.setattr(module, "compute_capability", lambda _: version)


def test_fp32_switches_tf32_off_where_tensorflow_has_it_on():
    """fp32 turns TF32 off, whose default is on."""
    tf.config.experimental.enable_tensor_float_32_execution(True)
    precision = set_precision(trial("fp32"), CPU)
    assert not tf32_enabled()
    assert (precision.half, precision.tf32, precision.compute) == (None, False, tf.float32)
    assert precision.settings() == {"half": "none", "loss_scaling": "false", "tf32": "false"}


def test_tf32_is_switched_on_from_ampere_on(capability):
    """tf32 on compute capability 8.0 turns the switch on and uses no half type."""
    capability(8, 0)
    tf.config.experimental.enable_tensor_float_32_execution(False)
    precision = set_precision(trial("tf32", "cuda"), GPU)
    assert tf32_enabled()
    assert precision.tf32
    assert precision.settings()["tf32"] == "true"


def test_tf32_is_unsupported_on_the_cpu():
    """tf32 on the CPU is declined with the reason, and the switch stays as it was."""
    tf.config.experimental.enable_tensor_float_32_execution(False)
    with pytest.raises(UnsupportedTrialError, match=r"needs a CUDA device of compute capability 8\.0"):
        set_precision(trial("tf32"), CPU)
    assert not tf32_enabled()


def test_tf32_is_unsupported_before_ampere(capability):
    """tf32 on compute capability 7.5 is declined, and the message says what was found."""
    capability(7, 5)
    with pytest.raises(UnsupportedTrialError, match=r"cuda:0 has 7\.5"):
        set_precision(trial("tf32", "cuda"), GPU)


@pytest.mark.parametrize(
    ("device", "half", "version", "expected"),
    [
        ("cpu", "auto", (0, 0), "bfloat16"),
        ("cpu", "bf16", (0, 0), "bfloat16"),
        ("cuda", "auto", (7, 5), "float16"),
        ("cuda", "auto", (9, 0), "float16"),
        ("cuda", "fp16", (9, 0), "float16"),
        ("cuda", "bf16", (8, 0), "bfloat16"),
    ],
)
def test_half_type(device, half, version, expected, capability):
    """Precision amp runs in bf16 on the CPU and fp16 on GPUs unless the option says otherwise; fp16 alone is scaled."""
    capability(*version)
    precision = set_precision(trial("amp", device), Device(device), half)
    assert precision.compute.name == precision.settings()["half"] == expected
    assert precision.scaled == (expected == "float16")
    assert not tf32_enabled()


@pytest.mark.parametrize(("device", "half", "version"), [("cpu", "fp16", (0, 0)), ("cuda", "bf16", (7, 5))])
def test_half_type_that_the_device_lacks(device, half, version, capability):
    """fp16 on the CPU, and bf16 before Ampere, are declined."""
    capability(*version)
    with pytest.raises(UnsupportedTrialError, match=f"half {half} needs"):
        set_precision(trial("amp", device), Device(device), half)


@pytest.fixture(scope="module")
def unscale():
    """An enabled scaler and its `unscale` as a graph."""
    scaler = LossScaler(enabled=True)
    return scaler, tf.function(scaler.unscale)


@pytest.mark.parametrize("bad", [float("inf"), float("-inf"), float("nan")])
def test_an_overflow_skips_the_update_and_halves_the_scale(unscale, bad):
    """One element that is not finite zeroes all gradients and says so; the next clean one is divided by half."""
    scaler, function = unscale
    before = float(scaler.scale)
    gradients, finite = function([tf.constant([1.0, bad]), tf.constant([[3.0]])])
    assert not finite
    assert [gradient.numpy().ravel().tolist() for gradient in gradients] == [[0.0, 0.0], [0.0]]
    assert float(scaler.scale) == before / 2
    (first, second), finite = function([tf.constant([1.0, 2.0]), tf.constant([[3.0]])])
    assert finite
    assert (first.numpy() * before / 2).tolist() == [1.0, 2.0]
    assert second.numpy().item() == pytest.approx(3.0 * 2 / before)


def test_the_scale_doubles_after_many_clean_updates(unscale):
    """2000 clean updates in a row double the scale once; an overflow in between begins the count anew."""
    scaler, function = unscale
    scaler._scale.assign(FIRST_LOSS_SCALE)
    scaler._clean.assign(GROWTH_STEPS - 2)
    scales = []
    for value in (1.0, 1.0, 1.0, float("inf"), 1.0):
        function([tf.constant([value, value]), tf.constant([[value]])])
        scales.append(float(scaler.scale) / FIRST_LOSS_SCALE)
    assert scales == [1.0, 2.0, 2.0, 1.0, 1.0]
    assert int(scaler._clean) == 1


def test_without_fp16_nothing_is_scaled_or_checked():
    """A scaler that is not enabled hands back the very same gradients, infinite ones too."""
    scaler = LossScaler(enabled=False)
    gradient = tf.constant([float("inf")])
    gradients, finite = scaler.unscale([gradient])
    assert gradients[0] is gradient
    assert finite is None
    assert float(scaler.scale) == 1.0
