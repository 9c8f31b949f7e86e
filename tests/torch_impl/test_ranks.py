"""Two real ranks against one process: the same gradients, weights and detections."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from horovod.runner.common.util.hosts import HostInfo, get_host_assignments
from torch_ranks import three_steps
from torch_runs import everything, opened, trial, worst

from backends.torch_impl.distributed import HorovodRanks, Ranks, group_timeout_s
from harness.api import Context, UnsupportedTrialError
from harness.runner.ranks import place
from harness.runner.rendezvous import meeting_place, serving

pytestmark = pytest.mark.torch
TRAIN = "synthetic:64x64:24"
SCRIPT = Path(__file__).parents[1] / "torch_ranks.py"


@pytest.fixture(scope="module")
def ranks(tmp_path_factory, mini):
    """What both ranks of one torchrun recorded."""
    folder = tmp_path_factory.mktemp("ranks")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HARNESS_GROUP_TIMEOUT_S": "60"}
    command = [*launcher, str(SCRIPT), TRAIN, mini[1], str(folder)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr[:4000]
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.fixture(scope="module")
def by_horovod(tmp_path_factory, mini):
    """What the same two ranks recorded when Horovod joined them."""
    folder = tmp_path_factory.mktemp("horovod")
    command = [sys.executable, str(SCRIPT), TRAIN, mini[1], str(folder)]
    slots = get_host_assignments([HostInfo("localhost", 2)], 2)
    with serving(slots) as port:
        places = [place(rank, 2) | meeting_place(slots[rank], port) for rank in range(2)]
        environments = [{name: str(value) for name, value in each.items()} for each in places]
        logs = [(folder / f"{rank}.log").open("w+") for rank in range(2)]
        started = [
            subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1", **each}, stdout=log, stderr=log)
            for each, log in zip(environments, logs, strict=True)
        ]
        codes = [process.wait(240) for process in started]
    for log in logs:
        log.close()
    assert codes == [0, 0], (folder / "0.log").read_text()[-4000:]
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.fixture(scope="module")
def alone():
    """The same runs in this process, at twice the batch size."""
    runs = {flavour: three_steps(flavour, TRAIN, batch_size_per_gpu=2) for flavour in ("nvidia", "torchvision")}
    runs["accumulated"] = three_steps("nvidia", TRAIN, batch_size_per_gpu=2, gradient_accumulation_steps=2)
    return runs


@pytest.mark.parametrize("run", ["nvidia", "torchvision", "accumulated"])
def test_two_ranks_have_the_gradients_of_one_with_twice_the_batch(ranks, alone, run):
    """Gradients agree within 1e-6 of each tensor's maximum, with accumulation too."""
    assert worst(ranks[0][run]["gradients"], alone[run]["gradients"]) < 1e-6


@pytest.mark.parametrize("run", ["nvidia", "torchvision", "accumulated"])
def test_two_ranks_have_the_weights_of_one_after_three_steps(ranks, alone, run):
    """After three updates the weights agree within 1e-5, and the two ranks hold the same bits."""
    assert worst(ranks[0][run]["weights"], alone[run]["weights"]) < 1e-5
    assert worst(ranks[1][run]["weights"], ranks[0][run]["weights"]) == 0


@pytest.mark.parametrize("run", ["nvidia", "torchvision", "accumulated"])
def test_the_mean_of_the_ranks_losses_is_the_global_batches_loss(ranks, alone, run):
    """Each loss, averaged over the ranks, is that of the one process."""
    for first, second, whole in zip(*(part[run]["losses"] for part in (*ranks, alone)), strict=True):
        mean = {name: (first[name] + second[name]) / 2 for name in first}
        assert mean == pytest.approx(dict(whole), rel=1e-5)
        assert first != second


def test_the_settings_name_the_process_group(ranks, alone):
    """Two CPU ranks talk through gloo, one through nothing."""
    assert ranks[0]["nvidia"]["settings"]["process_group"] == "gloo"
    assert alone["nvidia"]["settings"]["process_group"] == "none"


@pytest.mark.parametrize("run", ["nvidia", "torchvision", "accumulated"])
def test_horovod_does_what_torchrun_does(ranks, by_horovod, run):
    """Losses, gradients and weights of each rank agree within 1e-6, and both ranks hold the same bits of weights."""
    for one, other in zip(by_horovod, ranks, strict=True):
        for first, second in zip(one[run]["losses"], other[run]["losses"], strict=True):
            assert first == pytest.approx(dict(second), rel=1e-6)
        assert worst(one[run]["gradients"], other[run]["gradients"]) < 1e-6
        assert worst(one[run]["weights"], other[run]["weights"]) < 1e-6
    assert worst(by_horovod[1][run]["weights"], by_horovod[0][run]["weights"]) == 0


