"""The real sampler process on the real binding on a library of FAKE devices that do as a scenario says."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from nvml_library import environment
from records import demo_trial

from harness.measure.telemetry.query import LostError, Query
from harness.runner.observer import SAMPLES_FILE, Observer
from harness.schema.measurement import Window
from harness.schema.result import Outcome, RankRecord
from harness.schema.telemetry import GpuTelemetry, Mark, Telemetry

SCENARIO = """
* power constant 300
0 process {own} 1073741824
1 refuse nvmlDeviceGetTotalEnergyConsumption
1 refuse field186
1 refuse nvmlDeviceGetTemperatureV
2 lost 3.5
3 reasons 2.0 68
3 refuse field186
3 refuse field185
4 mig 1
4 process 999999999 1048576
5 process {foreign} 2097152
5 power ramp 250 310 20
6 corrected 2 3
6 uncorrected 2 1
6 remapped 2 2
6 clock 2 1200
6 limit 2 250000
7 wrap 500000
"""
WINDOW_S = 6.0


def ranks(*spans: tuple[int, int]) -> list[RankRecord]:
    """One rank whose window has these stretches."""
    seconds = sum(end - start for start, end in spans) / 1e9
    fields = {"rank": 0, "images": 1, "steps": 1, "elapsed_s": seconds, "warmup_steps": 0, "warmup_s": 0.0}
    window = Window.model_validate(fields | {"spans_ns": spans})
    return [RankRecord(rank=0, outcome=Outcome(kind="ok"), windows=(window,), peak_memory_bytes=1)]


def wait_for(path: Path) -> None:
    """Until the sampler has opened its file."""
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def observe(
    observer: Observer, folder: Path, gpus: int, seconds: float, work: Callable[[], None] | None = None
) -> Telemetry:
    """Have one window of a trial sampled."""
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    observer.begin(demo_trial(device="cuda" if gpus else "cpu", gpus=max(gpus, 1)), scratch)
    wait_for(scratch / SAMPLES_FILE)
    time.sleep(0.3)
    start = time.monotonic_ns()
    time.sleep(seconds) if work is None else work()
    end = time.monotonic_ns()
    time.sleep(0.2)
    return observer.end(ranks((start, end)), scratch, folder / "telemetry" / "kept.jsonl.gz")


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Show the processes of a test FAKE devices."""

    def show(lines: str, count: int = 2, **more: str) -> None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        for name, value in (environment(tmp_path / "scenario", lines, count) | more).items():
            monkeypatch.setenv(name, value)

    return show


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Telemetry:
    """Eight devices over a window of six seconds, each with its own fate."""
    folder = tmp_path_factory.mktemp("seen")
    child = subprocess.Popen(["sleep", "60"])
    lines = SCENARIO.format(own=child.pid, foreign=os.getppid())
    with pytest.MonkeyPatch.context() as patch, Observer() as observer:
        patch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        for name, value in environment(folder / "scenario", lines, 8).items():
            patch.setenv(name, value)
        telemetry = observe(observer, folder, 8, WINDOW_S)
    child.kill()
    child.wait()
    return telemetry


def marks_of(telemetry: Telemetry, gpu: int) -> dict[str, str]:
    """Texts of one GPU's marks by kind."""
    return {mark.kind: mark.text for mark in telemetry.marks if mark.device == telemetry.gpus[gpu].uuid}


def test_devices_are_told_apart_by_uuid(seen: Telemetry) -> None:
    """All eight, in CUDA's order, with the driver."""
    assert [gpu.uuid for gpu in seen.gpus] == [f"GPU-{number}{number}000000-fake" for number in range(8)]
    assert {gpu.name for gpu in seen.gpus} == {"FAKE Large"}
    assert seen.driver == "000.11.FAKE"
    assert seen.window_s == pytest.approx(WINDOW_S, abs=0.5)
    assert seen.samples > 30
    assert seen.sampler_cpu_s is not None
    assert 0 < seen.sampler_cpu_s < seen.window_s


