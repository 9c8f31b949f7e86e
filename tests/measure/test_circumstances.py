"""What the kernel says of processors, memory, containers and batch jobs, read from trees that tests make up."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.measure.container import read_container, read_scheduler
from harness.measure.cpu import read_cpu
from harness.measure.details import with_details
from harness.measure.machine import machine
from harness.measure.reading import as_number, count_of
from harness.measure.system import read_memory, read_system
from harness.schema.system import Container, Cpu, Scheduler

CPUINFO = """processor : 0
model name : Some CPU
microcode : 0xd0003a5
flags : fpu sse2 avx2 {more}

processor : 1
microcode : 0xother
"""


def plant(root: Path, files: dict[str, str]) -> Path:
    """A tree of files with these texts."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture
def server(tmp_path):
    """A made-up server of two sockets, four cores and eight logical CPUs."""
    cpus = "devices/system/cpu"
    files = {f"{cpus}/online": "0-7\n", f"{cpus}/smt/active": "1\n", "devices/system/node/online": "0-1,4\n"}
    for cpu in range(8):
        files[f"{cpus}/cpu{cpu}/topology/physical_package_id"] = str(cpu % 2)
        files[f"{cpus}/cpu{cpu}/topology/thread_siblings_list"] = f"{cpu % 4},{cpu % 4 + 4}"
        policy = f"{cpus}/cpufreq/policy{cpu}"
        files |= {f"{policy}/scaling_governor": "performance\n", f"{policy}/scaling_driver": "intel_pstate\n"}
        files |= {f"{policy}/scaling_min_freq": "800000\n", f"{policy}/scaling_max_freq": "3500000\n"}
    files[f"{cpus}/intel_pstate/no_turbo"] = "1\n"
    files[f"{cpus}/vulnerabilities/meltdown"] = "Not affected\n"
    files[f"{cpus}/vulnerabilities/spectre_v1"] = "Mitigation: barriers\n"
    plant(tmp_path / "sys", files)
    plant(tmp_path / "proc", {"cpuinfo": CPUINFO.format(more="avx512f")})
    return tmp_path


def test_a_server_is_described(server):
    """Sockets, cores, threads, nodes, clocks, boost, microcode and the flaws that concern it; no hypervisor."""
    found = read_cpu(server / "sys", server / "proc")
    assert found == Cpu(
        sockets=2,
        cores=4,
        threads=8,
        numa_nodes=3,
        smt=True,
        governor="performance",
        frequency_driver="intel_pstate",
        boost=False,
        frequency_min_mhz=800,
        frequency_max_mhz=3500,
        microcode="0xd0003a5",
        virtual=False,
        flags_sha256=found.flags_sha256,
        mitigations={"spectre_v1": "Mitigation: barriers"},
    )


def test_governors_that_differ_are_all_named(server):
    """One logical CPU left on another governor shows."""
    plant(server / "sys/devices/system/cpu/cpufreq", {"policy3/scaling_governor": "powersave\n"})
    assert read_cpu(server / "sys", server / "proc").governor == "performance, powersave"


def test_boost_of_other_drivers(server):
    """Where Intel's driver has no switch the common one counts."""
    cpus = server / "sys/devices/system/cpu"
    (cpus / "intel_pstate/no_turbo").unlink()
    plant(cpus, {"cpufreq/boost": "1\n"})
    assert read_cpu(server / "sys", server / "proc").boost is True


def test_the_digest_of_flags_follows_the_flags(server):
    """Order and a hypervisor beside, another instruction set is another digest."""
    first = read_cpu(server / "sys", server / "proc")
    plant(server / "proc", {"cpuinfo": "flags : avx512f avx2 sse2 fpu\n"})
    assert read_cpu(server / "sys", server / "proc").flags_sha256 == first.flags_sha256
    plant(server / "proc", {"cpuinfo": CPUINFO.format(more="hypervisor")})
    other = read_cpu(server / "sys", server / "proc")
    assert other.virtual is True
    assert other.flags_sha256 != first.flags_sha256


def test_nothing_there_is_all_unknown(tmp_path):
    """Without sysfs and procfs every reading is None, and none is an error."""
    assert read_cpu(tmp_path, tmp_path) == Cpu()
    memory, system = read_memory(tmp_path, tmp_path), read_system(tmp_path, tmp_path)
    assert (memory.swap_bytes, memory.transparent_huge_pages, memory.numa_balancing) == (None, None, None)
    assert (system.clock_source, system.boot_id, system.uptime_s) == (None, None, None)


def test_this_machine_agrees_with_psutil():
    """Cores, threads and swap are those that psutil reports, the limits those that the process has."""
    found = with_details(machine())
    assert found.cpu.threads == psutil.cpu_count()
    assert found.cpu.cores == psutil.cpu_count(logical=False)
    assert found.memory.swap_bytes == psutil.swap_memory().total
    assert found.system.open_files_limit == psutil.Process().rlimit(psutil.RLIMIT_NOFILE)[0]
    assert found.system.libc.split()[0] == "glibc"