def test_horovod_brings_batch_statistics_together(by_horovod):
    """As under torchrun, an evaluation first sets the statistics of both ranks to their mean."""
    first, second = (part["batch_norm"] for part in by_horovod)
    floats = {name: value for name, value in first["after"].items() if value.is_floating_point()}
    assert any(not torch.equal(first["before"][name], second["before"][name]) for name in floats)
    assert all(torch.equal(value, second["after"][name]) for name, value in floats.items())
    assert by_horovod[0]["nvidia"]["settings"]["process_group"] == "horovod/gloo"


def test_without_horovods_launcher_the_missing_environment_is_named(monkeypatch):
    """Several ranks that nobody starts by Horovod are unsupported, with the variables that are not there."""
    monkeypatch.delenv("HOROVOD_RANK", raising=False)
    ranks = HorovodRanks(Context(0, 0, 2, "", ""), torch.device("cpu"))
    with pytest.raises(UnsupportedTrialError, match="launcher horovod; unset: HOROVOD_RANK, HOROVOD_SIZE"):
        ranks.connect()


def test_evaluation_brings_batch_statistics_together(ranks):
    """Running statistics differ between ranks while training; an evaluation first sets both to their mean."""
    first, second = (part["batch_norm"] for part in ranks)
    name = "backbone.body.bn1.running_mean"
    assert not torch.equal(first["before"][name], second["before"][name])
    torch.testing.assert_close(first["after"][name], (first["before"][name] + second["before"][name]) / 2)
    floats = [name for name, value in first["after"].items() if value.is_floating_point()]
    assert all(torch.equal(first["after"][name], second["after"][name]) for name in floats)


def test_two_ranks_detect_what_one_does(ranks, mini, tmp_path):
    """The shards of two ranks are disjoint, cover the 17 images, and hold the detections of one process."""
    from safetensors.torch import save_file

    shards = [part["batch_norm"]["detections"] for part in ranks]
    assert (len(shards[0]), len(shards[1]), len({**shards[0], **shards[1]})) == (9, 8, 17)
    save_file(ranks[0]["batch_norm"]["state"], tmp_path / "weights.safetensors")
    options = {"norm": "batch", "flavour": "torchvision", "weights": str(tmp_path / "weights.safetensors")}
    with opened(trial("eval", options=options), *mini) as work:
        whole = everything(work)
    assert sum(len(found.scores_N) for found in whole.values()) > 100
    for image_id, found in {**shards[0], **shards[1]}.items():
        np.testing.assert_array_equal(found.boxes_N4, whole[image_id].boxes_N4)
        np.testing.assert_array_equal(found.scores_N, whole[image_id].scores_N)
        np.testing.assert_array_equal(found.masks_NHW, whole[image_id].masks_NHW)


def test_a_rank_that_never_comes_is_not_waited_for(monkeypatch, unused_tcp_port):
    """Joining fails after the process group's own time-out, not after torch's half hour."""
    environment = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(unused_tcp_port)}
    for name, value in {**environment, "HARNESS_GROUP_TIMEOUT_S": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(torch.distributed.DistStoreError, match=r"(?i)timed out"):
        Ranks(Context(0, 0, 2, "", ""), torch.device("cpu")).connect()


@pytest.fixture
def unused_tcp_port():
    """A port that was free a moment ago."""
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.mark.parametrize("text", ["soon", "0", "-5", "nan"])
def test_a_bad_time_out_is_named(monkeypatch, text):
    """A time-out that is no positive number is refused with its name and value."""
    monkeypatch.setenv("HARNESS_GROUP_TIMEOUT_S", text)
    with pytest.raises(UnsupportedTrialError, match=f"HARNESS_GROUP_TIMEOUT_S is '{text}'"):
        group_timeout_s()


def test_one_rank_joins_no_group(monkeypatch):
    """Alone, a barrier and a mean return at once and no process group is made."""
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    ranks = Ranks(Context(0, 0, 1, "", ""), torch.device("cpu"))
    values = torch.ones(3)
    ranks.barrier()
    assert ranks.mean(values) is values
    assert not torch.distributed.is_initialized()
    ranks.close()