def test_a_healthy_device_has_every_number_in_its_unit(seen: Telemetry) -> None:
    """Watts, megahertz, degrees, fractions, bytes."""
    gpu = seen.gpus[0]
    assert [extent.mean if extent else None for extent in extents(gpu)] == pytest.approx(
        [300, 1410, 1215, 55, 61, 0.97, 3 * 2**30]
    )
    assert gpu.power_source == "NVML_FI_DEV_POWER_INSTANT"
    assert (gpu.power_limit_w, gpu.mig, gpu.persistence) == (400, False, True)
    assert gpu.own_memory_bytes == 2**30
    assert (gpu.ecc_corrected, gpu.ecc_uncorrected, gpu.remapped_rows) == (0, 0, 0)
    assert gpu.event_reasons == ()
    moved = [gpu.pcie_sent_bytes, gpu.pcie_received_bytes, gpu.nvlink_sent_bytes]
    assert moved == pytest.approx([rate * seen.window_s for rate in (2e9, 1e9, 1024 * 3e6)], rel=0.02)
    assert gpu.nvlink_received_bytes is None
    assert marks_of(seen, 0) == {}


def extents(gpu: GpuTelemetry) -> list:
    """What is sampled all the time."""
    clocks = [gpu.sm_clock_mhz, gpu.memory_clock_mhz]
    warmth = [gpu.temperature_c, gpu.memory_temperature_c]
    return [gpu.power_w, *clocks, *warmth, gpu.utilization_fraction, gpu.memory_used_bytes]


@pytest.mark.parametrize("gpu", [0, 3, 4, 6])
def test_energy_of_constant_power_is_within_one_percent(seen: Telemetry, gpu: int) -> None:
    """Through the counter, its quarter of the time, the binding, the process and the file."""
    energy = seen.gpus[gpu].energy
    assert energy.joules == pytest.approx(300 * seen.window_s, rel=0.01)
    assert energy.source == "nvmlDeviceGetTotalEnergyConsumption"
    assert energy.readings >= 50


def test_energy_of_a_ramp_is_within_one_percent(seen: Telemetry) -> None:
    """Three watts more each second; the sampled power has the same mean."""
    gpu = seen.gpus[5]
    assert gpu.energy.joules is not None
    assert gpu.power_w is not None
    assert gpu.power_w.low < gpu.power_w.mean < gpu.power_w.high
    assert gpu.energy.joules == pytest.approx(gpu.power_w.mean * seen.window_s, rel=0.01)


def test_what_a_device_refuses_is_none_or_comes_another_way(seen: Telemetry) -> None:
    """No counter, no memory: null with a reason. Power and temperature have older ways, and their source is named."""
    gpu = seen.gpus[1]
    assert (gpu.energy.joules, gpu.energy.source, gpu.memory_used_bytes) == (None, None, None)
    assert gpu.energy.note == "the device has no energy counter that can be read"
    assert gpu.power_source == "NVML_FI_DEV_POWER_AVERAGE"
    assert gpu.temperature_c is not None
    assert gpu.temperature_c.mean == 54
    assert seen.gpus[3].power_source == "nvmlDeviceGetPowerUsage"
    assert marks_of(seen, 1) == {}


def test_a_device_lost_on_the_way_is_marked_and_harms_no_other(seen: Telemetry) -> None:
    """What was seen of it until then is there, its energy is not."""
    gpu = seen.gpus[2]
    assert marks_of(seen, 2) == {"device_lost": "GPU is lost"}
    assert 0 < gpu.samples < seen.gpus[3].samples
    assert gpu.energy.joules is None
    assert "cover" in str(gpu.energy.note)
    assert gpu.ecc_corrected is None


def test_throttling_is_named_in_words(seen: Telemetry) -> None:
    """With the share of samples that show it."""
    assert seen.gpus[3].event_reasons == ("software power cap", "hardware thermal slowdown")
    text = marks_of(seen, 3)["throttled"]
    assert text.startswith("software power cap, hardware thermal slowdown in ")
    assert 30 < int(text.split()[-4].rstrip("%")) < 100


def test_mig_and_processes_of_elsewhere_are_known(seen: Telemetry) -> None:
    """An id that means nothing here accuses nobody, and is not kept silent."""
    assert seen.gpus[4].mig is True
    assert marks_of(seen, 4) == {}
    assert f"{seen.gpus[4].uuid}: processes 999999999 cannot be seen from here" in str(seen.note)
    assert seen.gpus[4].own_memory_bytes is None


def test_foreign_processes_are_named(seen: Telemetry) -> None:
    """A process that does not descend from the runner."""
    text = marks_of(seen, 5)["foreign_process"]
    assert text == f"{psutil.Process(os.getppid()).name()} ({os.getppid()})"
    assert seen.gpus[5].own_memory_bytes is None


