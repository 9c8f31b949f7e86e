"""The runner's end of the process that samples the machine (harness/measure/telemetry/sampler.py)."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.measure.telemetry.summary import summarise
from harness.runner.process import exit_or_signal
from harness.schema.result import RankRecord
from harness.schema.telemetry import HostTelemetry, Telemetry
from harness.schema.trial import Trial

SAMPLER = (sys.executable, "-m", "harness.measure.telemetry.sampler")
SAMPLES_FILE = "samples.jsonl.gz"
"""In a trial's scratch folder, until it has ended."""
LONGEST_ANSWER = 4096
ANSWER_S = 10.0
"""How long the sampler may take for its last sample; a driver may hang."""
GRACE_S = 2.0


class SamplerError(Exception):
    """The sampler does not answer; its message says what became of it."""


class Observer:
    """Has the machine sampled while trials run. What goes wrong is a note in the record and harms no trial.

    The sampler is started at the first trial, beside its workers, and ended on leaving; one that died makes way.
    """

    def __init__(self, command: Sequence[str] = SAMPLER) -> None:
        self.command = command
        self.process: subprocess.Popen[bytes] | None = None
        self.channel: socket.socket | None = None
        self.trouble: str | None = None
        """Of the trial in flight."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def begin(self, trial: Trial, scratch: Path) -> None:
        """Have a trial sampled from now on; returns at once.

        Args:
            trial: the trial; the GPUs that are sampled are the first of the visible ones.
            scratch: its scratch folder.
        """
        self.trouble = None
        try:
            if self.process is None or self.process.poll() is not None:
                self.stop()
                self.start()
            gpus = trial.gpus if trial.device == "cuda" else 0
            self.tell({"begin": str(scratch / SAMPLES_FILE), "gpus": gpus})
        except SamplerError:
            self.give_up(f"the sampler ended, {self.last_words()}")
        except OSError as error:
            self.give_up(f"the sampler cannot be started: {error}")

    def end(self, records: Sequence[RankRecord], scratch: Path, kept: Path) -> Telemetry:
        """End the sampling of a trial and sum up what was seen in its windows.

        Args:
            records: of the ranks; the windows are theirs.
            scratch: the trial's scratch folder.
            kept: where the raw samples go, in the store.
        """
        answer = {} if self.trouble else self.hear()
        spans = [span for record in records for window in record.windows for span in window.spans_ns]
        source, note = scratch / SAMPLES_FILE, self.trouble
        try:
            telemetry = summarise(source, spans, answer.get("cpu_s"), note)
            kept.parent.mkdir(exist_ok=True)
            source.replace(kept)
        except (OSError, ValueError) as error:
            reason = note or f"the samples cannot be read or kept: {error}"
            return Telemetry(
                interval_s=0.1,
                samples=0,
                longest_gap_s=0.0,
                window_s=0.0,
                sampler_cpu_s=answer.get("cpu_s"),
                host=HostTelemetry(),
                note=reason,
            )
        return telemetry.model_copy(update={"samples_file": f"{kept.parent.name}/{kept.name}"})

    def start(self) -> None:
        """Start the sampler.

        Raises:
            OSError: no process can be started.
        """
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel.settimeout(ANSWER_S)
        with theirs:
            self.process = subprocess.Popen(
                [*self.command, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )

    def tell(self, message: dict[str, Any]) -> None:
        """Send a word.

        Raises:
            SamplerError: nobody is there.
        """
        if self.channel is None:
            raise SamplerError("it is gone")
        try:
            self.channel.send(json.dumps(message).encode())
        except OSError as error:
            raise SamplerError(str(error)) from error

    def hear(self) -> dict[str, Any]:
        """Say that the trial is over and wait for the answer; empty, and a trouble, where none comes."""
        try:
            self.tell({"end": True})
            answer: dict[str, Any] = json.loads(self.received())
        except TimeoutError:
            self.give_up(f"the sampler did not answer within {ANSWER_S:g} s")
            return {}
        except (OSError, SamplerError):
            self.give_up(f"the sampler ended, {self.last_words()}")
            return {}
        if "error" in answer:
            self.trouble = f"the sampler failed: {answer['error']}"
        return answer

    def received(self) -> bytes:
        """The sampler's next word.

        Raises:
            TimeoutError: it says nothing.
            SamplerError: nobody is there.
        """
        data = self.channel.recv(LONGEST_ANSWER) if self.channel else b""
        if not data:
            raise SamplerError("it is gone")
        return data

    def give_up(self, trouble: str) -> None:
        """Remember what is wrong and end the sampler, so that the next trial gets another."""
        self.trouble = trouble
        self.stop()

    def last_words(self) -> str:
        """How the sampler ended."""
        if self.process is None:
            return "it was never there"
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(GRACE_S)
        if self.process.returncode is None:
            return "but lives"
        code, name = exit_or_signal(self.process.returncode)
        return f"killed by {name}" if name else f"exit code {code}"

    def stop(self) -> None:
        """End the sampler, which has nothing to lose; one that hangs in a driver is left to the kernel."""
        if self.channel is not None:
            self.channel.close()
        if self.process is not None:
            self.process.kill()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(GRACE_S)
        self.process = self.channel = None