def test_limits_and_zone_are_the_process_own():
    """A lowered limit, an unlimited one, and the zone of TZ."""
    program = (
        "import resource as r\n"
        "r.setrlimit(r.RLIMIT_NOFILE, (99, 99)); r.setrlimit(r.RLIMIT_STACK, (1 << 20, 1 << 20))\n"
        "from harness.measure.system import read_system; s = read_system()\n"
        "print(s.open_files_limit, s.stack_limit_bytes, s.time_zone)"
    )
    command = [sys.executable, "-c", program]
    said = subprocess.check_output(command, text=True, env={**os.environ, "TZ": "Asia/Tokyo"})
    assert said.split() == ["99", str(1 << 20), "Asia/Tokyo"]


@pytest.mark.parametrize(
    ("text", "count"), [("0", 1), ("0-3", 4), ("0-3,8-9,11\n", 7), ("", None), ("none", None), ("0-x", None)]
)
def test_the_kernels_lists_are_counted(tmp_path, text, count):
    """Ranges and single numbers; anything else is unknown."""
    path = plant(tmp_path, {"online": text}) / "online"
    assert count_of(path) == count


@settings(deadline=None)
@given(st.text())
def test_a_number_or_none(text):
    """Whatever a file holds, the answer is a number or None."""
    assert as_number(text) is None or isinstance(as_number(text), int)


@pytest.mark.parametrize(
    ("files", "environment", "kind", "image"),
    [
        ({}, {}, "none", None),
        ({".dockerenv": ""}, {}, "docker", None),
        ({".dockerenv": ""}, {"NVIDIA_PYTORCH_VERSION": "25.01"}, "docker", "NVIDIA_PYTORCH_VERSION=25.01"),
        ({".dockerenv": ""}, {"HARNESS_CONTAINER_IMAGE": "lab/x:1"}, "docker", "lab/x:1"),
        ({"run/.containerenv": 'engine="podman"\nimage="docker.io/lab/x:1"\n'}, {}, "podman", "docker.io/lab/x:1"),
        ({}, {"SINGULARITY_CONTAINER": "/home/ada/images/x.sif"}, "singularity", "x.sif"),
        ({}, {"APPTAINER_CONTAINER": "/home/ada/x.sif"}, "singularity", "x.sif"),
        ({".dockerenv": ""}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "kubernetes", None),
        ({"run/systemd/container": "systemd-nspawn\n"}, {}, "systemd-nspawn", None),
        ({}, {"container": "lxc"}, "lxc", None),
        ({"proc/self/cgroup": "0::/kubepods.slice/kubepods-pod1.slice/cri-1.scope\n"}, {}, "kubernetes", None),
    ],
)
def test_containers_by_their_signs(tmp_path, files, environment, kind, image):
    """Each kind leaves its sign; an image is named where it can be known, without the folders of a user."""
    found = read_container(environment, plant(tmp_path, files))
    assert (found.kind, found.image) == (kind, image)


def test_limits_of_control_groups_version_2(tmp_path):
    """The narrowest of all levels holds, and `max` is no limit."""
    group = "sys/fs/cgroup/slice"
    files = {
        "proc/self/cgroup": "0::/slice/scope\n",
        "sys/fs/cgroup/cgroup.controllers": "cpu memory\n",
        f"{group}/cpu.max": "150000 100000\n",
        f"{group}/memory.max": "8589934592\n",
        f"{group}/scope/cpu.max": "max 100000\n",
        f"{group}/scope/memory.max": "max\n",
    }
    found = read_container({}, plant(tmp_path, files))
    assert found == Container(kind="none", cgroup_version=2, cpu_quota=1.5, memory_limit_bytes=8 << 30)


def test_limits_of_control_groups_version_1(tmp_path):
    """Quotas of -1 and the largest number of pages are no limits; a path of another namespace is passed over."""
    files = {
        "proc/self/cgroup": "4:memory:/docker/1\n2:cpuacct:/\n1:cpu:/gone\n0::/\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        "sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes": "1073741824\n",
    }
    found = read_container({}, plant(tmp_path, files))
    assert found == Container(kind="docker", cgroup_version=1, cpu_quota=0.5, memory_limit_bytes=1 << 30)
    plant(tmp_path, {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n"})
    (tmp_path / "sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes").unlink()
    without = read_container({}, tmp_path)
    assert (without.cpu_quota, without.memory_limit_bytes) == (None, None)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        (
            {"SLURM_JOB_ID": "7", "SLURM_JOB_PARTITION": "gpu", "SLURM_JOB_NUM_NODES": "2"},
            Scheduler(name="slurm", job_id="7", partition="gpu", nodes=2),
        ),
        ({"PBS_JOBID": "7.head", "PBS_QUEUE": "q"}, Scheduler(name="pbs", job_id="7.head", partition="q")),
        ({"LSB_JOBID": "7"}, Scheduler(name="lsf", job_id="7")),
        ({"JOB_ID": "7", "SGE_TASK_ID": "undefined"}, Scheduler(name="grid-engine", job_id="7")),
        ({"JOB_ID": "7"}, None),
    ],
)
def test_batch_jobs_by_their_variables(environment, expected):
    """Each batch system names its job; a variable that anyone may set is not enough."""
    assert read_scheduler(environment) == expected
