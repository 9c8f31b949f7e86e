"""On a fake asynchronous device, each phase of the torch backend waits; without the wait the host refuses it."""

import dataclasses
from unittest import mock

import pytest
import torch
from queued_device import Queue, Queued, hold_to_its_word, primitive, warmed, with_session
from torch_runs import opened, trial

from backends.torch_impl.device import CudaClock, clock_of, synchronize

pytestmark = pytest.mark.torch
CUDA = torch.device("cuda", 0)


@pytest.mark.parametrize("present", [True, False])
@pytest.mark.parametrize("phase", ["train", "eval", "infer"])
def test_a_phase_waits_by_torch_s_own_call(mini, tmp_path, phase, present):
    """Its `synchronize` comes to torch.cuda.synchronize; take that away, and no figure of the phase is believed."""
    wanted = trial(phase, warmup_steps=0, timed_steps=1, batch_size_per_gpu=4 if phase == "train" else 9)
    device = Queue()
    with opened(wanted, *mini) as work:
        on_device = with_session(warmed(work), dataclasses.replace(work._session, device=CUDA))
        with primitive("torch.cuda.synchronize", device, present=present):
            hold_to_its_word(Queued(work, on_device, device), wanted, tmp_path, mini[1], present=present)


def test_the_wait_is_for_the_rank_s_own_device():
    """Of several, the one that the rank works on."""
    with mock.patch("torch.cuda.synchronize") as waited:
        synchronize(torch.device("cuda", 3))
    waited.assert_called_once_with(torch.device("cuda", 3))


def test_the_device_s_clock_is_cuda_events_that_carry_a_time():
    """Marks are recorded and not waited for; the CPU has no clock beside the host's."""
    assert clock_of(torch.device("cpu")) is None
    clock = clock_of(CUDA)
    assert isinstance(clock, CudaClock)
    with mock.patch("torch.cuda.Event") as event:
        event.side_effect = lambda **options: mock.Mock(**options, elapsed_time=lambda other: other.at)
        start, end = clock.mark(), clock.mark()
    assert [each.enable_timing for each in (start, end)] == [True, True]
    for each in (start, end):
        each.record.assert_called_once_with()
        each.synchronize.assert_not_called()
    end.at = 2.5
    assert clock.elapsed_ms(start, end) == 2.5


@pytest.mark.parametrize("phase", ["train", "eval", "infer"])
def test_every_phase_lends_the_clock_of_its_device(mini, phase):
    """None on the CPU, CUDA events on CUDA."""
    with opened(trial(phase), *mini) as work:
        assert work.device_clock() is None
        on_device = with_session(work, dataclasses.replace(work._session, device=CUDA))
        assert isinstance(on_device.device_clock(), CudaClock)
