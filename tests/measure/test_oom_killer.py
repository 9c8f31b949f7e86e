"""Counters of the out-of-memory killer, from files as each version of control groups has them."""

import os
from pathlib import Path

import pytest

from harness.measure.kernel_log import KernelLog
from harness.measure.oom_killer import Counters, Group, memory_group, read_counters


def write(folder: Path, files: dict[str, str]) -> None:
    """Write files of these names and contents."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def proc(folder: Path, cgroup: str, mounts: str) -> Path:
    """A /proc of a process in these groups."""
    write(folder, {"vmstat": "nr_free 5\noom_kill 7\n", "self/cgroup": cgroup, "self/mountinfo": mounts})
    return folder


def test_version_2_counts_the_group_and_those_around_it(tmp_path: Path) -> None:
    """memory.events of our own, then of each above, as far as the file system is mounted."""
    mount = tmp_path / "cgroup"
    write(
        mount,
        {
            "cgroup.controllers": "memory\n",
            "job/cgroup.controllers": "memory\n",
            "job/memory.events": "low 0\nmax 9\noom 2\noom_kill 3\n",
            "job/memory.max": "1048576\n",
            "job/step/cgroup.controllers": "memory\n",
            "job/step/memory.events": "oom 0\noom_kill 3\noom_group_kill 0\n",
            "job/step/memory.max": "max\n",
        },
    )
    here = proc(tmp_path / "proc", "0::/job/step\n", f"30 23 0:26 / {mount} rw - cgroup2 cgroup2 rw\n")
    assert read_counters(here) == Counters(
        (Group("/job/step", 3, 0, None), Group("/job", 3, 2, 1048576), Group("/", None, None, None)), 7
    )


def test_version_1_counts_by_its_own_files(tmp_path: Path) -> None:
    """Beside an empty version 2, as hybrid systems have it; the huge number means no limit."""
    v1, v2 = tmp_path / "memory", tmp_path / "unified"
    write(
        v1 / "box",
        {
            "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n",
            "memory.failcnt": "10\n",
            "memory.memsw.failcnt": "1\n",
            "memory.limit_in_bytes": "9223372036854771712\n",
            "memory.max_usage_in_bytes": "4096\n",
        },
    )
    v2.mkdir()
    mounts = f"35 31 0:32 / {v1} rw - cgroup cgroup rw,memory\n41 31 0:37 / {v2} rw - cgroup2 cgroup2 rw\n"
    here = proc(tmp_path / "proc", "4:memory:/box\n1:cpu:/\n0::/\n", mounts)
    assert read_counters(here).groups[0] == Group("/box", 4, 11, None, 4096)


@pytest.mark.parametrize(("cgroup", "root"), [("/docker/abc", "/docker/abc"), ("/", "/"), ("/../other", "/")])
def test_a_container_s_own_group_is_where_its_file_system_begins(tmp_path: Path, cgroup: str, root: str) -> None:
    """Whether the container sees its group's whole path, none of it, or one that is outside."""
    mount = tmp_path / "cgroup"
    write(mount, {"memory.events": "oom 0\noom_kill 0\n"})
    here = proc(tmp_path / "proc", f"0::{cgroup}\n", f"30 23 0:26 {root} {mount} rw - cgroup2 cgroup2 rw\n")
    found = memory_group(here)
    assert found is not None
    assert found[0].resolve() == mount


def test_nothing_to_read_is_unknown(tmp_path: Path) -> None:
    """Not zero."""
    assert read_counters(tmp_path) == Counters((), None)


def test_the_kernel_s_log_gives_lines_that_came_since(tmp_path: Path) -> None:
    """One record a read; only those of kills for memory, without their head."""
    path = tmp_path / "kmsg"
    os.mkfifo(path)
    keep = os.open(path, os.O_RDWR)
    log = KernelLog(path)
    assert not log.killed()
    os.write(keep, b"4,12,345,-;Out of memory: Killed process 9 (python3) total-vm:1kB\n SUBSYSTEM=x\n")
    assert log.killed() == ("Out of memory: Killed process 9 (python3) total-vm:1kB",)
    log.close()
    os.close(keep)
    assert KernelLog(tmp_path / "none").killed() == ()
