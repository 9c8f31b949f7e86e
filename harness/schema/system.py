"""Where it ran."""

from harness.schema.record import Record


class GpuDevice(Record):
    """One GPU as NVML names it; CUDA_VISIBLE_DEVICES is honoured."""

    uuid: str
    name: str
    memory_bytes: int | None
    compute_capability: str | None


class Machine(Record):
    """The host machine, its devices and its software; None where it cannot be known."""

    hostname: str
    os: str
    kernel: str
    architecture: str
    cpu_model: str | None
    cpu_cores: int
    memory_bytes: int
    python: str
    gpus: tuple[GpuDevice, ...] = ()
    gpu_driver: str | None = None
    gpu_note: str | None = None
    """Why no GPU is listed, in NVML's words."""


class Provenance(Record):
    """What a result depends on besides its trial."""

    harness_version: str
    git_commit: str | None
    git_dirty: bool | None
    command: tuple[str, ...]
    packages: dict[str, str]
    environment: dict[str, str]
    """Environment variables that change how frameworks compute or communicate."""
    containment: str
    """How the worker's processes are held together: pid-namespace or session."""
    framework: str | None = None
    model: str | None = None
    """As the backend describes itself; None in records of version 1."""
    data_fingerprints: dict[str, str]
    """SHA-256 of each annotation file, by the set's name in the matrix."""
