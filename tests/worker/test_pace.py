"""How long a trial warms up, and what ends its window, on a device whose clock the test owns."""

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_device import Device, on_its_clock
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from records import demo_trial

from harness.errors import BackendError
from harness.hookspecs import Context
from harness.measure.steps import Stretch
from harness.schema.measurement import Ending, Window
from harness.schema.trial import STEADY_STEPS, Trial
from harness.units import NS_PER_MS
from harness.worker import phases
from harness.worker.agreement import Agreement, Series, Verdict
from harness.worker.pace import interval_of, judge
from harness.worker.phases import run_infer
from harness.worker.record import PhaseRecord

CONTEXT = Context(rank=0, local_rank=0, world_size=1, train="", val="")
Infer = Callable[..., PhaseRecord]


@pytest.fixture
def infer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Infer:
    """Drive the infer phase of a trial of four timed steps, and two before them, on a device."""

    def driven(device: Device, **fields: Any) -> PhaseRecord:
        record = PhaseRecord(rank=0)
        trial = demo_trial(**{"warmup_steps": 2, "timed_steps": 4, **fields})
        run_infer(on_its_clock(device, monkeypatch), trial, record, tmp_path, CONTEXT)  # type: ignore[arg-type]
        return record

    return driven


def series(record: PhaseRecord, name: str) -> tuple[float, ...]:
    """The values of a raw series."""
    return next(each.values for each in record.measurements if each.name == name)


def window_of(record: PhaseRecord) -> Window:
    """Its only window."""
    (window,) = record.windows
    return window


def test_a_count_of_steps_is_one_stretch(infer: Infer) -> None:
    """As many as the trial says, from when to when, by the host's clock and by the device's."""
    window = window_of(infer(Device(step_ms=100.0, load_ms=10.0)))
    assert (window.ended_by, window.steps, window.stretch_images) == ("steps", 4, (16,))
    assert [end - start for start, end in window.spans_ns] == [410 * NS_PER_MS]
    assert (window.elapsed_s, window.device_s, window.interval) == (0.41, 0.4, None)
    assert (window.warmup_steps, window.warmup_steady) == (2, None)


def test_seconds_are_reached_by_whole_stretches(infer: Infer) -> None:
    """The window ends with the stretch that reaches them; meetings between stretches are no part of it."""
    window = window_of(infer(Device(step_ms=100.0), timed_seconds=1.0))
    assert (window.ended_by, window.steps) == ("seconds", 12)
    assert window.stretch_images == (16, 16, 16)
    assert window.elapsed_s == sum(end - start for start, end in window.spans_ns) / 1e9 == 1.2


def test_a_rate_that_is_known_ends_the_window(infer: Infer) -> None:
    """As soon as the interval of its stretches is narrow enough: after five, where all are alike."""
    window = window_of(infer(Device(step_ms=100.0), timed_interval=0.01))
    assert (window.ended_by, len(window.spans_ns), window.interval) == ("interval", 5, 0.0)


def test_a_rate_that_will_not_settle_ends_at_the_limit(infer: Infer) -> None:
    """No stretch goes beyond the most steps there may be, and the interval that was reached is told."""
    restless = itertools.chain([1.0] * 2, itertools.cycle([50.0] * 4 + [150.0] * 4))
    window = window_of(infer(Device(restless), timed_interval=0.01, max_timed_steps=27))
    assert (window.ended_by, window.steps) == ("limit", 24)
    assert window.interval is not None
    assert window.interval > 0.01


def test_without_a_limit_of_its_own_a_trial_has_a_hundred_rounds(infer: Infer) -> None:
    """Which is told where it is hit."""
    window = window_of(infer(Device(step_ms=1.0), timed_seconds=3600.0))
    assert (window.ended_by, window.steps) == ("limit", 400)


