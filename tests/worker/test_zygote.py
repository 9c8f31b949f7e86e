"""A forked worker is as good as a fresh one, and ends in every way a process can."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import psutil
import pytest
from records import demo_trial

from harness.runner.containment import NAMESPACES, Containment, works
from harness.runner.launchers import Launch
from harness.runner.process import Ending, run_command
from harness.runner.workers import Workers
from harness.runner.zygote import Zygote
from harness.schema.result import Assignment, DataPaths
from harness.schema.spawn import Namespace

DECLINED = Ending(1, None, timed_out=False)
TIMEOUT_S = 60.0
Probe = Callable[..., tuple[Ending, str]]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A small environment in which a worker finds the probe."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parent),
        "PYTHONUNBUFFERED": "1",
        "PYDANTIC_DISABLE_PLUGINS": "__all__",
        "OF_THE_TRIAL": "with = sign and\nlines",
    }


@pytest.fixture(scope="module")
def zygote(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    """One that all tests share which do it no harm."""
    with (tmp_path_factory.mktemp("zygote") / "log").open("wb") as log:
        started = Zygote(environment, log)
    yield started
    started.stop()


@pytest.fixture
def assign(tmp_path: Path) -> Callable[[str], Path]:
    """Write an assignment that has the probe run some code."""

    def written(code: str) -> Path:
        trial = demo_trial(options={"code": code})
        paths = DataPaths(train="synthetic", val="synthetic")
        assignment = Assignment(trial=trial, plugin="probe_backend", data=paths, scratch=str(tmp_path))
        path = tmp_path / "assignment.json"
        path.write_text(assignment.model_dump_json())
        return path

    return written


@pytest.fixture
def probe(zygote: Zygote, tmp_path: Path, assign: Callable[[str], Path]) -> Probe:
    """Run code in a forked worker; its ending and what it printed."""

    def probed(code: str, namespace: Namespace = "pid", timeout_s: float = TIMEOUT_S) -> tuple[Ending, str]:
        path = tmp_path / "probe.log"
        path.unlink(missing_ok=True)
        with path.open("ab") as log:
            ending = zygote.run(str(assign(code)), namespace, log, timeout_s)
        return ending, path.read_text()

    return probed


def running(*command: str) -> list[psutil.Process]:
    """The processes with this command line; a forked worker's ends in the room that it did not need."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if [word for word in process.info["cmdline"] or () if word] == list(command)
    ]


STATE = """
import gc, json, os, resource, signal, sys, threading
print(json.dumps({
    "environment": dict(os.environ),
    "folder": os.getcwd(),
    "arguments": sys.argv[1:],
    "shown": open("/proc/self/cmdline").read().rstrip(chr(0)).split(chr(0)),
    "path": sys.path,
    "flags": str(sys.flags),
    "handlers": [str(signal.getsignal(n)).split(" at ")[0] for n in signal.valid_signals()],
    "masked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "umask": os.umask(0),
    "limits": [resource.getrlimit(n) for n in (resource.RLIMIT_NOFILE, resource.RLIMIT_AS, resource.RLIMIT_STACK)],
    "files": [os.readlink(f"/proc/self/fd/{n}") for n in range(64) if os.path.exists(f"/proc/self/fd/{n}")],
    "threads": threading.active_count(),
    "main thread": threading.current_thread() is threading.main_thread(),
    "frozen": gc.get_freeze_count() > 10_000,
    "collector": [gc.isenabled(), gc.get_threshold()],
    "streams": [str(sys.stdout), str(sys.stderr), sys.stdout.write_through, sys.stdout.line_buffering],
    "modules": sorted(sys.modules),
}))
"""
SPOIL = """
import decimal, os, resource, signal, sys, threading
os.environ["OF_THE_FIRST"] = "1"
del os.environ["OF_THE_TRIAL"]
os.chdir("/")
os.umask(0o77)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
resource.setrlimit(resource.RLIMIT_NOFILE, (99, 99))
sys.path.insert(0, "/nowhere")
sys.stdout = open("/dev/null", "w")
"""


def test_a_forked_worker_is_as_a_fresh_one(
    probe: Probe, environment: dict[str, str], tmp_path: Path, assign: Callable[[str], Path]
) -> None:
    """After another trial has spoilt all it could: environment, folder, modules, signals, files, limits, collector."""
    assert probe(SPOIL)[0] == DECLINED
    ending, printed = probe(STATE)
    forked = json.loads(printed)
    log = tmp_path / "probe.log"
    log.unlink()
    with log.open("ab") as output:
        command = [sys.executable, "-m", "harness.worker", str(assign(STATE))]
        assert run_command(command, environment, output, TIMEOUT_S) == ending == DECLINED
    fresh = json.loads(log.read_text())
    more = set(forked.pop("modules")) ^ set(fresh.pop("modules"))
    assert forked == fresh
    assert forked["environment"].items() >= environment.items()
    assert more - sys.stdlib_module_names <= {
        "harness.worker.zygote",
        "harness.worker.title",
        "harness.worker.__main__",
    }


