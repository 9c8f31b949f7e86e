"""Machine and provenance beyond what tables show: every field that is known, and a few of them in words."""

from collections.abc import Iterable, Iterator, Sequence

from harness.analysis.comparable_facts import spelled
from harness.schema.record import Record
from harness.schema.result import TrialResult
from harness.schema.system import Cpu, GpuState, Machine, Provenance
from harness.units import format_bytes

Lines = Iterator[tuple[str, str]]
ELSEWHERE_OF_MACHINE = frozenset(
    {
        *("hostname", "os", "kernel", "architecture", "cpu_model", "cpu_cores", "memory_bytes", "python"),
        *("gpus", "gpu_driver", "gpu_note"),
    }
)
ELSEWHERE_OF_PROVENANCE = frozenset(
    {
        *("harness_version", "git_commit", "git_dirty", "command", "containment"),
        *("packages", "environment", "data_fingerprints"),
    }
)
"""Fields that are told under names of their own."""


def machine_details(result: TrialResult) -> Lines:
    """Every known field of the machine that `machine_facts` has no words for, by its dotted name."""
    yield from known_fields(result.machine, ELSEWHERE_OF_MACHINE)
    yield from ((f"gpus.{name}", value) for gpu in result.machine.gpus for name, value in known_fields(gpu))


def provenance_details(result: TrialResult) -> Lines:
    """Every known field of the provenance that stands nowhere else, by its dotted name."""
    if result.provenance is not None:
        yield from known_fields(result.provenance, ELSEWHERE_OF_PROVENANCE)


def known_fields(record: Record, without: Iterable[str] = ()) -> Lines:
    """Dotted names and texts of the fields that are known; equal things are counted, as in 8 × 400000."""
    for name, value in record.model_dump(exclude=set(without)).items():
        yield from ((field, text) for field, text in spelled(name, value) if text is not None and value is not None)


def setup_facts(machine: Machine, source: Provenance | None) -> Lines:
    """What of the machine's set-up speed hinges on, in words; nothing for a record that does not have it."""
    if machine.cpu is not None and (words := cpu_words(machine.cpu)):
        yield "processor set-up", words
    if machine.container is not None:
        held, image = machine.container, machine.container.image
        limits = [
            *([] if held.cpu_quota is None else [f"{held.cpu_quota:g} CPUs"]),
            *([] if held.memory_limit_bytes is None else [format_bytes(held.memory_limit_bytes)]),
        ]
        yield "container", ", ".join((held.kind, *([image] if image else []), *limits))
    if machine.cuda_driver is not None:
        yield "CUDA of the driver", machine.cuda_driver
    if words := "; ".join(dict.fromkeys(map(gpu_words, machine.gpu_states or ()))):
        yield "GPU set-up", words
    if source is not None and source.kernels is not None and source.kernels.compiler is not None:
        yield "compiler of kernels", source.kernels.compiler


def cpu_words(cpu: Cpu) -> str:
    """Sockets, cores, how clocks are chosen, whether a hypervisor is below."""
    switched = {True: "on", False: "off"}
    parts = [
        None if cpu.sockets is None else f"{cpu.sockets} socket{'s' * (cpu.sockets != 1)}",
        None if cpu.cores is None else f"{cpu.cores} physical core{'s' * (cpu.cores != 1)}",
        None if cpu.governor is None else f"governor {cpu.governor}",
        None if cpu.boost is None else f"boost {switched[cpu.boost]}",
        "virtual machine" if cpu.virtual else None,
    ]
    return ", ".join(part for part in parts if part)


def gpu_words(state: GpuState) -> str:
    """Power cap, clocks and modes of one GPU."""
    switched = {True: "on", False: "off"}
    parts = [
        None if state.power_limit_mw is None else f"power cap {state.power_limit_mw / 1000:g} W",
        None if state.sm_clock_max_mhz is None else f"SM clock up to {state.sm_clock_max_mhz} MHz",
        *(f"{name} {switched[on]}" for name, on in modes(state) if on is not None),
    ]
    return ", ".join(part for part in parts if part)


def modes(state: GpuState) -> Sequence[tuple[str, bool | None]]:
    """The modes of a GPU by name."""
    return (("MIG", state.mig), ("ECC", state.ecc), ("persistence", state.persistence))


def framework_versions(source: Provenance) -> Lines:
    """The libraries of NVIDIA that a framework loads, named as its."""
    inside, names = source.software, {"cuda_runtime": "CUDA runtime", "cudnn": "cuDNN", "nccl": "NCCL"}
    if inside is None or source.framework is None:
        return
    for field, name in names.items():
        if (version := getattr(inside, field)) is not None:
            yield f"{name} of {source.framework}", version
