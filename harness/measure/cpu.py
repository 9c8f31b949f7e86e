"""The processors, as Linux describes them under /sys and /proc."""

import hashlib
from pathlib import Path

from harness.measure.reading import PROC, SYS, count_of, first_block, number_of, switch_of, text_of
from harness.schema.system import Cpu

KHZ_PER_MHZ = 1000


def read_cpu(sys: Path = SYS, proc: Path = PROC) -> Cpu:
    """Describe the processors.

    Args:
        sys: where sysfs is.
        proc: where procfs is.
    """
    cpus, first = sys / "devices/system/cpu", first_block(proc / "cpuinfo")
    flags = first.get("flags") or first.get("Features")
    policies = sorted((cpus / "cpufreq").glob("policy*"))
    return Cpu(
        sockets=_sockets(cpus),
        cores=_distinct(cpus, "thread_siblings_list"),
        threads=count_of(cpus / "online"),
        numa_nodes=count_of(sys / "devices/system/node/online"),
        smt=switch_of(cpus / "smt/active"),
        governor=_words(policies, "scaling_governor"),
        frequency_driver=_words(policies, "scaling_driver"),
        energy_preference=_words(policies, "energy_performance_preference"),
        boost=_boost(cpus),
        frequency_min_mhz=min(_frequencies(policies, "scaling_min_freq"), default=None),
        frequency_max_mhz=max(_frequencies(policies, "scaling_max_freq"), default=None),
        microcode=first.get("microcode"),
        virtual="hypervisor" in first["flags"].split() if "flags" in first else None,  # a flag of x86 alone
        flags_sha256=hashlib.sha256(" ".join(sorted(flags.split())).encode()).hexdigest() if flags else None,
        mitigations=_mitigations(cpus / "vulnerabilities"),
    )


def _distinct(cpus: Path, name: str) -> int | None:
    """How many different answers the logical CPUs that are on have about their place."""
    values = {text_of(path) for path in cpus.glob(f"cpu[0-9]*/topology/{name}")} - {None}
    return len(values) or None


def _sockets(cpus: Path) -> int | None:
    """Sockets, unless the machine does not number them, which it says by -1."""
    numbers = {number_of(path) for path in cpus.glob("cpu[0-9]*/topology/physical_package_id")} - {None}
    return len(numbers) if numbers and numbers != {-1} else None


def _words(policies: list[Path], name: str) -> str | None:
    values = {value for policy in policies if (value := text_of(policy / name))}
    return ", ".join(sorted(values)) or None


def _frequencies(policies: list[Path], name: str) -> list[int]:
    return [value // KHZ_PER_MHZ for policy in policies if (value := number_of(policy / name))]


def _boost(cpus: Path) -> bool | None:
    """Whether clocks above the nominal one are allowed: Intel's driver has a switch that says the opposite."""
    intel = switch_of(cpus / "intel_pstate/no_turbo", on=0)
    return switch_of(cpus / "cpufreq/boost") if intel is None else intel


def _mitigations(folder: Path) -> dict[str, str] | None:
    """What the kernel says of each flaw that the processor has; None where it says nothing of any."""
    said = {path.name: text for path in sorted(folder.glob("*")) if (text := text_of(path))}
    return {name: text for name, text in said.items() if text != "Not affected"} if said else None
