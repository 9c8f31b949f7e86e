"""The container and the batch job around this process, by the signs that each leaves.

Signs: the variable `container` that systemd, podman and LXC set; /.dockerenv; /run/.containerenv, in which podman names
the image; SINGULARITY_CONTAINER and APPTAINER_CONTAINER; Kubernetes' variable for its services; the control group's
path. NVIDIA's images name their release in the environment. Docker tells no container its image.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from harness.measure.reading import PROC, as_number, number_of, text_of
from harness.schema.system import Container, Scheduler

IMAGE = "HARNESS_CONTAINER_IMAGE"
"""By which a user tells the image where the container does not."""
NGC = re.compile(r"NVIDIA_(PYTORCH|TENSORFLOW)_VERSION")
PATHS = (("kubepods", "kubernetes"), ("docker", "docker"), ("libpod", "podman"), ("lxc", "lxc"))
UNLIMITED_BYTES = 1 << 60
"""Version 1 of control groups spells no limit as the largest number of pages."""


def read_container(environment: Mapping[str, str] = os.environ, root: Path = Path("/")) -> Container:
    """Describe the container around this process.

    Args:
        environment: of this process.
        root: where the file system begins.
    """
    groups = _groups(root)
    version: Literal[1, 2] | None = (
        2 if (root / "sys/fs/cgroup/cgroup.controllers").exists() else 1 if len(groups) > 1 else None
    )
    return Container(
        kind=_kind(environment, root, groups),
        image=_image(environment, root),
        cgroup_version=version,
        cpu_quota=min(_quotas(root, groups, version), default=None),
        memory_limit_bytes=min(_memory_limits(root, groups, version), default=None),
    )


def read_scheduler(environment: Mapping[str, str] = os.environ) -> Scheduler | None:
    """Return the batch job that this process belongs to, or None.

    Args:
        environment: of this process.
    """
    given = environment.get
    if job := given("SLURM_JOB_ID"):
        nodes = as_number(given("SLURM_JOB_NUM_NODES"))
        return Scheduler(name="slurm", job_id=job, partition=given("SLURM_JOB_PARTITION"), nodes=nodes)
    if job := given("PBS_JOBID"):
        return Scheduler(name="pbs", job_id=job, partition=given("PBS_QUEUE"), nodes=as_number(given("PBS_NUM_NODES")))
    if job := given("LSB_JOBID"):
        return Scheduler(name="lsf", job_id=job, partition=given("LSB_QUEUE"))
    if (job := given("JOB_ID")) and "SGE_TASK_ID" in environment:
        return Scheduler(name="grid-engine", job_id=job, partition=given("QUEUE"), nodes=as_number(given("NHOSTS")))
    return None


def _kind(environment: Mapping[str, str], root: Path, groups: Mapping[str, str]) -> str:
    if "KUBERNETES_SERVICE_HOST" in environment:
        return "kubernetes"
    if {"SINGULARITY_CONTAINER", "APPTAINER_CONTAINER"} & environment.keys() or (root / ".singularity.d").is_dir():
        return "singularity"
    if (root / "run/.containerenv").exists():
        return "podman"
    if (root / ".dockerenv").exists():
        return "docker"
    named = environment.get("container") or text_of(root / "run/systemd/container")
    by_path = (kind for sign, kind in PATHS if any(sign in path for path in groups.values()))
    return named or next(by_path, "none")


def _image(environment: Mapping[str, str], root: Path) -> str | None:
    """The image by name, without the folders that a file of one lies in."""
    if told := environment.get(IMAGE):
        return told
    if file := environment.get("APPTAINER_CONTAINER") or environment.get("SINGULARITY_CONTAINER"):
        return Path(file).name
    named = re.search(r'^image="(.+)"$', text_of(root / "run/.containerenv") or "", re.MULTILINE)
    if named:
        return named[1]
    releases = [f"{name}={environment[name]}" for name in sorted(environment) if NGC.fullmatch(name)]
    return ", ".join(releases) or None


def _groups(root: Path) -> dict[str, str]:
    """The path of this process's control group by controller; the empty name is version 2's."""
    lines = (text_of(root / PROC.relative_to("/") / "self/cgroup") or "").splitlines()
    fields = [line.split(":", 2) for line in lines if line.count(":") >= 2]
    return {controller: path for _, controllers, path in fields for controller in controllers.split(",")}


def _folders(root: Path, groups: Mapping[str, str], controller: str, version: int | None) -> Iterator[Path]:
    """The group's folder and all above it: the narrowest limit holds. Inside a container the path may be another's."""
    top = root / "sys/fs/cgroup"
    if version == 1:
        mounts = [top / name for name in (controller, "cpu,cpuacct") if (top / name).is_dir()]
        top, path = (mounts or [top])[0], groups.get(controller, "/")
    else:
        path = groups.get("", "/")
    folder = top / path.lstrip("/")
    yield from (each for each in (folder, *folder.parents) if each.is_relative_to(top) and each.is_dir())


def _quotas(root: Path, groups: Mapping[str, str], version: int | None) -> Iterator[float]:
    """CPUs' worth of time, of each level that has a limit."""
    for folder in _folders(root, groups, "cpu", version):
        if version == 1:
            quota, period = number_of(folder / "cpu.cfs_quota_us"), number_of(folder / "cpu.cfs_period_us")
        else:
            words = (text_of(folder / "cpu.max") or "").split()
            quota, period = (as_number(words[0]), as_number(words[1])) if len(words) == 2 else (None, None)
        if quota and period and quota > 0:
            yield quota / period


def _memory_limits(root: Path, groups: Mapping[str, str], version: int | None) -> Iterator[int]:
    """Bytes, of each level that has a limit."""
    for folder in _folders(root, groups, "memory", version):
        limit = number_of(folder / ("memory.limit_in_bytes" if version == 1 else "memory.max"))
        if limit is not None and limit < UNLIMITED_BYTES:
            yield limit
