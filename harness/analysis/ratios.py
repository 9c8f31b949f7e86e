"""Speed-up and weak scaling: throughputs of two points over each other, or the reason why there is none."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.analysis.metrics import spread, throughput
from harness.analysis.points import Group
from harness.analysis.rows import Ratio, Scaling
from harness.schema.trial import Precision

Index = dict[tuple[str, str], list[Group]]


def median_throughput(group: Group) -> float | None:
    """Images/s, median over the trials that have numbers."""
    found = spread([throughput(result) for result in group.ok])
    return found.median if found else None


def side(group: Group) -> str:
    """Name one side of a speed-up."""
    return f"{group.trial.precision} at batch size {group.trial.batch_size_per_gpu}"


@dataclass
class Comparisons:
    """Finds the other side of every comparison among the groups of one phase."""

    groups: Sequence[Group]
    by_precision: Index = field(default_factory=dict)
    by_other_batch: Index = field(default_factory=dict)
    by_ranks: Index = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Index the groups once, so that a table of many rows stays linear."""
        for each in self.groups:
            precision = each.trial.precision
            self.by_precision.setdefault((each.without("precision"), precision), []).append(each)
            other = each.without("precision", "batch_size_per_gpu")
            self.by_other_batch.setdefault((other, precision), []).append(each)
            self.by_ranks.setdefault((each.without("gpus", "nodes"), str(each.trial.world_size)), []).append(each)

    def speedup(self, group: Group, reference: Precision) -> Ratio:
        """Throughput over that of the same point in the reference precision, at the same batch size."""
        to = f"{reference} at batch size {group.trial.batch_size_per_gpu}"
        if group.trial.precision == reference:
            return Ratio(value=None, of=side(group), to=to, reason=f"this row is the {reference} side")
        found = self.by_precision.get((group.without("precision"), reference))
        if found:
            return ratio(group, found[0], side(group), to)
        others = self.by_other_batch.get((group.without("precision", "batch_size_per_gpu"), reference), [])
        sizes = ", ".join(str(other.trial.batch_size_per_gpu) for other in others)
        reason = f"{reference} ran at batch size {sizes} only" if others else f"no {reference} trial of this point"
        return Ratio(value=None, of=side(group), to=to, reason=reason)

    def scaling(self, group: Group) -> Scaling:
        """Throughput over that of one rank at equal batch size per GPU."""
        ranks = group.trial.world_size
        of, to = spell_ranks(ranks), spell_ranks(1)
        found = [group] if ranks == 1 else self.by_ranks.get((group.without("gpus", "nodes"), "1"))
        if not found:
            missing = Ratio(value=None, of=of, to=to, reason="no 1-rank trial at this batch size per rank")
            return Scaling(factor=missing, efficiency=None)
        factor = ratio(group, found[0], of, to)
        return Scaling(factor=factor, efficiency=None if factor.value is None else factor.value / ranks)


def spell_ranks(number: int) -> str:
    """Name one side of a scaling factor."""
    return "1 rank" if number == 1 else f"{number} ranks"


def ratio(group: Group, reference: Group, of: str, to: str) -> Ratio:
    """Divide two throughputs; a side without one is the reason."""
    above, below = median_throughput(group), median_throughput(reference)
    if above is not None and below:
        return Ratio(value=above / below, of=of, to=to)
    lacking, name = (group, of) if above is None else (reference, to)
    kinds = sorted({result.outcome.kind for result in lacking.results} - {"ok"})
    return Ratio(value=None, of=of, to=to, reason=f"{name} ended as {', '.join(kinds) or 'no timed window'}")
