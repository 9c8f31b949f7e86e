"""What samples say about stretches of time, the file that they are kept in, and the host's counters."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.telemetry import marks
from harness.measure.telemetry.host import TICKS_PER_S, Again, Host, open_packages
from harness.measure.telemetry.loading import GpuSeries, load
from harness.measure.telemetry.recording import GPU_COLUMNS, HOST_COLUMNS, Recorder, lines_of
from harness.measure.telemetry.spans import covers, extent, growth, length, longest_gap, union
from harness.measure.telemetry.summary import summarise
from harness.schema.telemetry import Extent

moments = st.lists(st.integers(0, 1000), min_size=2, max_size=40, unique=True).map(sorted)
some_spans = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), max_size=5).map(union)


@given(times=moments, spans=some_spans)
def test_a_constant_is_its_own_mean_wherever_a_sample_lies_inside(
    times: list[int], spans: list[tuple[int, int]]
) -> None:
    """However unevenly it is sampled; where no sample lies inside nothing is known."""
    inside = sum(any(start <= time <= end for start, end in spans) for time in times)
    found = extent(times, [7.5] * len(times), spans, 2)
    assert found == (Extent(mean=15, low=15, high=15, samples=inside) if inside else None)


@given(moment=st.floats(-10, 1010), spans=some_spans)
def test_a_moment_is_covered_by_a_span_that_it_lies_in(moment: float, spans: list[tuple[int, int]]) -> None:
    """Both ends are in it."""
    for each in (moment, *(end for span in spans for end in span)):
        assert covers(spans, each) == any(start <= each <= end for start, end in spans)


@given(times=moments, spans=some_spans)
def test_looks_tell_of_the_windows_that_they_are_near(times: list[int], spans: list[tuple[int, int]]) -> None:
    """They come once a second, so that the nearest may be so far outside."""
    gpu, unit = GpuSeries({}, {}), marks.BESIDE_NS // 10
    gpu.looks = [(time * unit, {"time": time}) for time in times] + [(0, None)]
    near = [time for time in times if any(start - 10 <= time <= end + 10 for start, end in spans)]
    assert [look["time"] for look in marks.looks_near(gpu, [(s * unit, e * unit) for s, e in spans])] == near


def test_the_mean_is_weighted_by_time() -> None:
    """A sample stands for the time that is nearer to it than to its neighbours; unknown values do not count."""
    found = extent([10, 20, 60, 100, 200], [1, 2, 3, None, 99], [(10, 110)])
    assert found == Extent(mean=(5 * 1 + 25 * 2 + 70 * 3) / 100, low=1, high=3, samples=3)


@given(times=moments, spans=some_spans, rate=st.floats(0.001, 1e6))
def test_a_steady_count_grows_by_the_time_covered(times: list[int], spans: list[tuple[int, int]], rate: float) -> None:
    """Known where samples lie on both sides of every span, unknown else."""
    found = growth(times, [rate * time for time in times], spans)
    known = bool(spans) and times[0] <= spans[0][0] and spans[-1][1] <= times[-1]
    assert found == (pytest.approx(rate * length(spans)) if known else None)


def test_a_count_that_goes_back_inside_is_unknown() -> None:
    """Before and after the spans it may."""
    assert growth([0, 10, 20, 30], [5, 9, 3, 4], [(5, 25)]) is None
    assert growth([0, 10, 20, 30, 40], [9, 3, 4, 5, 0], [(10, 30)]) == 2
    assert growth([0, 10, 20], [1, None, 3], [(0, 20)]) == 2


@pytest.mark.parametrize(
    ("times", "longest"),
    [([0, 10, 20, 30], 10), ([0, 10, 18, 30], 8), ([12, 14], 8), ([], 12), ([40], 12), ([9, 50], 12)],
)
def test_gaps_count_inside_a_window(times: list[int], longest: int) -> None:
    """What was not sampled before it and after it is no gap."""
    assert longest_gap(times, [(10, 22), (30, 31)]) == longest


def record(path: Path, samples: int) -> None:
    """A whole file of one GPU."""
    recorder = Recorder(path)
    header = {"interval_ns": 100, "notes": [], "driver": None, "cpus": 2, "no_energy": "none", "wraps_uj": []}
    recorder.put(header | {"gpus": [{"uuid": "u", "name": "n"}]})
    for at in range(samples):
        row = [at, *[None] * (len(GPU_COLUMNS) - 1)]
        recorder.put({"t": at * 100, "g": [row], "h": [at, at / 2, 0, 0, 5, 5, None, None]})
    recorder.put({"gpus": [{"uuid": "u", "sources": {"energy": "counter", "power": None}}]})
    recorder.close()


@given(samples=st.integers(0, 200), share=st.floats(0, 1))
def test_a_file_that_was_cut_off_keeps_what_came_before(
    tmp_path_factory: pytest.TempPathFactory, samples: int, share: float
) -> None:
    """As a killed sampler leaves it, at any byte: a beginning of its lines."""
    path = tmp_path_factory.mktemp("cut") / "samples"
    record(path, samples)
    whole, data = list(lines_of(path)), path.read_bytes()
    assert len(whole) == samples + 2
    path.write_bytes(data[: int(share * len(data))])
    found = list(lines_of(path))
    assert found == whole[: len(found)]
    if found:
        assert load(path).whole == (len(found) == len(whole))


def test_other_files_are_refused(tmp_path: Path) -> None:
    """With the reason."""
    path = tmp_path / "samples"
    path.write_bytes(b"not gzip")
    with pytest.raises(ValueError, match="is no gzip file"):
        load(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="is empty"):
        load(path)


def test_samples_that_end_early_are_noted(tmp_path: Path) -> None:
    """A sampler that was killed after its last full second."""
    path = tmp_path / "samples"
    record(path, 100)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    telemetry = summarise(path, [(0, 500)], None)
    assert telemetry.note == "the samples end before the trial did"
    assert telemetry.samples == 6
    assert telemetry.host.memory_used_bytes == Extent(mean=5, low=5, high=5, samples=6)


def test_stolen_time_is_no_work(tmp_path: Path) -> None:
    """Waiting for a device and guests' time neither: the latter is in the user's already."""
    path = tmp_path / "stat"
    path.write_text("cpu  100 20 30 5000 700 4 6 800 90 10\ncpu0 1 1 1 1 1 1 1 1 1 1\n")
    host = Host(tmp_path)
    host.stat.close()
    host.stat = Again(path)
    worked, stolen = host.cpu_s()
    assert (worked * TICKS_PER_S, stolen * TICKS_PER_S) == (pytest.approx(160), pytest.approx(800))


def test_stolen_time_inside_a_window_marks_it(tmp_path: Path) -> None:
    """Half of what was worked in it: more than any limit."""
    path = tmp_path / "samples"
    record(path, 20)
    telemetry = summarise(path, [(500, 1500)], None)
    assert telemetry.host.stolen_cpu_s == 5
    assert "stolen_time" in [mark.kind for mark in telemetry.marks]


def zone(folder: Path, place: str, **files: str) -> None:
    """A folder as the kernel's power capping has it."""
    (folder / place).mkdir()
    for file, text in files.items():
        (folder / place / file).write_text(text)