def test_changes_and_errors_between_begin_and_end_are_marked(seen: Telemetry) -> None:
    """Errors of the trial, not those that the device had counted before."""
    assert marks_of(seen, 6) == {
        "clock_change": "highest SM clock 1980 to 1200 MHz",
        "power_limit_change": "400 to 250 W",
        "ecc": "3 corrected ECC errors, 1 uncorrected ECC errors, 2 remapped rows",
    }
    gpu = seen.gpus[6]
    assert (gpu.ecc_corrected, gpu.ecc_uncorrected, gpu.remapped_rows) == (3, 1, 2)


def test_a_wrapping_counter_is_marked(seen: Telemetry) -> None:
    """No number can be made of it."""
    assert seen.gpus[7].energy.joules is None
    assert "went back" in marks_of(seen, 7)["counter"]


def test_a_reset_counter_and_a_short_window(devices: Callable[..., None], tmp_path: Path) -> None:
    """Both are refused, each with its reason; only the first is the device's fault. CUDA_VISIBLE_DEVICES holds."""
    devices("3 reset 1.0\n", 4, CUDA_VISIBLE_DEVICES="3,GPU-11")
    with Observer() as observer:
        telemetry = observe(observer, tmp_path, 2, 1.3)
    assert [gpu.uuid for gpu in telemetry.gpus] == ["GPU-33000000-fake", "GPU-11000000-fake"]
    assert "went back" in str(telemetry.gpus[0].energy.note)
    assert "50 ticks of the counter, 5 s, are needed" in str(telemetry.gpus[1].energy.note)
    assert [mark.device for mark in telemetry.marks if mark.kind == "counter"] == ["GPU-33000000-fake"]


def test_nvml_that_does_not_start_is_a_note(devices: Callable[..., None], tmp_path: Path) -> None:
    """The host is sampled all the same."""
    devices("", FAKE_NVML_INIT="9")
    with Observer() as observer:
        telemetry = observe(observer, tmp_path, 1, 0.4)
    assert (telemetry.gpus, telemetry.note) == ((), "NVML: Driver Not Loaded")
    assert telemetry.host.busy_cores is not None


def burn(child: "subprocess.Popen[bytes]", used: list[float]) -> None:
    """A second in which a child works, and what the kernel says it used."""
    before = psutil.Process(child.pid).cpu_times()
    time.sleep(1.0)
    after = psutil.Process(child.pid).cpu_times()
    used.append(after.user + after.system - before.user - before.system)


def test_cpu_time_is_told_apart(tmp_path: Path) -> None:
    """A process of the trial, the runner and the sampler, and all the rest; where it is kept, and what RAPL says."""
    used: list[float] = []
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as child, Observer() as observer:
        telemetry = observe(observer, tmp_path, 0, 1.0, lambda: burn(child, used))
        child.kill()
    host = telemetry.host
    assert host.own_cpu_s == pytest.approx(used[0], abs=0.15)
    assert host.busy_cores is not None
    assert host.foreign_cpu_s is not None
    assert host.runner_cpu_s is not None
    parts = host.own_cpu_s + host.foreign_cpu_s + host.runner_cpu_s
    assert parts == pytest.approx(host.busy_cores.mean * telemetry.window_s, abs=0.3)
    assert host.own_memory_bytes is not None
    assert host.own_memory_bytes > 2**20
    assert host.energy.joules is None or host.energy.joules > 0
    assert (host.energy.joules is None) == (host.energy.note is not None)
    assert (telemetry.gpus, telemetry.samples_file) == ((), "telemetry/kept.jsonl.gz")
    assert (tmp_path / "telemetry" / "kept.jsonl.gz").exists()


def test_a_sampler_that_dies_is_a_note_and_makes_way(tmp_path: Path) -> None:
    """The trial keeps its result, what was sampled before counts, and the next trial has another sampler."""
    with Observer() as observer:
        (tmp_path / "scratch").mkdir()
        observer.begin(demo_trial(), tmp_path / "scratch")
        wait_for(tmp_path / "scratch" / SAMPLES_FILE)
        assert observer.process is not None
        observer.process.kill()
        observer.process.wait()
        telemetry = observer.end(ranks((1, 2)), tmp_path / "scratch", tmp_path / "kept")
        assert str(telemetry.note).startswith("the sampler ended, killed by SIGKILL")
        assert (telemetry.samples, telemetry.sampler_cpu_s) == (0, None)
        after = observe(observer, tmp_path / "scratch", 0, 0.2)
    assert (after.note, after.samples > 0) == (None, True)


