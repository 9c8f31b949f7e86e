"""What the runner and the zygote say to each other about one worker."""

from typing import Literal

from harness.schema.record import Record

Namespace = Literal["none", "pid", "user+pid"]
"""What a worker is put into: nothing, a PID namespace, or one inside a user namespace, where only root may make one."""


class Spawn(Record):
    """The runner's request; the file that receives what the worker prints comes along as a descriptor."""

    assignment: str
    namespace: Namespace


class Spawned(Record):
    """The zygote's answers: when the worker exists, with a process descriptor that ends it all; and when it is gone."""

    exit_code: int | None = None
    """None while it lives; -n is a death by signal n, as subprocess has it."""
    peak_memory_bytes: int | None = None
    """Largest resident memory of the worker or of a process that it waited for; None while it lives."""
