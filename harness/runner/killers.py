"""Who killed a worker: the kernel, for want of memory, or somebody else; told from counters around a trial."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from harness.measure.kernel_log import KernelLog
from harness.measure.oom_killer import Counters, read_counters
from harness.schema.causes import MemoryCause
from harness.units import format_bytes

KILL = re.compile(r"oom-kill:constraint=\w+,.*?(?:oom_memcg=(?P<full>[^,]*),)?task_memcg=(?P<group>[^,]*),")
"""The kernel's summary of a kill (mm/oom_kill.c): the group whose limit was met, if any, and that of the process."""
LAST_LINES = 4


@dataclass(frozen=True)
class Verdict:
    """What the traces say."""

    cause: MemoryCause | None
    """None: not the kernel's out-of-memory killer, or not known."""
    reason: str
    evidence: tuple[str, ...]


class Watch:
    """Looks at the counters when a trial begins, and again when somebody asks who killed its worker."""

    def __init__(self) -> None:
        self.before = read_counters()
        self.log = KernelLog()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.log.close()

    def verdict(self) -> Verdict:
        """What has happened since."""
        return judge_kill(self.before, read_counters(), self.log.killed())


def judge_kill(before: Counters, after: Counters, kernel_lines: Sequence[str]) -> Verdict:
    """Compare the counters; our own control group's decides, and where there is none to read, the machine's."""
    own = _own(before, after)
    pair = own or (before.machine_kills, after.machine_kills)
    where = f"control group {after.groups[0].name}" if own else "the machine"
    first, last = pair
    if first is None or last is None:
        unknown = (
            "whether the kernel killed it for memory is unknown: neither memory.events nor /proc/vmstat is readable"
        )
        return Verdict(None, "killed by SIGKILL", (unknown,))
    evidence = [f"oom_kill of {where}: {first} before the trial, {last} after it"]
    if last <= first:
        return Verdict(None, "killed by SIGKILL", (*evidence, "so the kernel did not kill it for want of memory"))
    evidence += [f"kernel log: {line}" for line in kernel_lines[-LAST_LINES:]]
    return _for_memory(before, after, evidence, kernel_lines)


def _own(before: Counters, after: Counters) -> tuple[int, int] | None:
    """The kills of our own group, before and after, where both are known."""
    pairs = [(one.kills, two.kills) for one, two in zip(before.groups[:1], after.groups[:1], strict=False)]
    return next(((one, two) for one, two in pairs if one is not None and two is not None), None)


def _for_memory(before: Counters, after: Counters, evidence: list[str], kernel_lines: Sequence[str]) -> Verdict:
    """Whether it was a group's limit or the machine's: by the kernel's log, or else by the groups' counters."""
    said = "the kernel killed a worker for want of memory: "
    kill = _logged(after, kernel_lines)
    name = kill["full"] if kill else _met(before, after)
    if name is None:
        return Verdict("oom_killer", f"{said}the machine had none left", tuple(evidence))
    known = {group.name: group.limit_bytes for group in after.groups}.get(name)
    place = f"control group {name} was at its limit{'' if known is None else f' of {format_bytes(known)}'}"
    return Verdict("cgroup_limit", f"{said}{place}", (*evidence[:1], place, *evidence[1:]))


def _logged(after: Counters, kernel_lines: Sequence[str]) -> "re.Match[str] | None":
    """The last kill of a process in our group that the kernel's log has."""
    own = after.groups[0].name.rstrip("/") if after.groups else ""
    found = [match for line in kernel_lines if (match := KILL.search(line)) and match["group"].endswith(own)]
    return found[-1] if found else None


def _met(before: Counters, after: Counters) -> str | None:
    """The nearest group whose limit was met in between, or, where version 1 does not say when, at some time."""
    earlier = {group.name: group.at_limit for group in before.groups}
    for group in after.groups:
        rose = (group.at_limit or 0) > (earlier.get(group.name) or 0)
        if rose or (group.limit_bytes is not None and (group.most_bytes or 0) >= group.limit_bytes):
            return group.name
    return None
