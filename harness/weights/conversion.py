"""From any file that is read to one safetensors file in a framework's layout."""

from dataclasses import dataclass
from pathlib import Path

from harness.weights.files import write_tensors
from harness.weights.fitting import Fit
from harness.weights.layouts import Layout
from harness.weights.loading import open_weights
from harness.weights.names import Model, Part


@dataclass(frozen=True, slots=True)
class Conversion:
    """What was converted, and whether it was written."""

    model: Model
    kind: str
    """Which of the models of its family, in words."""
    part: Part
    entry: str | None
    """The entry of a checkpoint that was taken."""
    source: Layout
    target: Layout
    fit: Fit
    """Against the model that the file says it is of; what only a classifier has is left over."""
    written: Path | None
    """None if something is missing and a partial file was not asked for."""


def convert(source: Path, target: Path, *, to: Layout, part: Part | None = None, partial: bool = False) -> Conversion:
    """Write the tensors of a file that fit, in another layout and under the names of our backends.

    Args:
        source: safetensors or a file of `torch.save`.
        target: the safetensors file to write, replaced as a whole.
        to: whose layout.
        part: what to write; without it, what the file holds.
        partial: write also when something of the model is missing or has another shape.

    Raises:
        WeightsError: the source cannot be read, its model is not known, or the target cannot be written.
    """
    weights = open_weights(source)
    chosen = part or weights.part
    found = weights.fit(chosen)
    whole = Fit(found.fits, found.missing, found.left_over + weights.recognised.classifier, found.reshaped)
    wanted = bool(found.fits) and (found.whole or partial)
    if wanted:
        tensors = weights.tensors(to, chosen)
        metadata = {"layout": to, "model": weights.model, "part": chosen}
        write_tensors(target, {name: tensors[name] for name in found.fits}, metadata)
    return Conversion(
        model=weights.model,
        kind=weights.kind,
        part=chosen,
        entry=weights.contents.entry,
        source=weights.layout,
        target=to,
        fit=whole,
        written=target if wanted else None,
    )
