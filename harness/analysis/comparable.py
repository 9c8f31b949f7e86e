"""Which fields of two results must agree for their numbers to be compared, and which may differ.

A field is named as a dotted path in a result: `machine.cpu_model`, `provenance.packages.torch`. What a user changed on
purpose is declared by such a name, or by consecutive parts of one: `machine` stands for all fields of the machine,
`packages.torch` for one.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Literal

from harness.schema.trial import Device

Agreement = Literal["point", "must agree", "noted", "free"]
"""`point`: part of what makes two trials the same point; `noted`: may differ, and the comparison says so."""


@dataclass(frozen=True)
class Rule:
    """What holds for the fields of one pattern; `device`: asked only of trials on it."""

    fields: str
    agreement: Agreement
    why: str
    device: Device | None = None


RULES = (
    Rule("trial.seed", "noted", "processes of a point may have seeds of their own"),
    Rule("trial.repeat", "free", "tells the processes of a point apart"),
    Rule("trial.timeout_s", "free", "how long one is willing to wait"),
    Rule("trial.save_weights", "free", "written after the windows"),
    Rule("trial.probe", "free", "computed outside the windows"),
    Rule("trial", "point", "decides what a worker does; a rehearsal is compared with nothing"),
    Rule("device_name", "must agree", "the device that ran; a simulated one is compared with nothing"),
    Rule("settings.weights", "noted", "a name or a path: which file it was is in weights_read"),
    Rule("settings", "must agree", "what the backend really used: kernels, half type, threads"),
    Rule("accuracy.scorer", "must agree", "scorers may round differently"),
    Rule("imported.format", "must agree", "numbers that this harness did not measure"),
    Rule("imported.timed_by", "must agree", "what their windows are made of"),
    Rule("imported", "free", "which file it was"),
    Rule("weights_read", "noted", "speed hardly depends on weights; AP does, and is then judged by its spread"),
    Rule("machine.hostname", "noted", "equal machines have names of their own"),
    Rule("machine.memory_bytes", "noted", "the kernel keeps some of it for itself"),
    Rule("machine.memory.swap_bytes", "noted", "a trial that swaps shows it otherwise"),
    Rule("machine.gpu_note", "free", "why no GPU is listed"),
    Rule("machine.gpus.uuid", "noted", "another GPU of the same model", "cuda"),
    Rule("machine.gpu_states.uuid", "free", "as in machine.gpus"),
    Rule("machine.gpu_states.pci_bus_id", "free", "which slot it is in"),
    Rule("machine.gpu_states.pcie_generation", "noted", "an idle link is slowed down", "cuda"),
    Rule("machine.gpu_states.pcie_width", "noted", "an idle link is slowed down", "cuda"),
    Rule("machine.gpu_states.numa_node", "noted", "another GPU of the same machine", "cuda"),
    Rule("machine.gpu_states.vbios", "noted", "limits and clocks are fields of their own", "cuda"),
    Rule("machine.gpu_states.power_limit_*", "noted", "the limit in force is a field of its own", "cuda"),
    Rule("machine.gpu_states.persistence", "noted", "matters before the first step", "cuda"),
    Rule("machine.gpu_states.compute_mode", "noted", "who may use it", "cuda"),
    Rule("machine.nvml", "noted", "reads what the driver says", "cuda"),
    Rule("machine.cuda_driver", "must agree", "what the driver runs", "cuda"),
    Rule(
        "machine.gpu*", "must agree", "models and number of visible GPUs, driver, power limit, clocks, ECC, MIG", "cuda"
    ),
    Rule("machine.system.libc", "must agree", "mathematics and memory of every library"),
    Rule("machine.system.clock_source", "must agree", "reading some clocks is slow"),
    Rule("machine.system.boot_id", "noted", "another boot, another layout of memory"),
    Rule("machine.system.*_limit*", "noted", "a limit that matters ends a trial"),
    Rule("machine.system", "free", "how busy the machine was is in the telemetry"),
    Rule("machine.container.cgroup_version", "noted", "its limits are fields of their own"),
    Rule("machine.container.memory_limit_bytes", "noted", "a limit that matters ends a trial"),
    Rule("machine.scheduler.job_id", "free", "each run has its own"),
    Rule("machine.scheduler", "noted", "gave the machine, which has fields of its own"),
    Rule("machine", "must agree", "processor, cores, governor, clocks, kernel, container, Python"),
    Rule("telemetry.gpus.power_limit_w", "must agree", "the limit in force while it ran", "cuda"),
    Rule("telemetry.gpus.mig", "must agree", "a part of a GPU", "cuda"),
    Rule("provenance.harness_version", "noted", "comparing two versions is what comparing is for"),
    Rule("provenance.git_*", "noted", "comparing two commits is what comparing is for"),
    Rule("provenance.harness_sha256", "noted", "as the commit"),
    Rule("provenance.backend_sha256", "noted", "as the commit"),
    Rule("provenance.kernels.sources_sha256", "noted", "as the commit"),
    Rule("provenance.kernels.cuda_compiler", "must agree", "makes the native kernels", "cuda"),
    Rule("provenance.matrix_*", "noted", "points are matched one by one"),
    Rule("matrix_name", "noted", "points are matched one by one"),
    Rule("provenance.command", "free", "how the run was started"),
    Rule("provenance.working_directory", "free", "where it was started"),
    Rule("provenance.containment", "noted", "holds processes together, outside their windows"),
    Rule("provenance.environment.*VISIBLE_DEVICES", "noted", "which GPUs; their model and number must agree"),
    Rule("provenance.environment.PYTHONHASHSEED", "noted", "differs from run to run by nature"),
    Rule("provenance.environment.*_LOG*", "noted", "what libraries print"),
    Rule("provenance.environment.NCCL_DEBUG*", "noted", "what NCCL prints"),
    Rule("provenance.environment.*_CACHE_DIR", "noted", "where compiled code is kept; compiling is measured apart"),
    Rule("provenance.environment.*_CACHE_PATH", "noted", "where compiled code is kept; compiling is measured apart"),
    Rule("provenance.environment.TORCH_HOME", "noted", "where files are kept"),
    Rule("provenance.environment", "must agree", "switches of frameworks and libraries"),
    Rule("provenance.packages", "must agree", "versions of frameworks and libraries"),
    Rule("provenance.data_fingerprints", "must agree", "the annotations of the sets that the trial reads"),
    Rule("provenance", "must agree", "framework, model, versions inside the framework, the compiler of kernels"),
    Rule("schema_version", "free", "older records are lifted when they are read"),
    Rule("trial_id", "free", "follows from the trial"),
    Rule("rehearsal", "free", "a rehearsal is compared with nothing"),
    Rule("outcome", "free", "compared itself"),
    Rule("windows", "free", "compared themselves, as throughput"),
    Rule("measurements", "free", "compared themselves, as latency"),
    Rule("accuracy", "free", "compared itself"),
    Rule("time_to_target_s", "free", "compared itself"),
    Rule("telemetry", "free", "energy is compared itself, marks are told"),
    Rule("peak_memory_bytes", "free", "what came out, no condition"),
    Rule("timer", "free", "what measuring takes on this machine"),
    Rule("weights", "free", "where trained weights were left"),
    Rule("probe", "free", "compared by `harness report`"),
    Rule("started_at", "free", "the order of processes is told"),
    Rule("started_ns", "free", "as started_at"),
    Rule("duration_s", "free", "start-up included"),
)
"""The first rule whose pattern fits counts; a pattern fits a field, and what the field is a part of."""

KERNELS = "settings.kernels"


@dataclass(frozen=True)
class Consequence:
    """What differs because something else does; kernels that fell back are never a matter of course."""

    of: str
    fields: tuple[str, ...]
    kernels: bool = False


CONSEQUENCES = (
    Consequence(
        "trial.backend",
        (
            "trial.options",
            "settings",
            "provenance.packages",
            "provenance.software",
            "provenance.framework",
            "provenance.backend_sha256",
        ),
        kernels=True,
    ),
    Consequence("trial.device", ("device_name", "settings", "machine"), kernels=True),
    Consequence("trial.options.kernels", ("settings",), kernels=True),
    Consequence("trial", ("settings",)),
    Consequence("machine", ("device_name", "telemetry", "settings", "provenance.kernels")),
    Consequence("provenance.packages", ("provenance.software",)),
    Consequence("imported", ("machine", "provenance", "settings", "device_name"), kernels=True),
)
"""What is declared together with a field, since it follows from it."""


def covers(pattern: str, field: str) -> bool:
    """Whether a pattern fits a field, or what the field is a part of."""
    return fnmatchcase(field, pattern) or field.startswith(f"{pattern}.")


@lru_cache(maxsize=4096)
def rule_of(field: str) -> Rule:
    """The rule of a field; one that nobody has placed must agree."""
    return next((rule for rule in RULES if covers(rule.fields, field)), Rule(field, "must agree", "not placed yet"))


def declares(name: str, field: str) -> bool:
    """Whether a name that a user gave stands for a field: its parts follow one another in the field's."""
    return f".{name}." in f".{field}."


def declared(names: Iterable[str], fields: Collection[str]) -> frozenset[str]:
    """The fields, of these, that names stand for, and those that follow from them."""
    meant = {field for name in names for field in fields if declares(name, field)}
    following = [each for each in CONSEQUENCES if any(covers(each.of, field) for field in meant)]
    patterns = {(pattern, each.kernels) for each in following for pattern in each.fields}
    follow = {
        field
        for field in fields
        if any(covers(pattern, field) and (kernels or field != KERNELS) for pattern, kernels in patterns)
    }
    return frozenset(meant | follow)
