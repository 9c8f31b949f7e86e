"""`python -m harness.runner.rendezvous COUNT ASSIGNMENT`: ranks that meet through Horovod, on this machine.

Horovod's ranks find each other by a small key-value server. Its own command, horovodrun, imports TensorFlow for
seconds before it starts them and puts the whole environment on a command line that everybody can read; this launcher
starts the server alone, which needs no framework, and then the ranks as `harness.runner.ranks` does. Server and
messages stay on the loopback interface, at ports that the kernel chooses: trials beside each other do not meet.
"""

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from horovod.runner.common.util.hosts import HostInfo, SlotInfo, get_host_assignments
from horovod.runner.http.http_server import RendezvousHandler, RendezvousHTTPServer

from harness.runner.ranks import Place, place, run_ranks

ADDRESS, INTERFACE = "127.0.0.1", "lo"


def main() -> int:
    """Start the server and the ranks; return what `run_ranks` returns."""
    count, assignment = int(sys.argv[1]), sys.argv[2]
    slots = get_host_assignments([HostInfo("localhost", count)], count)
    with serving(slots) as port:
        return run_ranks(count, assignment, lambda rank: place(rank, count) | meeting_place(slots[rank], port))


@contextmanager
def serving(slots: Sequence[SlotInfo]) -> Iterator[int]:
    """Serve these ranks; gives the port."""
    with RendezvousHTTPServer((ADDRESS, 0), RendezvousHandler, False) as server:
        server.init(slots)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def meeting_place(slot: SlotInfo, port: int) -> Place:
    """What Horovod's own launcher tells a rank (horovod/runner/gloo_run.py), for Gloo on the loopback interface."""
    return {
        "HOROVOD_HOSTNAME": slot.hostname,
        "HOROVOD_RANK": slot.rank,
        "HOROVOD_SIZE": slot.size,
        "HOROVOD_LOCAL_RANK": slot.local_rank,
        "HOROVOD_LOCAL_SIZE": slot.local_size,
        "HOROVOD_CROSS_RANK": slot.cross_rank,
        "HOROVOD_CROSS_SIZE": slot.cross_size,
        "HOROVOD_CONTROLLER": "gloo",
        "HOROVOD_CPU_OPERATIONS": "gloo",
        "HOROVOD_GLOO_IFACE": INTERFACE,
        "HOROVOD_GLOO_RENDEZVOUS_ADDR": ADDRESS,
        "HOROVOD_GLOO_RENDEZVOUS_PORT": port,
    }


if __name__ == "__main__":
    sys.exit(main())
