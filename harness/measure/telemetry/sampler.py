"""`python -m harness.measure.telemetry.sampler DESCRIPTOR`: samples the machine while trials run.

A process of its own, so that neither the timed processes nor the runner, which sleeps, do anything for it. It wakes at
absolute moments, so its samples do not drift; a moment that was missed is left out. At each beat it reads the energy
counters alone, at every fourth all the rest: the counters step about every 100 ms, and the moment of a step is known as
well as the beats are close.

It ends when the runner closes its end or dies.
"""

import ctypes
import json
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.measure.telemetry.device import Gpu
from harness.measure.telemetry.host import Host
from harness.measure.telemetry.nvml import Gpus
from harness.measure.telemetry.processes import Family
from harness.measure.telemetry.recording import GPU_COLUMNS, HOST_COLUMNS, VERSION, Recorder

INTERVAL_NS = 100_000_000
BEATS = 4
"""In an interval, on a machine whose GPUs count energy."""
LOOK_NS = 1_000_000_000
"""Between two looks at which processes there are."""
LONGEST_MESSAGE = 1 << 16
PR_SET_PDEATHSIG = 1

Message = dict[str, Any]


class Sampler:
    """Watches one trial after the other."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self.gpus = Gpus()
        self.host = Host()
        self.family = Family(os.getppid())

    def serve(self) -> None:
        """Watch what the runner names until it closes its end."""
        while (message := self.receive()) is not None:
            if "begin" in message:
                self.answer(message)

    def receive(self) -> Message | None:
        """The next message; None at the end."""
        try:
            data = self.channel.recv(LONGEST_MESSAGE)
        except ConnectionError:
            return None
        return json.loads(data) if data else None

    def answer(self, message: Message) -> None:
        """Watch one trial and tell how that went; what went wrong is the runner's to report."""
        start_s = time.process_time()
        try:
            Watch(self, message).run()
            reply: Message = {}
        except Exception as error:  # noqa: BLE001 - the runner puts it into the record
            reply = {"error": f"{type(error).__name__}: {error}"}
        reply["cpu_s"] = time.process_time() - start_s
        with suppress(ConnectionError):  # the runner is gone: the next word is its end
            self.channel.send(json.dumps(reply).encode())


class Watch:
    """One trial: from the runner's word that it begins to its word that it is over."""

    def __init__(self, sampler: Sampler, message: Message) -> None:
        self.channel, self.host, self.family = sampler.channel, sampler.host, sampler.family
        self.devices: list[Gpu] = sampler.gpus.devices[: message["gpus"]]
        self.beat_ns = INTERVAL_NS // BEATS if self.devices else INTERVAL_NS
        self.next_sample_ns = self.next_look_ns = 0
        self.over = False
        self.recorder = Recorder(Path(message["begin"]))
        self.recorder.put(
            {
                "version": VERSION,
                "interval_ns": INTERVAL_NS,
                "columns": {"gpu": GPU_COLUMNS, "host": HOST_COLUMNS},
                "driver": sampler.gpus.driver,
                "notes": sampler.gpus.notes if message["gpus"] else [],
                "cpus": self.host.cpus,
                "no_energy": self.host.no_energy,
                "wraps_uj": [wrap for _, wrap in self.host.packages],
                "gpus": [{"name": device.name, **device.state()} for device in self.devices],
            }
        )

    def run(self) -> None:
        """Sample until the end.

        Raises:
            OSError: the file cannot be written.
        """
        due_ns = time.monotonic_ns()
        while not self.over:
            self.beat(due_ns)
            due_ns += max(1, (time.monotonic_ns() - due_ns) // self.beat_ns + 1) * self.beat_ns
            self.sleep(due_ns)
        self.next_sample_ns = self.next_look_ns = due_ns
        self.beat(due_ns)
        self.recorder.put({"gpus": [device.state() | {"sources": device.sources()} for device in self.devices]})
        self.recorder.close()

    def sleep(self, due_ns: int) -> None:
        """Sleep until this moment, or until the runner says that the trial is over, or is gone."""
        left_s = max(0.0, (due_ns - time.monotonic_ns()) / 1e9)
        if select.select([self.channel], [], [], left_s)[0]:
            self.channel.recv(LONGEST_MESSAGE)
            self.over = True

    def beat(self, due_ns: int) -> None:
        """Read what is due at this moment."""
        line: Message = {"t": time.monotonic_ns()}
        energies = [device.energy_mj() for device in self.devices]
        if due_ns >= self.next_sample_ns:
            self.next_sample_ns = due_ns + INTERVAL_NS // self.beat_ns * self.beat_ns
            look = due_ns >= self.next_look_ns
            if look:
                self.next_look_ns = due_ns + LOOK_NS
                self.family.look()
                line["p"] = [self.tell_apart(device) for device in self.devices]
            line["g"] = [device.sample(energy) for device, energy in zip(self.devices, energies, strict=True)]
            line["h"] = self.host_row(look=look)
        else:
            line["e"] = energies
        self.recorder.put(line)

    def host_row(self, *, look: bool) -> list[Any]:
        """The host's columns; the processors' clock is asked for at a look only."""
        own_s, own_bytes = self.family.use()
        harness_s = self.family.harness_s() + time.process_time()
        clock_mhz = self.host.clock_mhz() if look else None
        seen = (*self.host.cpu_s(), own_s, harness_s, self.host.memory_used_bytes(), own_bytes)
        return [*seen, clock_mhz, self.host.energy_uj()]

    def tell_apart(self, device: Gpu) -> Message | None:
        """The bytes of the trial's processes on a GPU, the names of others, and the ids of those not seen from here."""
        held = device.processes()
        if held is None:
            return None
        own = [size for pid, size in held.items() if self.family.has(pid)]
        named = self.family.names(pid for pid in held if not self.family.has(pid) and not self.family.is_harness(pid))
        return {
            # None of them listed is as likely a container whose ids NVML does not know as a GPU that is not in use.
            "own": None if None in own or not own else sum(size for size in own if size is not None),
            "foreign": {pid: name for pid, name in named.items() if name is not None},
            "unseen": [pid for pid, name in named.items() if name is None],
        }


def main() -> None:
    """Serve the runner at the other end of the descriptor."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
    channel = socket.socket(fileno=int(sys.argv[1]))
    try:
        sampler = Sampler(channel)
    except Exception as error:  # noqa: BLE001 - the runner puts it into the record
        channel.send(json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())
        return
    sampler.serve()


if __name__ == "__main__":
    main()
