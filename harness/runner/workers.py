"""One way to run the processes of a trial, whoever starts them."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from harness.runner.containment import best_containment
from harness.runner.launchers import Launch
from harness.runner.process import Ending, run_command
from harness.runner.zygote import Zygote


class Workers:
    """Runs launches one after the other: several ranks by their launcher's command, one rank by a zygote.

    The zygote is started at the first trial that needs it and ended on leaving.
    """

    def __init__(self) -> None:
        self.zygote: Zygote | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.zygote is not None:
            self.zygote.stop()
            self.zygote = None

    def run_contained(self, launch: Launch, log: Path, timeout_s: float) -> Ending:
        """Run the processes of a trial and wait for their end; on any leaving none is left.

        Args:
            launch: what to start.
            log: receives standard output and error of all.
            timeout_s: after so many seconds they are killed.

        Raises:
            OSError: the log cannot be written, or no process can be started.
        """
        containment = best_containment()
        with log.open("ab") as output:
            if launch.command is not None:
                return run_command(containment.wrap(launch.command), launch.environment, output, timeout_s)
            zygote = self.zygote_for(launch.environment, output)
            return zygote.run(str(launch.assignment), containment.namespace, output, timeout_s)

    def zygote_for(self, environment: Mapping[str, str], log: BinaryIO) -> Zygote:
        """The zygote of this environment; one of another environment, or one that died, makes way."""
        if self.zygote is not None and not self.zygote.serves(environment):
            self.zygote.stop()
            self.zygote = None
        if self.zygote is None:
            self.zygote = Zygote(environment, log)
        return self.zygote
