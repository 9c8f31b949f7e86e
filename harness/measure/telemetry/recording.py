"""The file of raw samples: gzip, one JSON object a line.

The first line says what the columns are, how the GPUs were named and set, what is missing and why. Then come, by `t`,
nanoseconds on CLOCK_MONOTONIC: beats with `e`, the energy counter of each GPU in millijoules; among them samples, with
`g`, a row for each GPU (null: lost), and `h`, the host's row; among those, once a second, `p`, the processes on each
GPU. The last line has the settings again. A file without it is of a sampler that was ended; what it has counts.
"""

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VERSION = 1
GPU_COLUMNS = (
    *("energy_mj", "power_mw", "sm_clock_mhz", "memory_clock_mhz", "reasons", "temperature_c", "memory_temperature_c"),
    *("utilization_percent", "memory_used_bytes", "pcie_sent_bytes", "pcie_received_bytes"),
    *("nvlink_sent_bytes", "nvlink_received_bytes"),
)
HOST_COLUMNS = (
    *("busy_s", "stolen_s", "own_s", "harness_s"),
    *("memory_used_bytes", "own_memory_bytes", "clock_mhz", "energy_uj"),
)
KEPT_LINES = 30
"""Lines that wait to be written together: one after the other costs a third of what each costs after a sleep."""
GZIP = 16 + zlib.MAX_WBITS
ENCODER = json.JSONEncoder(separators=(",", ":"))


class Recorder:
    """Writes one trial's file."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("wb")
        self.press = zlib.compressobj(1, zlib.DEFLATED, GZIP)
        self.lines: list[dict[str, Any]] = []

    def put(self, line: dict[str, Any]) -> None:
        """Add a line, which is nobody's to change from now on.

        Raises:
            OSError: it cannot be written.
        """
        self.lines.append(line)
        if len(self.lines) >= KEPT_LINES:
            self.write(zlib.Z_SYNC_FLUSH)

    def write(self, mode: int) -> None:
        """Hand over what waits, so that a reader finds it."""
        text = "".join(f"{ENCODER.encode(line)}\n" for line in self.lines)
        self.lines.clear()
        self.file.write(self.press.compress(text.encode()) + self.press.flush(mode))
        self.file.flush()

    def close(self) -> None:
        """Write what is left and the end."""
        with self.file:
            self.write(zlib.Z_FINISH)


def lines_of(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a file, as far as it is whole.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not such a file.
    """
    unpack, rest = zlib.decompressobj(GZIP), b""
    with path.open("rb") as file:
        while packed := file.read(1 << 16):
            try:
                *whole, rest = (rest + unpack.decompress(packed)).split(b"\n")
            except zlib.error as error:
                raise ValueError(f"{path} is no gzip file: {error}") from error
            yield from (json.loads(line) for line in whole)
