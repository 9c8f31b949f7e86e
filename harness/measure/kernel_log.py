"""What the kernel's own log says of processes that were killed for memory, where this user may read it."""

import os
from contextlib import suppress
from pathlib import Path

KERNEL_LOG = Path("/dev/kmsg")
LONGEST_RECORD = 8192
WORDS = ("oom-kill:", "Killed process")


class KernelLog:
    """Reads the records that come after it was opened; one that may not be read has none, and `readable` says so.

    Each read() of /dev/kmsg gives one record, `priority,sequence,microseconds,flags;text` (the kernel's
    Documentation/ABI/testing/dev-kmsg).
    """

    def __init__(self, path: Path = KERNEL_LOG) -> None:
        self.descriptor: int | None = None
        with suppress(OSError):
            self.descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.lseek(self.descriptor, 0, os.SEEK_END)

    @property
    def readable(self) -> bool:
        """Whether there is something to read from."""
        return self.descriptor is not None

    def killed(self) -> tuple[str, ...]:
        """The lines on processes killed for memory since it was opened or asked last."""
        return tuple(line for line in self.new_lines() if any(word in line for word in WORDS))

    def new_lines(self) -> list[str]:
        """All lines since then; the end of the log is an error that says try again, a lost record one that says so."""
        lines: list[str] = []
        while self.descriptor is not None:
            try:
                record = os.read(self.descriptor, LONGEST_RECORD)
            except BrokenPipeError:
                continue
            except OSError:
                break
            if not record:
                break
            lines.append(record.decode(errors="replace").partition(";")[2].partition("\n")[0])
        return lines

    def close(self) -> None:
        """Let go of it."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None
