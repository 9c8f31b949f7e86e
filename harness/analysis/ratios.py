"""Speed-up and weak scaling: throughputs of two points over each other, or the reason why there is none."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.analysis.metrics import compiling, spread, throughput
from harness.analysis.observed import marks
from harness.analysis.parts import Ratio, Scaling
from harness.analysis.points import Group, kernels_of
from harness.analysis.simulated import why_simulated
from harness.schema.trial import Precision

Index = dict[tuple[str, str], list[Group]]

OF_RANKS = ("gpus", "nodes", "launcher")
"""What one rank has none of, or no use for."""


def median_throughput(group: Group) -> float | None:
    """Images/s, median over the trials that have numbers."""
    found = spread([throughput(result) for result in group.ok])
    return found.median if found else None


def side(group: Group) -> str:
    """Name one side of a speed-up."""
    return f"{group.trial.precision} at batch size {group.trial.batch_size_per_gpu}"


def spell_xla(*, xla: bool) -> str:
    """Name one side of what XLA brings."""
    return "with XLA" if xla else "without XLA"


@dataclass
class Comparisons:
    """Finds the other side of every comparison among the groups of one phase."""

    groups: Sequence[Group]
    by_precision: Index = field(default_factory=dict)
    by_other_batch: Index = field(default_factory=dict)
    by_ranks: Index = field(default_factory=dict)
    by_xla: Index = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Index the groups once, so that a table of many rows stays linear."""
        for each in self.groups:
            precision = each.trial.precision
            self.by_precision.setdefault((each.without("precision"), precision), []).append(each)
            other = each.without("precision", "batch_size_per_gpu")
            self.by_other_batch.setdefault((other, precision), []).append(each)
            self.by_ranks.setdefault((each.without(*OF_RANKS), str(each.trial.world_size)), []).append(each)
            self.by_xla.setdefault((each.without("xla"), spell_xla(xla=each.trial.xla)), []).append(each)

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

    def speedup_across_batch_sizes(self, group: Group) -> Ratio | None:
        """Throughput over that of the same point in tf32, else fp32, at the one other batch size at which it ran.

        None for a point in one of them, and where equal batch sizes can be compared or several others would do.
        """
        references: tuple[Precision, ...] = ("tf32", "fp32") if group.trial.precision == "amp" else ()
        for reference in references:
            if self.by_precision.get((group.without("precision"), reference)):
                return None
            others = self.by_other_batch.get((group.without("precision", "batch_size_per_gpu"), reference), [])
            if others:
                return ratio(group, others[0], side(group), side(others[0])) if len(others) == 1 else None
        return None

    def speedup_of_xla(self, group: Group) -> Ratio:
        """Throughput over that of the same point, precision included, without XLA."""
        of, to = spell_xla(xla=group.trial.xla), spell_xla(xla=False)
        if not group.trial.xla:
            return Ratio(value=None, of=of, to=to, reason="this row is the side without XLA")
        found = self.by_xla.get((group.without("xla"), to))
        if not found:
            return Ratio(value=None, of=of, to=to, reason="no trial of this point without XLA")
        return ratio(group, found[0], of, to)

    def scaling(self, group: Group) -> Scaling:
        """Throughput over that of one rank at equal batch size per GPU."""
        ranks = group.trial.world_size
        of, to = spell_ranks(ranks), spell_ranks(1)
        found = [group] if ranks == 1 else self.by_ranks.get((group.without(*OF_RANKS), "1"))
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
        compiled = dict.fromkeys(name for each, name in ((group, of), (reference, to)) if compiles_in_window(each))
        caveats = [f"{' and '.join(compiled)} compiled in the timed window"] if compiled else []
        if group is not reference and (words := marked_sides(group, reference, of, to)):
            caveats.append(words)
        if kernels_of(group) != kernels_of(reference):
            caveats.append(f"{to} ran on other kernels: {kernels_of(reference)}")
        return Ratio(value=above / below, of=of, to=to, caveat="; ".join(caveats) or None)
    lacking, name = (group, of) if above is None else (reference, to)
    kinds = sorted({result.outcome.kind for result in lacking.results} - {"ok"})
    if any(map(why_simulated, lacking.results)):
        return Ratio(value=None, of=of, to=to, reason=f"{name} ran on a simulated device")
    return Ratio(value=None, of=of, to=to, reason=f"{name} ended as {', '.join(kinds) or 'no timed window'}")


def marked_sides(group: Group, reference: Group, of: str, to: str) -> str | None:
    """Which sides have marks: by what, their own rows say."""
    found = [name for each, name in ((group, of), (reference, to)) if marks(each.ok)]
    return {0: None, 1: f"marked: {found[0] if found else ''}", 2: "marked: both sides"}[len(found)]


def compiles_in_window(group: Group) -> bool:
    """Whether the throughput of any of its trials contains compiling."""
    found = compiling(group.ok)
    return found is not None and found.window_steps > 0
