"""What the ranks of a trial decide together about their window: one decides for all, outside the clock.

Ranks that judged each for itself could disagree by the last digit of a time, and then wait for one another for ever.
They meet by the backend's barrier and exchange files in the trial's folder, so that no framework is needed for it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from harness.hookspecs import Context, Work
from harness.measure.steps import Stretch
from harness.schema.measurement import Ending
from harness.schema.record import Record
from harness.units import ns_to_s


class Series(Record):
    """Images and seconds of the stretches so far: of one rank, or of all of them together."""

    images: tuple[int, ...]
    elapsed_s: tuple[float, ...]


class Verdict(Record):
    """What was decided: whether the stretches are enough, and why."""

    enough: bool
    ended_by: Ending | None = None
    interval: float | None = None


class Agreement:
    """The ranks of one trial; all of them ask the same questions in the same order."""

    def __init__(self, work: Work, scratch: Path, context: Context) -> None:
        self.work = work
        self.scratch = scratch
        self.context = context
        self.asked = 0

    def decide(self, stretches: Sequence[Stretch], judge: Callable[[Series], Verdict]) -> Verdict:
        """Let rank 0 judge the stretches of all ranks, and return its verdict on every rank.

        Args:
            stretches: of this rank; each rank has as many.
            judge: is given the ranks' stretches together, on rank 0 alone.
        """
        own = series_of(stretches)
        if self.context.world_size == 1:
            return judge(own)
        self.asked += 1
        verdict = self.scratch / f"verdict{self.asked}.json"
        told = [self.scratch / f"stretches{self.asked}.rank{rank}.json" for rank in range(self.context.world_size)]
        told[self.context.rank].write_text(own.model_dump_json(), encoding="utf-8")
        self.work.barrier()
        if self.context.rank == 0:
            ranks = [Series.model_validate_json(path.read_bytes()) for path in told]
            verdict.write_text(judge(together(ranks)).model_dump_json(), encoding="utf-8")
        self.work.barrier()
        return Verdict.model_validate_json(verdict.read_bytes())


def series_of(stretches: Sequence[Stretch]) -> Series:
    """Images and seconds of a rank's stretches."""
    return Series(
        images=tuple(stretch.images for stretch in stretches),
        elapsed_s=tuple(ns_to_s(stretch.elapsed_ns) for stretch in stretches),
    )


def together(ranks: Sequence[Series]) -> Series:
    """All ranks as one: they begin each stretch together, and it lasts until the slowest is done."""
    return Series(
        images=tuple(map(sum, zip(*(rank.images for rank in ranks), strict=True))),
        elapsed_s=tuple(map(max, zip(*(rank.elapsed_s for rank in ranks), strict=True))),
    )
