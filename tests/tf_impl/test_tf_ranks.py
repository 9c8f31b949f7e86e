"""Two real ranks against one process: the same losses and weights, with XLA and without."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from horovod.runner.common.util.hosts import HostInfo, get_host_assignments
from tf_ranks import three_steps
from tf_runs import worst

from backends.tf_impl.distributed import Ranks
from harness.api import Context, UnsupportedTrialError
from harness.data import open_dataset
from harness.runner.rendezvous import meeting_place, serving

pytestmark = [pytest.mark.tf, pytest.mark.slow]
TRAIN = "synthetic:64x64:24"
SCRIPT = Path(__file__).parents[1] / "tf_ranks.py"
RUNS = (("graph", "plain"), ("graph", "accumulated"), ("xla", "plain"))


@pytest.fixture(scope="module")
def ranks(tmp_path_factory, mini):
    """What both ranks recorded."""
    folder = tmp_path_factory.mktemp("ranks")
    slots = get_host_assignments([HostInfo("localhost", 2)], 2)
    with serving(slots) as port:
        started = [start(folder, mini, rank, meeting_place(slots[rank], port)) for rank in range(2)]
        try:
            codes = [process.wait(1200) for process in started]
        finally:
            for process in started:
                process.kill()
                process.wait()
    assert codes == [0, 0], (folder / "0.log").read_text()[-4000:]
    return [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(2)]  # noqa: S301  our own


def start(folder, mini, rank, place):
    """Start a rank at its place, its output in a file."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **{name: str(value) for name, value in place.items()}}
    command = [sys.executable, str(SCRIPT), TRAIN, mini[1], str(folder)]
    with (folder / f"{rank}.log").open("w") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment)


@pytest.fixture(scope="module")
def alone():
    """The same runs in this process, at twice the batch size.

    Ranks under XLA are held to one rank under XLA: between XLA and a graph some inputs of a ReLU round to the other
    side of 0, and a hundredth of a gradient changes with them.
    """
    return {
        "graph": three_steps(TRAIN, batch_size_per_gpu=2, accumulated=True),
        "xla": three_steps(TRAIN, batch_size_per_gpu=2, xla=True),
    }


def moved(record, run):
    """How far each weight has come from where all began."""
    return {name: value - record["start"][name] for name, value in record[run]["weights"].items()}


@pytest.mark.parametrize(("mode", "run"), RUNS)
def test_two_ranks_have_the_weights_of_one_with_twice_the_batch(ranks, alone, mode, run):
    """After the updates the weights agree within 1e-5 of each tensor's maximum, and their way there within 1e-3."""
    assert worst(ranks[0][mode][run]["weights"], alone[mode][run]["weights"]) < 1e-5
    ways, whole = moved(ranks[0][mode], run), moved(alone[mode], run)
    long = {name: way for name, way in whole.items() if np.abs(way).max() > 1e-5}
    assert len(long) > 20
    assert worst({name: ways[name] for name in long}, long) < 1e-3


@pytest.mark.parametrize(("mode", "run"), RUNS)
def test_the_mean_of_the_ranks_losses_is_the_global_batches_loss(ranks, alone, mode, run):
    """Each loss, averaged over the ranks, is that of the one process; each rank saw images of its own."""
    parts = (ranks[0][mode][run], ranks[1][mode][run], alone[mode][run])
    for first, second, whole in zip(*(part["losses"] for part in parts), strict=True):
        mean = {name: (first[name] + second[name]) / 2 for name in first}
        assert mean == pytest.approx(whole, rel=1e-4)
        assert first != second


@pytest.mark.parametrize(("mode", "run"), RUNS)
def test_the_ranks_hold_the_same_bits(ranks, mode, run):
    """After the updates every weight is equal on both ranks, and the settings of both say so."""
    assert worst(ranks[1][mode][run]["weights"], ranks[0][mode][run]["weights"]) == 0
    assert [part[mode][run]["settings"]["ranks_equal"] for part in ranks] == ["true", "true"]


def test_without_the_all_reduce_the_ranks_part(ranks, alone):
    """Where gradients stay on their rank the weights are others on each, none is the one process's, and both know."""
    first, second = (part["graph"]["apart"] for part in ranks)
    assert worst(first["weights"], second["weights"]) > 1e-3
    assert worst(first["weights"], alone["graph"]["plain"]["weights"]) > 1e-5
    assert [part["settings"]["ranks_equal"] for part in (first, second)] == ["false", "false"]


def test_the_settings_name_the_process_group(ranks, alone):
    """Two CPU ranks talk through Horovod's gloo, one through nothing."""
    assert ranks[0]["graph"]["plain"]["settings"]["process_group"] == "horovod/gloo"
    assert alone["graph"]["plain"]["settings"]["process_group"] == "none"
    assert alone["graph"]["plain"]["settings"]["ranks_equal"] == "one rank"


def test_evaluation_brings_batch_statistics_together(ranks):
    """Running statistics that differ between ranks become their mean on both before an evaluation."""
    first, second = (part["statistics"] for part in ranks)
    assert not np.array_equal(first["before"], second["before"])
    np.testing.assert_allclose(first["after"], (first["before"] + second["before"]) / 2, rtol=1e-6)
    np.testing.assert_array_equal(first["after"], second["after"])


def test_ranks_evaluate_their_own_shards(ranks, mini):
    """Two ranks share the 17 images of the val set, none twice."""
    shards = [part["statistics"]["images"] for part in ranks]
    assert (len(shards[0]), len(shards[1])) == (9, 8)
    assert {*shards[0], *shards[1]} == set(open_dataset(mini[1]).image_ids)


def test_several_ranks_need_a_launcher(monkeypatch):
    """Without the launcher's environment a rank says what is missing instead of waiting."""
    for name in list(os.environ):
        if name.startswith("HOROVOD_"):
            monkeypatch.delenv(name)
    with pytest.raises(UnsupportedTrialError, match="launcher horovod; unset: HOROVOD_RANK, HOROVOD_SIZE"):
        Ranks(Context(0, 0, 2, "", "")).connect()


def test_one_rank_does_without_horovod(monkeypatch):
    """Alone, nothing waits and Horovod is not imported."""
    monkeypatch.setitem(sys.modules, "horovod.tensorflow", None)
    ranks = Ranks(Context(0, 0, 1, "", ""))
    values = [object()]
    ranks.connect()
    ranks.barrier()
    ranks.average(values)
    assert ranks.mean(values) is values
    assert ranks.mean_gradients(values) == values
    assert ranks.equal(values)
    assert ranks.backend == "none"
