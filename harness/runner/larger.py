"""After a trial that ran out of memory, those of its family that need no less are not tried.

A family is what is equal in all but the sizes that memory grows with, and in what memory does not depend on. A point is
no smaller where none of its sizes is smaller and one is larger, or where it is the same work again: a repeat with the
same seed. With another seed the same sizes meet other images, which may fit, so that is tried.
"""

from dataclasses import dataclass, field

from harness.matrix.model import AfterOutOfMemory
from harness.schema.result import Outcome, TrialResult
from harness.schema.system import Machine
from harness.schema.trial import Trial

SIZES = ("batch_size_per_gpu", "image_size")
"""An image_size of null is the published one, which only itself is known to be as large as."""
INDIFFERENT = frozenset(
    {
        *("seed", "repeat", "timeout_s", "scorer", "save_weights"),
        *("warmup_steps", "max_warmup_steps", "timed_steps", "timed_seconds", "timed_interval", "max_timed_steps"),
    }
)
"""Fields of a trial that say nothing of the memory it needs."""
SLACK = 0.01
"""Memory sizes as the kernel tells them vary a little from boot to boot."""


@dataclass
class Ceilings:
    """The trials that ran out of memory on a machine like this one, and those that did not."""

    machine: Machine
    rule: AfterOutOfMemory = "skip"
    ran_out: list[Trial] = field(default_factory=list)
    fitted: list[Trial] = field(default_factory=list)

    def add(self, result: TrialResult) -> None:
        """Learn from a result; a rehearsal's stand-in has another size, a machine with less memory another ceiling."""
        if result.rehearsal is not None or result.trial.rehearsal:
            return
        if result.outcome.kind == "ok":
            self.fitted.append(result.trial)
        elif result.outcome.kind == "out_of_memory" and not more_memory(self.machine, result.machine):
            self.ran_out.append(result.trial)

    def why_not(self, trial: Trial) -> Outcome | None:
        """The outcome of a trial that need not be tried, or None.

        One that ran out although a trial no smaller went well proves nothing: memory was not short for its size.
        """
        if self.rule == "run" or trial.rehearsal:
            return None
        for small in self.ran_out:
            if no_smaller(trial, small) and not any(no_smaller(well, small) for well in self.fitted):
                reason = f"{small.trial_id} ran out of memory, and this point is no smaller; --try-larger runs it"
                rule = f"same family; {small.trial_id}: {sizes(small)}; here: {sizes(trial)}"
                return Outcome(kind="skipped", cause="too_large", reason=reason, evidence=(rule,))
        return None


def no_smaller(trial: Trial, other: Trial) -> bool:
    """Whether a trial needs at least the memory that another one of its family does; False where that is not known."""
    if family(trial) != family(other):
        return False
    pairs = [(getattr(trial, name), getattr(other, name)) for name in SIZES]
    if any(one != two and (one is None or two is None or one < two) for one, two in pairs):
        return False
    return any(one != two for one, two in pairs) or trial.seed == other.seed


def family(trial: Trial) -> str:
    """All that the trials of a family share, as text."""
    return trial.model_dump_json(exclude={*SIZES, *INDIFFERENT})


def sizes(trial: Trial) -> str:
    """The sizes that memory grows with, in words."""
    return ", ".join(f"{name} {getattr(trial, name) or 'as published'}" for name in SIZES)


def more_memory(here: Machine, there: Machine) -> bool:
    """Whether a run on this machine may take more memory than one on that, of its own or on its largest GPU."""
    largest = [max((gpu.memory_bytes or 0 for gpu in machine.gpus), default=0) for machine in (here, there)]
    pairs = ((memory_of(here), memory_of(there)), (largest[0], largest[1]))
    return any(now > then * (1 + SLACK) for now, then in pairs)


def memory_of(machine: Machine) -> int:
    """The machine's memory, or as much of it as the control group may take; 0 where it is not known."""
    limit = machine.container and machine.container.memory_limit_bytes
    return min(machine.memory_bytes or 0, limit or machine.memory_bytes or 0)
