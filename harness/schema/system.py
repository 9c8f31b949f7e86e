"""Where it ran, and what a result depends on besides its trial; what cannot be known is None, never a guess."""

from typing import Literal

from harness.schema.record import Record, Words

Limit = int | Literal["unlimited"] | None
"""A soft limit of a process; None where the system has no such limit."""


class GpuDevice(Record):
    """One GPU as NVML names it; CUDA_VISIBLE_DEVICES is honoured."""

    uuid: str
    name: str
    memory_bytes: int | None
    compute_capability: str | None


class GpuState(Record):
    """How one GPU is set up, by NVML; what its driver cannot say is None."""

    uuid: str
    pci_bus_id: str | None = None
    pcie_generation: int | None = None
    """Of the link as it is now; idle links may be slowed down."""
    pcie_width: int | None = None
    """Lanes in use now."""
    pcie_generation_max: int | None = None
    pcie_width_max: int | None = None
    numa_node: int | None = None
    """Of its PCI slot; None where the machine has but one or does not say."""
    nvlinks: int | None = None
    """NVLinks that are up."""
    vbios: str | None = None
    architecture: str | None = None
    """NVML's name of the chip's generation, as HOPPER; its number where the binding has no name for it."""
    sm_clock_max_mhz: int | None = None
    memory_clock_max_mhz: int | None = None
    application_sm_clock_mhz: int | None = None
    """The clock that applications are given, as far as power and heat allow."""
    application_memory_clock_mhz: int | None = None
    power_limit_mw: int | None = None
    """The cap in force."""
    power_limit_default_mw: int | None = None
    power_limit_min_mw: int | None = None
    power_limit_max_mw: int | None = None
    persistence: bool | None = None
    compute_mode: str | None = None
    """Who may use it: default, exclusive-process or prohibited."""
    mig: bool | None = None
    """Whether it is cut into slices; None where it cannot be."""
    ecc: bool | None = None


class Cpu(Record):
    """The processors of the machine, whatever part of them this run may use."""

    sockets: int | None = None
    cores: int | None = None
    """Physical cores that are on."""
    threads: int | None = None
    """Logical CPUs that are on."""
    numa_nodes: int | None = None
    smt: bool | None = None
    """Whether cores run two threads or more."""
    governor: str | None = None
    """How clocks are chosen, of all logical CPUs; several by name where they differ. None in most virtual machines."""
    frequency_driver: str | None = None
    energy_preference: str | None = None
    boost: bool | None = None
    """Whether clocks above the nominal one are allowed."""
    frequency_min_mhz: int | None = None
    frequency_max_mhz: int | None = None
    microcode: str | None = None
    virtual: bool | None = None
    """Whether a hypervisor is below."""
    flags_sha256: str | None = None
    """Of the instruction sets that the kernel names, sorted: kernels are compiled for exactly these."""
    mitigations: dict[str, str] | None = None
    """What the kernel does about each flaw of the processor that it knows to be there."""


class Memory(Record):
    """Memory beyond its amount."""

    swap_bytes: int | None = None
    page_bytes: int | None = None
    transparent_huge_pages: str | None = None
    """always, madvise or never."""
    numa_balancing: bool | None = None


class SystemState(Record):
    """What the operating system gives to processes."""

    libc: str | None = None
    clock_source: str | None = None
    """What the kernel reads time from; reading some of them is slow."""
    time_zone: str | None = None
    boot_id: str | None = None
    """Tells whether two results are of one boot."""
    uptime_s: float | None = None
    load_1min: float | None = None
    """Processes that ran or wanted to, as the run began."""
    open_files_limit: Limit = None
    locked_memory_limit_bytes: Limit = None
    stack_limit_bytes: Limit = None
    processes_limit: Limit = None


class Container(Record):
    """The container around the run, and what it may use."""

    kind: str
    """docker, podman, singularity, kubernetes, …; none where nothing tells of one."""
    image: str | None = None
    """Where the container tells: most do not. HARNESS_CONTAINER_IMAGE tells for them."""
    cgroup_version: Literal[1, 2] | None = None
    cpu_quota: float | None = None
    """CPUs' worth of time that the control group may take; None without a limit."""
    memory_limit_bytes: int | None = None
    """Of the control group; None without a limit."""


class Scheduler(Record):
    """The batch system that gave the machine."""

    name: Literal["slurm", "pbs", "lsf", "grid-engine"]
    job_id: str
    partition: str | None = None
    nodes: int | None = None


class Machine(Record):
    """The host machine, its devices and its software; None where it cannot be known or an old record lacks it."""

    hostname: str
    os: str
    kernel: str
    architecture: str
    cpu_model: str | None
    cpu_cores: int | None
    memory_bytes: int | None
    """Both None only of a machine that is known from an imported log."""
    python: str
    gpus: tuple[GpuDevice, ...] = ()
    gpu_driver: str | None = None
    gpu_note: str | None = None
    """Why no GPU is listed, in NVML's words."""
    gpu_states: tuple[GpuState, ...] | None = None
    """Of `gpus`, in their order."""
    cuda_driver: str | None = None
    """The newest CUDA that the driver runs."""
    nvml: str | None = None
    cpu: Cpu | None = None
    memory: Memory | None = None
    system: SystemState | None = None
    container: Container | None = None
    scheduler: Scheduler | None = None


class Software(Record):
    """Versions inside a framework, read from its installed files without importing it."""

    framework: str | None = None
    """The version that the framework's own files name, with the variant of its build, as 2.14.1+cu130."""
    framework_commit: str | None = None
    cuda_build: str | None = None
    """The CUDA that the framework was compiled against."""
    cudnn_build: str | None = None
    cuda_runtime: str | None = None
    """Of the installed package that the framework asks for, as the next three; None where it brings its own."""
    cudnn: str | None = None
    nccl: str | None = None
    cublas: str | None = None


class KernelSources(Record):
    """The native kernels and what compiles them."""

    sources_sha256: str | None = None
    compiler: str | None = None
    cuda_compiler: str | None = None
    """None where no GPU is visible: nothing would be compiled for one."""


class Provenance(Record):
    """What a result depends on besides its trial."""

    harness_version: str
    git_commit: str | None
    git_dirty: bool | None
    git_diff_sha256: str | None = None
    """Of all that differs from the commit, new files included; None where nothing does."""
    harness_sha256: str | None = None
    """Of the harness's own source files, whether or not they stand in a checkout."""
    backend_sha256: str | None = None
    """Of the source files of the package that the backend is in."""
    matrix_file: Words | None = None
    """The matrix file's name, without folders."""
    matrix_sha256: str | None = None
    """Of its bytes; the store keeps them as matrices/SHA256.yaml."""
    command: tuple[Words, ...]
    working_directory: Words | None = None
    """Where relative paths of the matrix begin; ~ for the user's home."""
    packages: dict[str, str]
    software: Software | None = None
    kernels: KernelSources | None = None
    environment: dict[str, Words]
    """Environment variables that change how frameworks compute or communicate."""
    containment: str
    """How the worker's processes are held together: pid-namespace or session."""
    framework: str | None = None
    model: str | None = None
    """As the backend describes itself; None in records of version 1."""
    data_fingerprints: dict[str, str]
    """SHA-256 of each annotation file, by the set's name in the matrix."""
