"""Energy from a counter whose sensor sees 25 ms of every 100 ms, read by a sampler that is sometimes late."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.measure.telemetry.energy import GPU_TICK_NS, Counter, Step, energy, steps_inside, steps_of, unwrapped
from harness.measure.telemetry.spans import union

MS = 1_000_000
COUNTER = Counter("counter")
LEAD_MS = 2000
"""Of the trace before a window and after it."""
SEEN_MS = 25
BEAT_MS = 100 / 4


@dataclass(frozen=True)
class Sensor:
    """How a device counts and how it is read: the phase of its ticks, which 25 ms of each it sees, and how late."""

    phase_ms: int
    seen_from_ms: int
    period_ms: int
    late_ms: float
    seed: int


def read_counter(power_w: np.ndarray, sensor: Sensor) -> tuple[list[int], list[int]]:
    """Times in nanoseconds and readings in millijoules of a trace with one value a millisecond."""
    ticks = np.arange(sensor.phase_ms, len(power_w), sensor.period_ms)
    starts = np.maximum(ticks - sensor.period_ms + sensor.seen_from_ms, 0)
    seen_w = np.array([power_w[start : start + SEEN_MS].mean() for start in starts])
    counted_mj = np.floor(1e6 + np.cumsum(seen_w * sensor.period_ms))
    late = np.random.default_rng(sensor.seed).uniform(0, sensor.late_ms, size=int(len(power_w) / BEAT_MS))
    beats = np.arange(len(late)) * BEAT_MS + late
    known = beats[beats >= ticks[0]]
    readings = counted_mj[np.searchsorted(ticks, known, side="right") - 1]
    return [int(beat * MS) for beat in known], [int(value) for value in readings]


sensors = st.builds(
    Sensor,
    phase_ms=st.integers(0, 99),
    seen_from_ms=st.integers(0, 75),
    period_ms=st.sampled_from([95, 99, 100, 101]),
    late_ms=st.floats(0, 7),
    seed=st.integers(0, 99),
)


def window(start_ms: float, length_ms: int) -> tuple[int, int]:
    """The span of a window that begins about two seconds into a trace."""
    start = int((LEAD_MS + start_ms) * MS)
    return start, start + length_ms * MS


def truth(power_w: np.ndarray, span: tuple[int, int]) -> float:
    """The integral in joules, milliseconds at the ends in part."""
    edges = np.concatenate([[0.0], np.cumsum(power_w) / 1000])
    return float(np.diff(np.interp(np.array(span) / MS, np.arange(len(edges)), edges))[0])


def trace(kind: str, length_ms: int, seed: int) -> np.ndarray:
    """Power in watts a millisecond, about 300 W and steady: within a window of 5 s it varies by a tenth at most."""
    at = np.arange(length_ms + 2 * LEAD_MS, dtype=float)
    part = (at - LEAD_MS) / length_ms
    if kind == "ramp":
        return 300 * (1 + 0.1 * part)
    if kind == "step":
        return np.where(part < 0.4, 300.0, 324.0)
    if kind == "hump":
        return 300 * (1 + 0.04 * np.sin(np.pi * part))
    if kind == "noise":
        return 300 + np.random.default_rng(seed).normal(0, 9, len(at))
    load = np.full(len(at), 300.0)
    if kind == "load":
        load[part < -0.05] = load[part > 1] = 60.0
    return load


@settings(deadline=None, max_examples=150)
@given(
    sensor=sensors,
    kind=st.sampled_from(["constant", "load", "ramp", "step", "hump", "noise"]),
    length_ms=st.integers(5000, 20000),
    start_ms=st.floats(0, 150),
)
def test_energy_of_a_steady_window_is_within_one_percent(
    sensor: Sensor, kind: str, length_ms: int, start_ms: float
) -> None:
    """From 5 s on, wherever a window lies between the ticks, whatever the sensor saw of each, however idle outside."""
    power_w, span = trace(kind, length_ms + 200, sensor.seed), window(start_ms, length_ms)
    found, fault = energy(*read_counter(power_w, sensor), [span], COUNTER)
    assert fault is None
    assert found.joules == pytest.approx(truth(power_w, span), rel=0.01)
    assert found.uncertainty is not None
    assert found.uncertainty < 0.01
    assert found.readings >= 40


@settings(deadline=None, max_examples=150)
@given(
    sensor=sensors,
    levels=st.lists(st.floats(50, 700), min_size=2, max_size=8),
    length_ms=st.integers(5000, 12000),
)
def test_power_that_varies_has_the_documented_error(sensor: Sensor, levels: list[float], length_ms: int) -> None:
    """At most the stated uncertainty and 0.4 s of all the variation inside and beside the window."""
    span = window(0, length_ms)
    power_w = np.repeat(levels, -(-(length_ms + 2 * LEAD_MS) // len(levels)))
    found, _ = energy(*read_counter(power_w, sensor), [span], COUNTER)
    beside = power_w[span[0] // MS - 200 : span[1] // MS + 200]
    varied_j = 0.4 * float(np.abs(np.diff(beside)).sum())
    if found.joules is None:
        assert "known too roughly" in str(found.note)
        return
    assert abs(found.joules - truth(power_w, span)) <= found.joules * (found.uncertainty or 0) + varied_j + 0.01


def test_load_in_step_with_the_sensor_cannot_be_measured() -> None:
    """Why the windows must be steady: a load whose period is the sensor's is seen as whatever the sensor meets."""
    sensor, span = Sensor(0, 0, 100, 0.0, 0), window(0, 10000)
    power_w = np.where(np.arange(14000) % 100 < SEEN_MS, 400.0, 100.0)
    found, _ = energy(*read_counter(power_w, sensor), [span], COUNTER)
    assert found.joules == pytest.approx(4000, rel=0.01)
    assert truth(power_w, span) == pytest.approx(1750)