def test_workers_draw_different_random_numbers(probe: Probe) -> None:
    """Though they are copies of one process."""
    code = "import random, tempfile, uuid; print(random.random(), next(tempfile._get_candidate_names()), uuid.uuid4())"
    first, second = (probe(code)[1].split() for _ in range(2))
    assert len({*first, *second}) == 6


@pytest.mark.parametrize("namespace", get_args(Namespace))
@pytest.mark.parametrize(
    ("code", "ending"),
    [
        ("", Ending(1, None, timed_out=False)),
        ("import os; os._exit(7)", Ending(7, None, timed_out=False)),
        ("import sys; sys.exit(5)", Ending(5, None, timed_out=False)),
        ("import sys; sys.exit()", Ending(0, None, timed_out=False)),
        ("import os; os.kill(os.getpid(), 9)", Ending(None, "SIGKILL", timed_out=False)),
        ("import ctypes; ctypes.string_at(0)", Ending(None, "SIGSEGV", timed_out=False)),
        ("import os; os.abort()", Ending(None, "SIGABRT", timed_out=False)),
        ("import signal; signal.raise_signal(2)", Ending(None, "SIGINT", timed_out=False)),
        ("import os\nif os.getpid() == 2: os.kill(1, 2)", Ending(1, None, timed_out=False)),
        ("import os; os.killpg(0, 15)", Ending(None, "SIGTERM", timed_out=False)),
    ],
)
def test_every_death_is_told_as_it_was(probe: Probe, namespace: Namespace, code: str, ending: Ending) -> None:
    """Exit codes and signals, whatever the worker is put into."""
    require(namespace)
    assert probe(code, namespace)[0] == ending


def require(namespace: Namespace) -> None:
    """Skip where the kernel does not allow this."""
    if not all(works((*command, "true")) for kind, command in NAMESPACES if kind == namespace):
        pytest.skip(f"no {namespace} namespaces here")


def test_exit_handlers_threads_and_text_reach_the_log_in_order(probe: Probe) -> None:
    """A worker waits for its threads, runs its exit handlers, and flushes what C printed."""
    code = (
        "import atexit, ctypes, os, sys, threading, time\n"
        "print('one'); sys.stderr.write('two\\n'); os.write(1, b'three\\n'); os.system('echo four')\n"
        "atexit.register(print, 'six')\n"
        "threading.Thread(target=lambda: (time.sleep(0.2), print('five'))).start()\n"
        "libc = ctypes.CDLL(None)\n"
        "libc.fdopen.restype = ctypes.c_void_p\n"
        "libc.fputs(b'seven\\n', ctypes.c_void_p(libc.fdopen(1, b'a')))\n"
    )
    assert probe(code) == (DECLINED, "one\ntwo\nthree\nfour\nfive\nsix\nseven\n")


@pytest.mark.parametrize("namespace", get_args(Namespace))
def test_a_time_out_leaves_nothing(
    environment: dict[str, str], tmp_path: Path, assign: Callable[[str], Path], namespace: Namespace
) -> None:
    """The worker and its children are gone when the run goes on."""
    require(namespace)
    seconds = f"3600.{get_args(Namespace).index(namespace)}1"
    code = f"import subprocess; print('up'); subprocess.run(['sleep', '{seconds}'])"
    with (tmp_path / "log").open("ab") as log:
        doomed = Zygote(environment, log)
        assert doomed.run(str(assign("")), namespace, log, TIMEOUT_S) == DECLINED
        assert doomed.run(str(assign(code)), namespace, log, 1.0).timed_out
    assert (tmp_path / "log").read_text() == "up\n"
    assert running("sleep", seconds) == []
    assert not doomed.serves(environment)


def test_a_time_out_may_be_longer_than_a_system_call_can_wait(probe: Probe) -> None:
    """A user who writes 1e12 means: never."""
    assert probe("", timeout_s=1e12)[0] == DECLINED


def test_a_daemon_ends_with_its_worker(probe: Probe) -> None:
    """One in a session of its own, whose parent is gone."""
    require("pid")
    code = "import subprocess; subprocess.Popen(['setsid', 'sh', '-c', 'sleep 3600.77 & exit']).wait()"
    assert probe(code)[0] == DECLINED
    assert running("sleep", "3600.77") == []