def test_processor_packages_count_energy(tmp_path: Path) -> None:
    """Packages only: their parts are in them, and a platform counts more than processors."""
    zone(tmp_path, "intel-rapl:0", name="package-0\n", energy_uj="123\n", max_energy_range_uj="1000\n")
    zone(tmp_path, "intel-rapl:0:0", name="core\n", energy_uj="1\n", max_energy_range_uj="9\n")
    zone(tmp_path, "intel-rapl:1", name="psys\n", energy_uj="1\n", max_energy_range_uj="9\n")
    packages, reason = open_packages(tmp_path)
    assert [(int(package.read()), wrap) for package, wrap in packages] == [(123, 1000)]
    assert reason is None
    zone(tmp_path, "intel-rapl:2", name="package-1\n", max_energy_range_uj="1000\n")
    assert open_packages(tmp_path) == ([], f"{tmp_path}/intel-rapl:2: No such file or directory")
    assert open_packages(tmp_path / "none") == ([], f"no package in {tmp_path}/none counts energy")


def test_marks_have_their_limits() -> None:
    """A tenth of the processors, three intervals, reasons that hold clocks down."""
    assert marks.foreign_cpu(7.9, 10, 8) is None
    taken = marks.foreign_cpu(8.1, 10, 8)
    assert taken is not None
    assert taken.text == "0.8 of 8 processors"
    assert (marks.foreign_cpu(None, 10, 8), marks.foreign_cpu(1, 0, 8)) == (None, None)
    assert marks.gap(300, 100) is None
    longest = marks.gap(301_000_000, 100_000_000)
    assert longest is not None
    assert longest.text == "0.3 s"
    assert marks.throttled("u", [0, 1, 2, 0x100, 0x103]) is None
    found = marks.throttled("u", [1, 0x1004, 0, 0])
    assert found is not None
    assert found.text == "software power cap, reason 0x1000 in 25% of the samples"
    assert marks.throttled("u", []) is None


@pytest.mark.parametrize(
    ("stolen_s", "worked_s", "window_s", "share"),
    [
        (0.199, 9.8, 10, None),
        (0.201, 9.8, 10, "2.0%"),
        (0.5, 9.5, 10, "5.0%"),
        (12.7, 627.3, 10, None),  # all of 64 processors: two of a hundred of what they did
        (12.9, 627.3, 10, "2.0%"),
        (0.099, 0.1, 10, None),  # nearly idle: half of the little that it wanted, and no step waited for it
        (0.101, 0.1, 10, "50.2%"),
        (0.0, 0.0, 10, None),
        (0.0, 0.0, 0, None),
        (None, 1.0, 10, None),
        (1.0, None, 10, None),
    ],
)
def test_stolen_time_is_held_against_the_time_that_was_wanted(
    stolen_s: float | None, worked_s: float | None, window_s: float, share: str | None
) -> None:
    """A trial on one processor loses as much on a machine of 64 as on one of two; what delays no window is no mark."""
    mark = marks.stolen_cpu(stolen_s, worked_s, window_s)
    assert (mark and mark.text) == (f"{share} of the wanted processor time" if share else None)


def test_rows_have_their_columns() -> None:
    """What the sampler writes and what the reader expects."""
    assert (len(GPU_COLUMNS), len(HOST_COLUMNS)) == (13, 8)
