"""How long a trial warms up, and when its window has enough steps: by count, by seconds, or by what is known."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from harness.hookspecs import Context, Work
from harness.measure.steps import Stretch, run_stretch
from harness.schema.measurement import Ending
from harness.schema.trial import STEADY_STEPS, TIMED_ROUNDS, Trial
from harness.worker.agreement import Agreement, Series, Verdict, series_of
from harness.worker.record import WarmUp


class Pace:
    """The stretches of a trial of the train or infer phase; `batches` of both never end."""

    def __init__(self, work: Work, trial: Trial, scratch: Path, context: Context) -> None:
        self.work = work
        self.trial = trial
        self.batches = work.batches()
        self.agreement = Agreement(work, scratch, context)
        self.interval: float | None = None
        """Of the window that has ended, as `Window.interval`."""

    def stretch(self, steps: int) -> Stretch:
        """Time so many steps as one stretch."""
        return run_stretch(self.work, self.batches, steps, training=self.trial.phase == "train")

    def warm_up(self) -> WarmUp:
        """Take the trial's warm-up steps and, where it says up to how many, go on until steps are steady.

        What is watched begins after `warmup_steps`: the first steps, which allocate and choose kernels, are never it.
        """
        trial = self.trial
        stretches = [self.stretch(trial.warmup_steps)]
        if trial.max_warmup_steps is None:
            return WarmUp(stretches)
        for _ in range((trial.max_warmup_steps - trial.warmup_steps) // STEADY_STEPS):
            stretches.append(self.stretch(STEADY_STEPS))
            if self.agreement.decide(stretches[1:], settled).enough:
                return WarmUp(stretches, steady=True)
        return WarmUp(stretches, steady=False)

    def ending(self, timed: Sequence[Stretch]) -> Ending | None:
        """What ends the window after these stretches; None where as many steps again are to follow.

        Ranks meet only where the trial's count is not all: all of them get the same answer.
        """
        if self.trial.timed_seconds is None and self.trial.timed_interval is None:
            self.interval = interval_of(series_of(timed))
            return "steps"
        verdict = self.agreement.decide(timed, partial(judge, self.trial, sum(stretch.steps for stretch in timed)))
        self.interval = verdict.interval
        return verdict.ended_by


def settled(warmup: Series) -> Verdict:
    """Whether steps are steady by the rates of these stretches."""
    from harness.statistics.rates import steady  # noqa: PLC0415 - a trial that asks for none of this loads no numpy

    rates = [images / elapsed_s for images, elapsed_s in zip(warmup.images, warmup.elapsed_s, strict=True)]
    return Verdict(enough=steady(rates))


def judge(trial: Trial, steps: int, timed: Series) -> Verdict:
    """Whether a window of these stretches, of so many steps, is enough.

    All that the trial asks for must be met; what was met last is what ended the window. A stretch that would go beyond
    the most steps there may be is not begun.
    """
    interval = interval_of(timed)
    lasted = trial.timed_seconds is None or sum(timed.elapsed_s) >= trial.timed_seconds
    known = trial.timed_interval is None or (interval is not None and interval <= trial.timed_interval)
    most = trial.max_timed_steps or TIMED_ROUNDS * trial.timed_steps
    ended_by: Ending | None = None
    if lasted and known:
        just_lasted = trial.timed_seconds is not None and sum(timed.elapsed_s[:-1]) < trial.timed_seconds
        ended_by = "seconds" if just_lasted or trial.timed_interval is None else "interval"
    elif steps + trial.timed_steps > most:
        ended_by = "limit"
    return Verdict(enough=lasted and known, ended_by=ended_by, interval=interval)


def interval_of(stretches: Series) -> float | None:
    """Half of the rate's 95 % interval, as a fraction of it; None of one stretch or a few."""
    if len(stretches.images) == 1:
        return None
    from harness.statistics.rates import rate_interval  # noqa: PLC0415 - as above

    return rate_interval(stretches.images, stretches.elapsed_s)
