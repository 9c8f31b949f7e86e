"""Planted failures, through the command line: each is its own row with its cause, and nothing else is lost."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Harness = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., "subprocess.Popen[str]"]

MATRIX = """
name: faults
device: cpu
data: {{train: "synthetic:32x24:6", val: "synthetic:32x24:6"}}
defaults: {{warmup_steps: 1, timed_steps: 4, timeout_s: 120}}
trials:
  - {{backend: demo, phase: train, axes: {{fault: [{faults}]}}}}
  - {{backend: demo, phase: train, fault: hangs, timeout_s: 2.5}}
  - {{backend: demo, phase: infer}}
"""
EXPECTED: dict[str, tuple[str, str | None, str, str]] = {
    "none": ("ok", None, "", ""),
    "killed": ("crashed", "fault", "killed by SIGSEGV", ""),
    "sigkill": ("crashed", "killed", "killed by SIGKILL", "the kernel did not kill it|is unknown"),
    "limited_memory": ("out_of_memory", "process_memory", "MemoryError", r"RLIMIT_AS is 1073741824 bytes"),
    "cuda_memory": ("out_of_memory", "cuda_memory", "CUDA out of memory. Tried to allocate", ""),
    "cuda_abort": ("out_of_memory", "cuda_memory", "CUDA out of memory. Tried to", "log: c10::OutOfMemoryError: CUDA"),
    "tf_memory": ("out_of_memory", "tensorflow_memory", "OOM when allocating tensor", ""),
    "mentions_memory": ("crashed", "fault", "killed by SIGSEGV", ""),
    "hangs": ("timeout", "time_limit", "not done after 2.5 s", "killed after 2.5 s"),
    "nan": ("diverged", "not_finite", "loss is nan at step 3", ""),
    "no_framework": ("failed", "missing_package", "No module named 'no_such_framework'", ""),
    "broken_import": ("failed", "import_error", "libcudart.so.13: cannot open", ""),
    "no_work": ("failed", "wrong_hook", "harness_train returned dict, which lacks batches", ""),
    "truncated": ("failed", "malformed_record", "a rank's record is malformed: Invalid JSON: EOF", ""),
    "no_record": ("failed", "no_record", "exit code 0, but 1 of the workers left no result", ""),
    "exits": ("crashed", "exit_code", "exit code 7 without a result", ""),
    "ends": ("failed", "broken_seam", "batches() ended after 1 steps", ""),
    "raises": ("failed", "exception", "ValueError: boom", ""),
    "declines": ("unsupported", "declined", "the fake device has no such mode", ""),
}


def records(folder: Path) -> dict[str, dict[str, Any]]:
    """Every committed record of a store by its file's name."""
    return {path.name: json.loads(path.read_bytes()) for path in (folder / "trials").glob("*.json")}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple["subprocess.CompletedProcess[str]", dict[str, Any]]:
    """One run of a matrix of every failure of a single trial; and its records by fault, the healthy last one by ''."""
    folder = tmp_path_factory.mktemp("faults")
    inner = ", ".join(fault for fault in EXPECTED if fault != "hangs")
    (folder / "faults.yaml").write_text(MATRIX.format(faults=inner))
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", "run", "faults.yaml", "--results", "store"],
        cwd=folder,
        env=os.environ | {"HARNESS_DATA_DIR": str(folder / "data")},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    by_fault = {
        "" if record["trial"]["phase"] == "infer" else record["trial"]["options"]["fault"]: record
        for record in records(folder / "store").values()
    }
    return done, by_fault


def test_the_matrix_finishes(ran: Any) -> None:
    """Every point has its record, the healthy ones are ok, and the exit code says that some failed."""
    done, by_fault = ran
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert by_fault.keys() == {*EXPECTED, ""}
    assert by_fault[""]["outcome"]["kind"] == "ok"


