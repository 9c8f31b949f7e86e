"""One weights file in several backends: accuracy side by side, and how far intermediate tensors are apart."""

from collections.abc import Iterator, Sequence
from math import isfinite

from harness.analysis.metrics import ap
from harness.analysis.parts import QualityPair, TensorDifference
from harness.analysis.points import Group, points
from harness.analysis.rows import FrameworkRow, Point
from harness.schema.measurement import Accuracy, CocoMetrics, Probe, ProbedTensor
from harness.schema.result import TrialResult

WEIGHTS = "weights"
"""The option that names a backend's weights file."""
KINDS: tuple[str, ...] = ("bbox", "segm")
SMALLEST = 1e-30
"""Stands for the absolute maximum of a tensor of zeros, so that any difference from it is large."""
Alike = tuple[str, ...]
Member = tuple[Group, Point]


def framework_rows(results: Sequence[TrialResult]) -> tuple[FrameworkRow, ...]:
    """A row for each point that another backend than the first evaluated with the same weights on the same images.

    The reference of a row is the first point of the backend that comes first among those alike.
    """
    families: dict[Alike, list[Member]] = {}
    for group, point in points(results, "eval"):
        if (key := alike(group)) is not None:
            families.setdefault(key, []).append((group, point))
    return tuple(row for members in families.values() for row in family_rows(members))


def alike(group: Group) -> Alike | None:
    """What must be equal for two backends to be compared; None for a point without weights, images or scores."""
    first = next((result for result in group.ok if result.accuracy), None)
    if first is None or first.provenance is None or WEIGHTS not in first.weights_read:
        return None
    fingerprint = first.provenance.data_fingerprints.get(first.trial.data.val)
    if fingerprint is None:
        return None
    settings = (first.trial.image_size, first.settings.get("flavour"), first.trial.precision)
    return (first.weights_read[WEIGHTS], fingerprint, *map(str, settings))


def family_rows(members: Sequence[Member]) -> Iterator[FrameworkRow]:
    """The points of other backends than the first member's, each beside it."""
    reference = members[0]
    for member in members[1:]:
        if member[1].backend != reference[1].backend:
            yield framework_row(reference, member)


def framework_row(reference: Member, member: Member) -> FrameworkRow:
    """Two points that are alike."""
    base, other = scored(reference[0]), scored(member[0])
    first, second = base.accuracy[-1], other.accuracy[-1]
    return FrameworkRow(
        reference=reference[1],
        point=member[1],
        weights=str(base.trial.options.get(WEIGHTS)),
        weights_sha256=base.weights_read[WEIGHTS],
        images=first.images,
        quality=tuple(pair for kind in KINDS if (pair := quality_pair(kind, first, second)) is not None),
        difference=tensor_difference(base.probe, other.probe),
    )


def scored(group: Group) -> TrialResult:
    """The trial that stands for a point: the first that has scores."""
    return next(result for result in group.ok if result.accuracy)


def quality_pair(kind: str, first: Accuracy, second: Accuracy) -> QualityPair | None:
    """The numbers of one kind, where both sides have them."""
    found = [metrics_of(scoring, kind) for scoring in (first, second)]
    base, other = found
    if base is None or other is None:
        return None
    ours, theirs = (metrics.model_dump(exclude={"kind"}) for metrics in (base, other))
    apart = [abs(ours[name] - theirs[name]) for name in ours if ours[name] is not None and theirs[name] is not None]
    return QualityPair(
        kind=base.kind,
        reference_ap=ap(first, kind),
        ap=ap(second, kind),
        largest_difference=max(apart, default=None),
    )


def metrics_of(scoring: Accuracy, kind: str) -> CocoMetrics | None:
    """The COCO numbers of one kind."""
    return next((metrics for metrics in scoring.metrics if metrics.kind == kind), None)


def tensor_difference(first: Probe | None, second: Probe | None) -> TensorDifference:
    """Compare two probes tensor by tensor."""
    nothing = TensorDifference(value=None, tensor=None, tensors=0, values=0, left_out=())
    if first is None or second is None:
        return nothing.model_copy(update={"reason": "not probed on both sides; probe: true asks for it"})
    if first.image_ids != second.image_ids:
        found = " and ".join(f"images {', '.join(map(str, probe.image_ids))}" for probe in (first, second))
        return nothing.model_copy(update={"reason": f"the first batches hold other images: {found}"})
    ours, theirs = ({tensor.name: tensor for tensor in probe.tensors} for probe in (first, second))
    names = [*ours, *(name for name in theirs if name not in ours)]
    reasons = {name: why_not(ours.get(name), theirs.get(name)) for name in names}
    apart = {name: relative(ours[name], theirs[name]) for name in names if reasons[name] is None}
    worst = max(apart, key=lambda name: apart[name], default=None)
    return TensorDifference(
        value=None if worst is None else apart[worst],
        tensor=worst,
        tensors=len(apart),
        values=sum(len(ours[name].values) for name in apart),
        left_out=tuple(f"{name}: {reason}" for name, reason in reasons.items() if reason is not None),
        reason=None if apart else "no tensor can be compared",
    )


def why_not(ours: ProbedTensor | None, theirs: ProbedTensor | None) -> str | None:
    """Why two tensors of one name cannot be compared, or None."""
    if ours is None or theirs is None:
        return "on one side only"
    if ours.shape != theirs.shape:
        return f"shape {list(ours.shape)} and {list(theirs.shape)}"
    if not all(isfinite(value) for tensor in (ours, theirs) for value in (tensor.largest, *tensor.values)):
        return "not finite"
    return None


def relative(ours: ProbedTensor, theirs: ProbedTensor) -> float:
    """The largest difference of the samples, and of the absolute maxima, over the absolute maximum of ours."""
    pairs = zip((ours.largest, *ours.values), (theirs.largest, *theirs.values), strict=True)
    apart = max(abs(a - b) for a, b in pairs)
    return apart / max(ours.largest, SMALLEST)