@pytest.mark.parametrize(
    ("command", "note"),
    [
        (("/nowhere/sampler",), "the sampler cannot be started: [Errno 2]"),
        (("false",), "the sampler ended, exit code 1"),
    ],
)
def test_a_sampler_that_cannot_run_is_a_note(tmp_path: Path, command: tuple[str, ...], note: str) -> None:
    """Whatever keeps it from running, the runner goes on."""
    with Observer(command) as observer:
        observer.begin(demo_trial(), tmp_path)
        time.sleep(0.3)
        telemetry = observer.end(ranks((1, 2)), tmp_path, tmp_path / "kept")
    assert note in str(telemetry.note)
    assert telemetry.host.busy_cores is None


def test_a_place_that_cannot_be_written_is_a_note(tmp_path: Path) -> None:
    """The sampler tells what is wrong and serves the next trial."""
    with Observer() as observer:
        observer.begin(demo_trial(), tmp_path / "missing")
        telemetry = observer.end(ranks((1, 2)), tmp_path / "missing", tmp_path / "kept")
        assert str(telemetry.note).startswith("the sampler failed: FileNotFoundError")
        first = observer.process
        assert observe(observer, tmp_path, 0, 0.2).samples > 0
        assert observer.process is first


def test_a_trial_without_windows_has_no_numbers(tmp_path: Path) -> None:
    """Records of before the windows had moments, and trials that failed: null, and the reason."""
    with Observer() as observer:
        (tmp_path / "scratch").mkdir()
        observer.begin(demo_trial(), tmp_path / "scratch")
        wait_for(tmp_path / "scratch" / SAMPLES_FILE)
        telemetry = observer.end([], tmp_path / "scratch", tmp_path / "kept")
    assert (telemetry.samples, telemetry.window_s) == (0, 0)
    assert telemetry.note == "no timed window with its moments"
    assert (telemetry.host.own_cpu_s, telemetry.host.busy_cores) == (None, None)


def test_the_sampler_dies_with_the_runner(tmp_path: Path) -> None:
    """Whatever kills the runner."""
    program = (
        "import sys, time; from pathlib import Path; from harness.runner.observer import Observer;"
        "from harness.schema.trial import Trial; observer = Observer();"
        "observer.begin(Trial(backend='demo', phase='infer'), Path(sys.argv[1]));"
        "print(observer.process.pid, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as runner:
        assert runner.stdout is not None
        sampler = psutil.Process(int(runner.stdout.readline()))
        wait_for(tmp_path / SAMPLES_FILE)
        runner.send_signal(signal.SIGKILL)
    psutil.wait_procs([sampler], timeout=10)
    assert not sampler.is_running() or sampler.status() == psutil.STATUS_ZOMBIE


class RefusedError(Exception):
    """As the binding raises it."""

    def __init__(self, value: int) -> None:
        super().__init__(f"code {value}")
        self.value = value


def test_a_refused_way_costs_nothing_further() -> None:
    """The first refusal is the last call; what may be better next time is asked again; a lost device is an error."""
    nvml = SimpleNamespace(
        NVMLError=RefusedError, NVML_ERROR_GPU_IS_LOST=15, NVML_ERROR_RESET_REQUIRED=16, NVML_ERROR_TIMEOUT=10
    )
    called: list[str] = []

    def way(name: str, *answers: object) -> tuple[str, Callable[[], object]]:
        left = list(answers)

        def call() -> object:
            called.append(name)
            answer = left.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return name, call

    query = Query(nvml, [way("new", RefusedError(3)), way("old", 7, RefusedError(10), 8, RefusedError(15))])
    assert [query.read(), query.read(), query.read(), query.source] == [7, None, 8, "old"]
    with pytest.raises(LostError, match="code 15"):
        query.read()
    assert called == ["new", "old", "old", "old", "old"]
    assert Query(nvml, []).read() is None


def test_marks_have_closed_kinds() -> None:
    """A mark of another kind is a mistake."""
    with pytest.raises(ValueError, match="kind"):
        Mark.model_validate({"kind": "strange", "text": ""})