def test_peak_memory_is_of_one_worker(probe: Probe) -> None:
    """Neither that of the worker before, nor less than it touched itself."""
    code = "x = bytearray(SIZE); from harness.measure.machine import peak_memory_bytes; print(peak_memory_bytes())"
    large, small = (int(probe(code.replace("SIZE", str(size)))[1]) for size in (200 << 20, 20 << 20))
    assert large > 200 << 20
    assert 20 << 20 < small < 150 << 20


@pytest.mark.parametrize("namespace", get_args(Namespace))
def test_a_zygote_that_dies_takes_one_trial_with_it(
    environment: dict[str, str],
    tmp_path: Path,
    assign: Callable[[str], Path],
    namespace: Namespace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Which is told how; the next trial has another."""
    require(namespace)
    monkeypatch.setattr("harness.runner.workers.best_containment", lambda: Containment("", namespace, ()))
    mark, log = tmp_path / "mark", tmp_path / "log"
    killed: list[int] = []
    hangs = f"import pathlib, time; pathlib.Path({str(mark)!r}).touch(); time.sleep(3600)"
    with Workers() as workers:
        killer = threading.Thread(target=kill_zygote, args=(workers, mark, killed))
        killer.start()
        ending = workers.run_contained(Launch(assign(hangs), environment, None), log, TIMEOUT_S)
        killer.join()
        assert killed == [1]
        assert ending.lost == "the process that starts workers ended, killed by SIGKILL"
        assert workers_of(tmp_path) == []
        assert workers.run_contained(Launch(assign(""), environment, None), log, TIMEOUT_S) == DECLINED


def kill_zygote(workers: Workers, mark: Path, killed: list[int]) -> None:
    """Kill it as soon as its worker has left a mark; note how many workers of that folder there were."""
    while not mark.exists():
        time.sleep(0.005)
    assert workers.zygote is not None
    killed.append(len(workers_now(mark.parent)))
    workers.zygote.process.kill()


def workers_now(folder: Path) -> list[psutil.Process]:
    """What `ps` shows of workers with an assignment in this folder."""
    return running(sys.executable, "-m", "harness.worker", str(folder / "assignment.json"))


def workers_of(folder: Path) -> list[psutil.Process]:
    """The same, once the kernel has had a moment."""
    end = time.monotonic() + 5
    while (found := workers_now(folder)) and time.monotonic() < end:
        time.sleep(0.01)
    return found


def test_another_environment_gets_another_zygote(
    environment: dict[str, str], tmp_path: Path, assign: Callable[[str], Path]
) -> None:
    """What a program reads only at its start holds for every worker."""
    log = tmp_path / "log"
    path = assign("print(hash('a string'))")
    with Workers() as workers:
        for seed in ("7", "7", "8"):
            workers.run_contained(Launch(path, environment | {"PYTHONHASHSEED": seed}, None), log, TIMEOUT_S)
    first, again, other = log.read_text().split()
    alone = subprocess.run(
        [sys.executable, "-c", "print(hash('a string'))"], env={"PYTHONHASHSEED": "7"}, capture_output=True, check=True
    )
    assert first == again == alone.stdout.decode().strip()
    assert other != first


@pytest.mark.parametrize("namespace", get_args(Namespace))
def test_a_runner_that_is_killed_leaves_nothing(
    environment: dict[str, str], tmp_path: Path, assign: Callable[[str], Path], namespace: Namespace
) -> None:
    """Neither a zygote, which waits for its worker, nor the worker, which would go on."""
    require(namespace)
    (tmp_path / "runner.py").write_text(KILLED_RUNNER)
    path = assign(f"import os, time; os.close(os.open({str(tmp_path / 'mark')!r}, os.O_CREAT)); time.sleep(3600)")
    command = [sys.executable, str(tmp_path / "runner.py"), str(path), namespace, str(tmp_path / "mark")]
    runner = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert runner.returncode == -signal.SIGKILL, runner.stderr
    assert (tmp_path / "mark").exists()
    end = time.monotonic() + 20
    while psutil.pid_exists(int(runner.stdout)) and time.monotonic() < end:
        time.sleep(0.02)
    assert not psutil.pid_exists(int(runner.stdout))
    assert workers_of(tmp_path) == []


KILLED_RUNNER = """
import os, signal, sys, threading, time
from harness.runner.zygote import Zygote

def kill_when_marked():
    while not os.path.exists(sys.argv[3]):
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)

with open(os.devnull, "wb") as log:
    zygote = Zygote(dict(os.environ), log)
    print(zygote.process.pid, flush=True)
    threading.Thread(target=kill_when_marked).start()
    zygote.run(sys.argv[1], sys.argv[2], log, 60.0)
"""