def test_latencies_are_as_many_as_the_window_s_steps(infer: Infer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to what high percentiles take; what the trial counts is never cut."""
    assert len(series(infer(Device(step_ms=100.0), timed_seconds=1.0), "latency_ms")) == 12
    monkeypatch.setattr(phases, "MOST_LATENCIES", 7)
    assert series(infer(Device(step_ms=100.0), timed_seconds=1.0), "latency_device_ms") == (100.0,) * 7
    assert len(series(infer(Device(step_ms=100.0), timed_steps=9), "latency_ms")) == 9


def test_every_step_has_its_times_and_every_stretch_its_wait(infer: Infer) -> None:
    """In the order in which they ran, warm-up apart; together they are the window."""
    record = infer(Device(step_ms=100.0, host_ms=20.0, load_ms=10.0), timed_seconds=1.0)
    window = window_of(record)
    lengths = {each.name: (len(each.values), len(each.warmup_values)) for each in record.measurements}
    assert lengths["step_ms"] == lengths["data_wait_ms"] == lengths["device_ms"] == (12, 2)
    assert lengths["drain_ms"] == (3, 1)
    parts = sum(sum(series(record, name)) for name in ("step_ms", "data_wait_ms", "drain_ms"))
    assert parts == pytest.approx(window.elapsed_s * 1000, rel=1e-12)


@pytest.mark.parametrize("missing", range(4))
def test_a_synchronisation_that_goes_missing_is_caught_in_that_stretch(infer: Infer, missing: int) -> None:
    """Each stretch is held to its word, the warm-up's too, not the window as a whole."""
    device = Device(step_ms=100.0, deaf_after=2 * missing + 1)
    with pytest.raises(BackendError, match="before the device was done"):
        infer(device, timed_seconds=1.0)
    assert device.calls.count("barrier") == missing + 1


def test_a_warm_up_goes_on_until_steps_are_steady(infer: Infer) -> None:
    """Eight stretches alike are steady; those of the slow beginning are not, and none of it is in the window."""
    slow = itertools.chain([500.0] * (2 + 3 * STEADY_STEPS), itertools.repeat(100.0))
    window = window_of(infer(Device(slow), max_warmup_steps=200))
    assert window.warmup_steady is True
    assert 2 + 8 * STEADY_STEPS < window.warmup_steps <= 2 + 11 * STEADY_STEPS
    assert window.warmup_steps % STEADY_STEPS == 2
    assert window.elapsed_s == 0.4


def test_a_warm_up_that_never_settles_ends_and_says_so(infer: Infer) -> None:
    """At the most steps it may have; the trial goes on."""
    growing = itertools.count(10.0, 10.0)
    window = window_of(infer(Device(growing), max_warmup_steps=61))
    assert (window.warmup_steady, window.warmup_steps) == (False, 2 + 11 * STEADY_STEPS)
    assert window.steps == 4


ALIKE = (1.0,) * 6
UNLIKE = (1.0, 3.0, 1.0, 3.0, 1.0, 3.0)


@pytest.mark.parametrize(
    ("fields", "elapsed_s", "ended_by"),
    [
        ({"timed_seconds": 6.0}, ALIKE, "seconds"),
        ({"timed_seconds": 6.1}, ALIKE, None),
        ({"timed_interval": 0.01}, ALIKE, "interval"),
        ({"timed_interval": 0.01}, UNLIKE, None),
        ({"timed_seconds": 3.0, "timed_interval": 0.01}, ALIKE, "interval"),
        ({"timed_seconds": 5.5, "timed_interval": 0.01}, ALIKE, "seconds"),
        ({"timed_seconds": 9.0, "timed_interval": 0.01}, ALIKE, None),
        ({"timed_seconds": 3.0, "timed_interval": 0.01}, UNLIKE, None),
        ({"timed_seconds": 9.0, "max_timed_steps": 63}, ALIKE, "limit"),
        ({"timed_seconds": 9.0, "max_timed_steps": 70}, ALIKE, None),
        ({"timed_seconds": 6.0, "max_timed_steps": 60}, ALIKE, "seconds"),
    ],
)
def test_all_that_a_trial_asks_for_must_be_met(
    fields: dict[str, Any], elapsed_s: tuple[float, ...], ended_by: Ending | None
) -> None:
    """What was met last ended the window; the limit is told only where something was left unmet."""
    trial = demo_trial(timed_steps=10, **fields)
    verdict = judge(trial, 60, Series(images=(40,) * 6, elapsed_s=elapsed_s))
    assert verdict.ended_by == ended_by
    assert verdict.enough == (ended_by in {"seconds", "interval"})


@settings(max_examples=60, deadline=None)
@given(
    times_ms=st.lists(st.floats(1.0, 400.0), min_size=1, max_size=8),
    seconds=st.one_of(st.none(), st.floats(0.01, 5.0)),
    interval=st.one_of(st.none(), st.floats(0.001, 0.5)),
    rounds=st.integers(5, 12),
)
def test_a_window_ends_for_the_reason_that_it_tells(
    tmp_path_factory: pytest.TempPathFactory,
    times_ms: list[float],
    seconds: float | None,
    interval: float | None,
    rounds: int,
) -> None:
    """On any device: what is asked for holds in the end, did not hold a stretch before, or the limit is full."""
    asked = seconds is not None or interval is not None
    trial = demo_trial(
        warmup_steps=0,
        timed_steps=3,
        timed_seconds=seconds,
        timed_interval=interval,
        max_timed_steps=3 * rounds if asked else None,
    )
    record = PhaseRecord(rank=0)
    with pytest.MonkeyPatch.context() as patch:
        device = on_its_clock(Device(itertools.cycle(times_ms)), patch)
        run_infer(device, trial, record, tmp_path_factory.getbasetemp(), CONTEXT)  # type: ignore[arg-type]
    window = window_of(record)
    stretches_s = [(end - start) / 1e9 for start, end in window.spans_ns]
    images = window.stretch_images

    def met(count: int) -> bool:
        known = interval_of(Series(images=images[:count], elapsed_s=tuple(stretches_s[:count])))
        lasted = seconds is None or sum(stretches_s[:count]) >= seconds
        return lasted and (interval is None or (known is not None and known <= interval))

    assert [met(count) for count in range(1, len(images))] == [False] * (len(images) - 1) or not asked
    assert window.steps == 3 * len(images) <= 3 * rounds
    expected = {"steps"} if not asked else {"seconds", "interval"} if met(len(images)) else {"limit"}
    assert window.ended_by in expected
    assert window.ended_by != "limit" or len(images) == rounds


def test_an_interval_that_ended_its_window_holds_the_truth_almost_as_often() -> None:
    """Looking after every stretch costs little: 92 of 100 and not 95, over 400 windows of 5 % noise."""
    rng = np.random.default_rng(5)
    trial = demo_trial(timed_steps=1, timed_interval=0.03)
    held = []
    for noise in rng.lognormal(0.0, 0.05, (400, 100)):
        ends = (judge(trial, count, first(noise, count)) for count in range(1, 101))
        count, verdict = next((count, each) for count, each in enumerate(ends, start=1) if each.ended_by)
        assert verdict.ended_by == "interval"
        assert verdict.interval is not None
        rate = count / float(noise[:count].sum())
        held.append(abs(rate - np.exp(-(0.05**2) / 2)) <= verdict.interval * rate)
    assert 0.89 <= np.mean(held) <= 0.96


def first(noise: NDArray[np.float64], count: int) -> Series:
    """So many stretches of one image each."""
    return Series(images=(1,) * count, elapsed_s=tuple(noise[:count].tolist()))


def stretch_of(images: int, elapsed_ms: int) -> Stretch:
    """A stretch as far as ranks tell each other of it."""
    return Stretch(images=images, elapsed_ns=elapsed_ms * NS_PER_MS)


class Meeting:
    """The barrier of ranks that are threads."""

    def __init__(self, ranks: int) -> None:
        self.waiting = threading.Barrier(ranks, timeout=20)

    def barrier(self) -> None:
        self.waiting.wait()


def ask(meeting: Meeting, scratch: Path, rank: int, rounds: int) -> Iterator[Verdict]:
    """One rank's questions: its stretches have as many images as its number, and are as slow."""
    context = Context(rank=rank, local_rank=rank, world_size=3, train="", val="")
    agreement = Agreement(meeting, scratch, context)  # type: ignore[arg-type]
    trial = demo_trial(timed_steps=2, timed_seconds=0.0001)
    for count in range(1, rounds + 1):
        stretches = [stretch_of(rank + 1, 100 * (rank + 1) + each) for each in range(count)]
        yield agreement.decide(stretches, lambda together: told(trial, rank, together))


def told(trial: Trial, rank: int, together: Series) -> Verdict:
    """What a rank answers if it is the one that judges; the ranks differ in it."""
    assert together.images == (6,) * len(together.images)
    assert together.elapsed_s == tuple((300 + each) / 1000 for each in range(len(together.images)))
    return judge(trial, 2, together).model_copy(update={"interval": rank + len(together.images) / 10})


def test_one_rank_judges_for_all(tmp_path: Path) -> None:
    """All ranks get the verdict of rank 0, round by round, on what all of them did: the slowest ends a stretch."""
    meeting, verdicts = Meeting(3), {}

    def answer(rank: int) -> None:
        verdicts[rank] = list(ask(meeting, tmp_path, rank, 4))

    threads = [threading.Thread(target=answer, args=(rank,)) for rank in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [verdict.interval for verdict in verdicts[0]] == [0.1, 0.2, 0.3, 0.4]
    assert verdicts[0] == verdicts[1] == verdicts[2]
