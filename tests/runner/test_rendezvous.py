"""Ranks that meet through Horovod's key-value server, which needs no framework and stays on this machine."""

import http.client
import json
import subprocess
import sys

from horovod.runner.common.util.hosts import HostInfo, get_host_assignments
from records import demo_trial

from harness.runner.launchers import launch
from harness.runner.ranks import place
from harness.runner.rendezvous import meeting_place, serving

SLOTS = get_host_assignments([HostInfo("localhost", 3)], 3)
ADDRESS = "127.0.0.1"


def asked(port, method, path, body=None, address=ADDRESS):
    """Status and answer of the server."""
    connection = http.client.HTTPConnection(address, port, timeout=10)
    connection.request(method, path, body)
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def test_every_rank_is_told_its_place():
    """Its number, its number on this machine, how many there are, and where to meet, in Horovod's words."""
    places = [place(rank, 3) | meeting_place(SLOTS[rank], 4567) for rank in range(3)]
    assert [each["RANK"] for each in places] == [each["HOROVOD_RANK"] for each in places] == [0, 1, 2]
    assert [each["LOCAL_RANK"] for each in places] == [each["HOROVOD_LOCAL_RANK"] for each in places] == [0, 1, 2]
    assert {each["WORLD_SIZE"] for each in places} == {each["HOROVOD_SIZE"] for each in places} == {3}
    assert {(each["HOROVOD_CROSS_RANK"], each["HOROVOD_CROSS_SIZE"]) for each in places} == {(0, 1)}
    assert {(each["HOROVOD_GLOO_IFACE"], each["HOROVOD_GLOO_RENDEZVOUS_ADDR"]) for each in places} == {("lo", ADDRESS)}


def test_what_one_rank_leaves_another_finds():
    """Until the last of them has taken its leave."""
    with serving(SLOTS) as port:
        assert asked(port, "PUT", "/global/0", b"here")[0] == 200
        assert asked(port, "GET", "/global/0") == (200, b"here")
        assert asked(port, "GET", "/global/1")[0] == 404


def test_servers_beside_each_other_do_not_share():
    """Each run has a port and a memory of its own."""
    with serving(SLOTS) as one, serving(SLOTS) as other:
        assert one != other
        asked(one, "PUT", "/global/0", b"here")
        assert asked(other, "GET", "/global/0")[0] == 404


def test_the_server_listens_on_the_loopback_interface_alone():
    """In the kernel's table of listening sockets its port stands at 127.0.0.1 and nowhere else."""
    with serving(SLOTS) as port, open("/proc/net/tcp", encoding="ascii") as table:  # noqa: PTH123  the kernel's
        local = [line.split()[1] for line in table.readlines()[1:] if line.split()[3] == "0A"]
    assert [address for address in local if address.endswith(f":{port:04X}")] == [f"0100007F:{port:04X}"]


def test_the_launcher_imports_no_framework():
    """Nor does it start with one: ranks are running within the time that Python takes."""
    code = "import sys, json, harness.runner.rendezvous; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert {"torch", "tensorflow", "keras", "horovod.torch", "numpy"}.isdisjoint(json.loads(done.stdout))


def test_the_environment_is_on_no_command_line(tmp_path):
    """The launcher's command has its module, the number of ranks and the assignment, which others may read."""
    launched = launch(demo_trial(gpus=2), "horovod", tmp_path / "a.json")
    assert launched.command[1:] == ("-m", "harness.runner.rendezvous", "2", str(tmp_path / "a.json"))


def test_one_rank_needs_no_launcher(tmp_path):
    """A trial of one rank starts as any other."""
    assert launch(demo_trial(launcher="horovod"), "horovod", tmp_path / "a.json").command is None


def test_a_rehearsal_compiles_quickly_and_a_measurement_as_always(monkeypatch, tmp_path):
    """The flags of XLA are the user's where there are any, and the rehearsal's in a rehearsal alone."""
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    measured, rehearsed = (launch(demo_trial(), "local", tmp_path / "a.json", rehearsal=each) for each in (False, True))
    assert "XLA_FLAGS" not in measured.environment
    assert "--xla_backend_optimization_level=0" in rehearsed.environment["XLA_FLAGS"]
    monkeypatch.setenv("XLA_FLAGS", "--mine")
    assert launch(demo_trial(), "local", tmp_path / "a.json", rehearsal=True).environment["XLA_FLAGS"] == "--mine"
