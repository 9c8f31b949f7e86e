"""On a fake asynchronous device, each phase of both TensorFlow backends waits; without the wait the host refuses it."""

import dataclasses
from unittest import mock

import efficientdet_runs
import pytest
import tf_runs
from queued_device import Queue, Queued, hold_to_its_word, primitive, warmed, with_session

from backends.tf_impl.device import Device, synchronize
from backends.tf_impl.graph import eager

pytestmark = pytest.mark.tf
MODELS = {"tf_maskrcnn": tf_runs, "tf_efficientdet_d0": efficientdet_runs}
PHASES = [(model, phase) for model in MODELS for phase in ("train", "eval", "infer")]


@pytest.fixture(scope="module", params=PHASES, ids="-".join)
def opened(request, mini):
    """A phase's trial and its work, which has taken a step; nothing is compiled, which is no matter here."""
    model, phase = request.param
    runs = MODELS[model]
    wanted = runs.trial(phase, warmup_steps=0, timed_steps=1, batch_size_per_gpu=4 if phase == "train" else 9)
    with runs.opened(wanted, *mini) as work, eager():
        yield wanted, warmed(work)


@pytest.mark.parametrize("present", [True, False])
def test_a_phase_waits_by_tensorflow_s_own_call(opened, mini, tmp_path, present):
    """Its `synchronize` comes to sync_devices; take that away, and no figure of the phase is believed."""
    wanted, work = opened
    device, session = Queue(), work._session
    machine = dataclasses.replace(session.machine, device=Device("cuda"))
    on_device = with_session(work, dataclasses.replace(session, machine=machine))
    with eager(), primitive("tensorflow.test.experimental.sync_devices", device, present=present):
        hold_to_its_word(Queued(work, on_device, device), wanted, tmp_path, mini[1], present=present)


def test_the_cpu_is_not_waited_for():
    """There a result is made when its call returns."""
    with mock.patch("tensorflow.test.experimental.sync_devices") as waited:
        synchronize(Device("cpu"))
    waited.assert_not_called()


def test_there_is_no_clock_of_the_device(opened):
    """TensorFlow lets nobody read its events: unknown, and not the host's time under another name."""
    _, work = opened
    assert work.device_clock() is None