@pytest.mark.parametrize("fault", EXPECTED)
def test_a_failure_has_its_outcome_cause_and_evidence(ran: Any, fault: str) -> None:
    """Of the closed set, with what it was found by."""
    kind, cause, reason, evidence = EXPECTED[fault]
    outcome = ran[1][fault]["outcome"]
    assert (outcome["kind"], outcome["cause"]) == (kind, cause)
    assert reason in (outcome["reason"] or "")
    assert re.search(evidence, "\n".join(outcome["evidence"]))
    assert kind == "unsupported" or outcome["peak_memory_bytes"] > 1 << 20
    assert kind in {"ok", "unsupported"} or outcome["exit_code"] is not None or outcome["signal"] or kind == "timeout"


def test_the_batch_size_is_never_changed(ran: Any) -> None:
    """A trial that ran out of memory is recorded with the batch size that was asked for, and no other ran instead."""
    sizes = {(record["trial"]["batch_size_per_gpu"], record["trial_id"]) for record in ran[1].values()}
    assert {size for size, _ in sizes} == {1}
    assert len(sizes) == len(EXPECTED) + 1


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group with 300 MiB of memory for the runner and its workers."""
    v1, v2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
    base, limits = (
        (v1, ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"))
        if v1.is_dir()
        else (v2, ("memory.max", "memory.swap.max"))
    )
    folder = base / f"harness-test-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / limits[0]).write_text("300M")
        if (folder / limits[1]).exists():
            (folder / limits[1]).write_text("300M" if base == v1 else "0")
    except OSError as error:
        if folder.is_dir():
            folder.rmdir()
        pytest.skip(f"no control group with a limit can be made here: {error}")
    yield folder
    deadline = time.monotonic() + 10
    while (folder / "cgroup.procs").read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    folder.rmdir()


def test_the_kernel_s_killer_is_told_from_others_by_its_counters(tmp_path: Path, group: Path) -> None:
    """A worker that outgrows its control group is out_of_memory, cgroup_limit; the next trial is well."""
    (tmp_path / "m.yaml").write_text(
        MATRIX.format(faults="eats_memory, sigkill").replace("  - {backend: demo, phase: train, fault: hangs", "#")
    )
    command = ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
    run = [sys.executable, "-m", "harness.cli", "run", "m.yaml", "--results", "store"]
    done = subprocess.run([*command, *run], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    found = {record["trial"]["options"]["fault"]: record["outcome"] for record in records(tmp_path / "store").values()}
    assert found["none"]["kind"] == "ok", done.stderr
    killed = found["eats_memory"]
    assert (killed["kind"], killed["cause"], killed["signal"]) == ("out_of_memory", "cgroup_limit", "SIGKILL")
    assert f"/{group.name} was at its limit of 300.0 MiB" in killed["reason"]
    assert any(
        re.search(r"oom_kill of control group .*: 0 before the trial, 1 after it", line) for line in killed["evidence"]
    )
    assert killed["peak_memory_bytes"] > 150 << 20
    assert (found["sigkill"]["kind"], found["sigkill"]["cause"]) == ("crashed", "killed")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MB for the store alone."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "none", folder], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def remount(disk: Path, how: str) -> None:
    """Change how it is mounted."""
    subprocess.run(["mount", "-o", f"remount,{how}", disk], check=True)


def last_line(done: "subprocess.CompletedProcess[str]") -> str:
    """The one line that says what went wrong, after those of progress."""
    lines = done.stderr.splitlines()
    assert [line for line in lines if line.startswith("harness: ")] == lines[-1:], done.stderr
    assert "Traceback" not in done.stderr
    return lines[-1]


def test_a_full_disk_loses_nothing(harness: Harness, tmp_path: Path, disk: Path) -> None:
    """The trial in flight is not recorded, the run ends in one line; with room again it goes on from there."""
    matrix = tmp_path / "faults.yaml"
    matrix.write_text(MATRIX.format(faults="none, fills_log").replace("fault: hangs", "fault: chatter"))
    store = ("--results", disk / "store")
    full = harness("run", matrix, *store)
    assert full.returncode == 1
    assert "No space left on device" in last_line(full)
    before = records(disk / "store")
    assert [record["trial"]["options"]["fault"] for record in before.values()] == ["none"]
    again = harness("run", matrix, *store)
    assert again.returncode == 1
    assert "No space left on device" in last_line(again)
    assert records(disk / "store") == before
    remount(disk, "size=200m")
    done = harness("run", matrix, *store)
    assert done.returncode == 0, done.stderr
    after = records(disk / "store")
    assert {record["outcome"]["kind"] for record in after.values()} == {"ok"}
    assert len(after) == 4
    assert {name: after[name] for name in before} == before


def test_a_disk_that_is_too_full_for_a_report_keeps_the_trials(harness: Harness, tmp_path: Path, disk: Path) -> None:
    """The outcomes are told, and what makes the report later; no record is moved aside for one that cannot be kept."""
    matrix = tmp_path / "faults.yaml"
    matrix.write_text(MATRIX.format(faults="none").replace("fault: hangs", "fault: chatter"))
    arguments = ("run", matrix, "--results", disk / "store", "--only", "phase=infer")
    assert harness(*arguments).returncode == 0
    before = records(disk / "store")
    fill = disk / "fill"
    with contextlib.suppress(OSError), fill.open("wb") as file:
        while True:
            file.write(bytes(4096))
            file.flush()
    full = harness(*arguments)
    assert (full.returncode, full.stdout) == (1, "1 ok\n")
    assert "No space left on device; all trials are recorded, and `harness report" in last_line(full)
    fresh = harness(*arguments, "--fresh")
    assert fresh.returncode == 1
    assert "No space left on device; what is recorded is safe" in last_line(fresh)
    assert records(disk / "store") == before
    assert harness("report", disk / "store").returncode == 0
    fill.unlink()
    assert harness(*arguments).returncode == 0


def test_a_read_only_store_loses_nothing(harness: Harness, tmp_path: Path, disk: Path) -> None:
    """One line and exit code 1, whether the run begins on it or meets it; once writable again it goes on."""
    matrix = tmp_path / "faults.yaml"
    matrix.write_text(MATRIX.format(faults="none").replace("fault: hangs", "fault: chatter"))
    store = ("--results", disk / "store")
    remount(disk, "ro")
    refused = harness("run", matrix, *store)
    assert refused.returncode == 1
    assert "Read-only file system" in last_line(refused)
    remount(disk, "rw")
    assert harness("run", matrix, *store, "--only", "phase=infer").returncode == 0
    before = records(disk / "store")
    remount(disk, "ro")
    refused = harness("run", matrix, *store)
    assert refused.returncode == 1
    assert "Read-only file system" in last_line(refused)
    assert records(disk / "store") == before
    remount(disk, "rw")
    assert harness("run", matrix, *store).returncode == 0
    after = records(disk / "store")
    assert len(after) == 3
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import no_such_framework", "cannot be imported: ModuleNotFoundError: No module named 'no_such_framework'"),
        (
            "from harness.api import hookimpl\n@hookimpl\ndef harness_trian(trial, context):\n    return None\n",
            "does not match the hooks: unknown hook 'harness_trian'",
        ),
    ],
)
def test_a_backend_that_cannot_be_planned_with_is_refused_at_once(
    harness: Harness, tmp_path: Path, source: str, message: str
) -> None:
    """Its options are unknown, so no point of it can be made: one line and exit code 2; what is recorded stays."""
    matrix = tmp_path / "faults.yaml"
    matrix.write_text(MATRIX.format(faults="none").replace("fault: hangs", "fault: chatter"))
    site = tmp_path / "site"
    shutil.rmtree(site, ignore_errors=True)
    (site / "odd-1.0.dist-info").mkdir(parents=True)
    (site / "odd-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
    (site / "odd-1.0.dist-info" / "entry_points.txt").write_text("[harness.backends]\nodd = odd_plugin\n")
    (site / "odd_plugin.py").write_text(source)
    store = ("--results", tmp_path / "store")
    assert harness("run", matrix, *store, "--only", "phase=infer", PYTHONPATH=str(site)).returncode == 0
    before = records(tmp_path / "store")
    matrix.write_text(f"{matrix.read_text()}  - {{backend: odd, phase: infer}}\n")
    refused = harness("run", matrix, *store, PYTHONPATH=str(site))
    assert refused.returncode == 2
    assert message in last_line(refused)
    assert records(tmp_path / "store") == before