def readings_of(span: tuple[int, int], watts: float = 300) -> tuple[list[int], list[float]]:
    """Exact readings of a constant power from half a second before a span to half a second after it."""
    times = list(range(span[0] - 500 * MS, span[1] + 500 * MS, 25 * MS))
    return times, [watts * (time // (100 * MS)) / 10 * 1000 for time in times]


def test_a_late_reading_at_an_end_is_made_up_for() -> None:
    """Where the sampler was held up around an end, a step that is known better stands in for the outermost."""
    span = window(0, 5000)
    times, counts = readings_of(span)
    holes = (span[0], span[1] - 130 * MS)
    kept = [at for at, time in enumerate(times) if not any(0 < time - hole < 130 * MS for hole in holes)]
    found, _ = energy([times[at] for at in kept], [counts[at] for at in kept], [span], COUNTER)
    assert found.joules == pytest.approx(1500, rel=0.01)
    assert found.uncertainty is not None
    assert found.uncertainty < 0.01


def test_windows_too_short_for_the_counter_are_refused() -> None:
    """One nanosecond under 50 ticks is too short, 50 ticks are not; zero is never printed for unknown."""
    span = window(0, 5000)
    times, counts = readings_of(span)
    assert energy(times, counts, [span], COUNTER)[0].joules == pytest.approx(1500, rel=0.01)
    assert energy(times, counts, [(span[0], span[1] - 1)], COUNTER)[0].joules is None
    short, _ = energy(times, counts, [window(0, 4600)], COUNTER)
    assert short.note == "windows of 4.6 s; 50 ticks of the counter, 5 s, are needed"
    none, _ = energy(times, counts, [], COUNTER)
    assert (none.joules, none.note) == (None, "no timed window with its moments")


def test_too_few_readings_are_refused() -> None:
    """A counter that steps once a second says too little of nine seconds."""
    span = window(0, 9100)
    times, _ = readings_of(span)
    found, _ = energy(times, [300_000 * (time // (1000 * MS)) for time in times], [span], COUNTER)
    assert (found.joules, found.readings) == (None, 9)
    assert found.note == "9 distinct readings of the counter in the windows; 10 are needed"


@pytest.mark.parametrize("falls_to", [0, 1000])
def test_a_counter_that_goes_back_is_not_believed(falls_to: int) -> None:
    """Wrapped or reset inside a window: no number and a mark; outside the windows it does not matter."""
    span = window(0, 6000)
    times, counts = readings_of(span)
    middle = len(times) // 2
    broken = counts[:middle] + [falls_to + count - counts[middle] for count in counts[middle:]]
    found, fault = energy(times, broken, [span], COUNTER)
    assert found.joules is None
    assert fault == found.note
    assert "it wrapped or was reset" in str(fault)
    before = [0.0, *counts[1:]]
    assert energy(times, [counts[-1], *before[1:]], [span], COUNTER)[1] is None


def test_a_missing_counter_is_none_and_says_so() -> None:
    """No reading, or a device that went away before the window ended."""
    span = window(0, 6000)
    times, counts = readings_of(span)
    missing, fault = energy(times, [None] * len(times), [span], COUNTER)
    assert (missing.joules, missing.source, fault) == (None, None, None)
    assert missing.note == "the device has no energy counter that can be read"
    half = len(times) // 2
    lost, _ = energy(times, counts[:half] + [None] * (len(times) - half), [span], COUNTER)
    assert lost.joules is None
    assert "steps cover 47% of the windows" in str(lost.note)


def test_a_counter_that_stands_still_is_refused() -> None:
    """A counter that exists and never steps has no distinct readings."""
    span = window(0, 6000)
    times, _ = readings_of(span)
    found, _ = energy(times, [5.0] * len(times), [span], COUNTER)
    assert (found.joules, found.readings) == (None, 0)


def test_several_stretches_count_and_what_is_between_them_does_not() -> None:
    """Evaluation between the stretches of a train window takes energy that is not training's."""
    first, second = window(0, 6000), window(9000, 6000)
    times, counts = readings_of((first[0], second[1]))
    power = [900 if first[1] + 100 * MS < time < second[0] - 100 * MS else 300 for time in times]
    total, counted = 0.0, []
    for number, count in enumerate(counts):
        total += power[number] / 300 * (count - counts[number - 1] if number else 0)
        counted.append(total)
    found, _ = energy(times, counted, [first, second], COUNTER)
    assert found.joules == pytest.approx(3600, rel=0.01)


def test_many_short_stretches_are_refused() -> None:
    """Each end adds what the moments of steps are not known by, so many short stretches say too little."""
    spans = [window(number * 1000, 500) for number in range(20)]
    times, counts = readings_of((spans[0][0], spans[-1][1]))
    found, _ = energy(times, counts, spans, COUNTER)
    assert found.joules is None
    assert found.note is not None


def test_ranks_that_pause_for_a_moment_make_one_stretch() -> None:
    """Stretches closer than a tick cannot be told apart: the time between them gets its share of the energy."""
    spans = [window(number * 500, 490) for number in range(20)]
    times, counts = readings_of((spans[0][0], spans[-1][1]))
    found, _ = energy(times, counts, spans, COUNTER)
    assert found.joules == pytest.approx(300 * 20 * 0.49, rel=0.01)


def test_overlapping_windows_of_ranks_count_once() -> None:
    """The union of the ranks' windows, in order."""
    assert union([(5, 9), (0, 3), (2, 6), (20, 30), (25, 26), (40, 40)]) == [(0, 9), (20, 30)]


def test_packages_wrap_at_their_known_range() -> None:
    """RAPL tells where it wraps, so its counters go on; each package for itself."""
    assert unwrapped([[90, 5], [99, 6], None, [4, 7]], [100, 50]) == [95, 105, None, 111]
    times = [number * 100 * MS for number in range(61)]
    counts = unwrapped([[(number * 1_500_000 + 70_000_000) % 80_000_000] for number in range(61)], [80_000_000])
    found, fault = energy(times, counts, [(500 * MS, 5500 * MS)], Counter("RAPL", MS, 1e6))
    assert (found.joules, fault) == (pytest.approx(75, rel=0.001), None)


def test_a_tick_is_as_long_as_nvmls() -> None:
    """The rule of 50 ticks is 5 s."""
    assert 50 * GPU_TICK_NS == 5_000_000_000


@given(
    moments=st.lists(st.floats(0, 100), max_size=30).map(sorted),
    bounds=st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), max_size=5),
)
def test_steps_belong_to_the_stretch_that_they_came_in(moments: list[float], bounds: list[tuple[int, int]]) -> None:
    """Its ends included; what lies between two stretches is nobody's."""
    steps, stretches = [Step(moment, 0.0, 0.0) for moment in moments], union(bounds)
    expected = [[step for step in steps if start <= step.moment <= end] for start, end in stretches]
    assert steps_inside(steps, stretches) == expected


def test_a_counter_s_steps_are_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not once for each of the thousands of stretches that a long trial may have: that took longer than the trial."""
    times = [place * 25 * MS for place in range(4000)]
    counts = [float(time // GPU_TICK_NS) for time in times]
    looked: list[int] = []
    seen = steps_of

    def counting(known: list[tuple[int, float]], tick_ns: int) -> list[Step]:
        looked.append(len(known))
        return seen(known, tick_ns)

    monkeypatch.setattr("harness.measure.telemetry.energy.steps_of", counting)
    stretches = [(second * 1000 * MS, (second * 1000 + 800) * MS) for second in range(90)]
    found, fault = energy(times, counts, stretches, COUNTER)
    assert (looked, fault, found.readings > 500) == ([4000], None, True)
