"""Two real ranks against one process: the same losses and weights, with XLA and without."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from efficientdet_ranks import three_steps
from efficientdet_runs import worst

from harness.runner.rendezvous import meeting_place, serving

pytest.importorskip("horovod.tensorflow")
pytestmark = [pytest.mark.tf, pytest.mark.slow]
DATA = "synthetic:96x96:8"
SCRIPT = Path(__file__).parents[1] / "efficientdet_ranks.py"


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What both ranks recorded."""
    from horovod.runner.common.util.hosts import HostInfo, get_host_assignments

    folder = tmp_path_factory.mktemp("ranks")
    slots = get_host_assignments([HostInfo("localhost", 2)], 2)
    with serving(slots) as port:
        processes = [start(folder, meeting_place(slot, port)) for slot in slots]
        try:
            ends = [process.communicate(timeout=900) for process in processes]
        finally:
            for process in processes:
                process.kill()
    for process, (_, errors) in zip(processes, ends, strict=True):
        assert process.returncode == 0, errors[-4000:]
    return [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(2)]  # noqa: S301  our own


def start(folder, place):
    """Start a rank at its place."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **{name: str(value) for name, value in place.items()}}
    command = [sys.executable, str(SCRIPT), DATA, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.fixture(scope="module")
def alone():
    """The same run in this process, at twice the batch size, without XLA."""
    return three_steps(DATA, batch_size_per_gpu=2)


@pytest.mark.parametrize(("run", "tolerance"), [("graph", 1e-5), ("xla", 1e-4)])
def test_two_ranks_have_the_weights_of_one_with_twice_the_batch(ranks, alone, run, tolerance):
    """After three updates the weights agree within the tolerance of each tensor's maximum."""
    assert worst(ranks[0][run]["weights"], alone["weights"]) < tolerance


@pytest.mark.parametrize("run", ["graph", "xla"])
def test_the_mean_of_the_ranks_losses_is_the_global_batches_loss(ranks, alone, run):
    """Each loss, averaged over the ranks, is that of the one process; each rank saw images of its own."""
    for first, second, whole in zip(*(part["losses"] for part in (ranks[0][run], ranks[1][run], alone)), strict=True):
        mean = {name: (first[name] + second[name]) / 2 for name in first}
        assert mean == pytest.approx(whole, rel=1e-4)
        assert first != second


@pytest.mark.parametrize("run", ["graph", "xla"])
def test_the_ranks_hold_the_same_bits(ranks, run):
    """After three updates every variable is equal on both ranks, and both say so."""
    assert worst(ranks[1][run]["weights"], ranks[0][run]["weights"]) == 0
    assert ranks[0][run]["equal"] is True
    assert ranks[1][run]["equal"] is True


def test_the_settings_name_the_process_group(ranks, alone):
    """Two CPU ranks talk through Horovod's gloo, one through nothing."""
    assert ranks[0]["graph"]["settings"]["process_group"] == "horovod/gloo"
    assert alone["settings"]["process_group"] == "none"


@pytest.mark.parametrize("run", ["graph", "xla"])
def test_the_settings_say_whether_the_ranks_are_equal(ranks, alone, run):
    """Both ranks say that they hold the same weights; one rank alone has nothing to compare."""
    assert [rank[run]["settings"]["ranks_equal"] for rank in ranks] == ["true", "true"]
    assert alone["settings"]["ranks_equal"] == "one rank"


def test_evaluation_brings_batch_statistics_together(ranks):
    """Where running statistics differ between ranks, what is evaluated has their mean on both."""
    first, second = (part["statistics"] for part in ranks)
    assert not np.array_equal(first["live"], second["live"])
    np.testing.assert_allclose(first["kept"], (first["live"] + second["live"]) / 2, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(first["kept"], second["kept"])
