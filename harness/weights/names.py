"""Names of tensors: which model they are of, and the one spelling that the backends use.

Mask R-CNN has torchvision's names, EfficientDet effdet's; a classifier's trunk has them without what stands before.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from harness.errors import WeightsError
from harness.weights.classic import CLASSIC_STEM, modern_names

Model = Literal["maskrcnn", "efficientdet"]
Part = Literal["model", "trunk"]

TRUNKS: dict[Model, str] = {"maskrcnn": "backbone.body.", "efficientdet": "backbone."}
"""What the names of a model's trunk begin with."""

_WRAPPING = re.compile(r"^(module\.|model\.|_orig_mod\.)+")
_COUNTERS = ("num_batches_tracked", "n_averaged")
_HEADS: dict[Model, tuple[str, ...]] = {
    "maskrcnn": ("roi_heads.", "rpn.", "backbone.fpn."),
    "efficientdet": ("class_net.", "box_net.", "fpn."),
}
_STEMS: dict[Model, str] = {"maskrcnn": "conv1.weight", "efficientdet": "conv_stem.weight"}
_CLASSIFIERS: dict[Model, tuple[str, ...]] = {
    "maskrcnn": ("fc.",),
    "efficientdet": ("conv_head.", "bn2.", "classifier."),
}
# torchvision's names before 0.14, which its published COCO weights still have.
_OLD = (
    (re.compile(r"^(backbone\.fpn\.(?:inner|layer)_blocks\.\d)\.(weight|bias)$"), r"\1.0.\2"),
    (re.compile(r"^(rpn\.head\.conv)\.(weight|bias)$"), r"\1.0.0.\2"),
)
_OLD_MASK = re.compile(r"^roi_heads\.mask_head\.mask_fcn(\d)\.(weight|bias)$")


@dataclass(frozen=True, slots=True)
class Recognised:
    """What the names of a file say."""

    model: Model
    part: Part
    """`trunk` if no name of a pyramid or head is among them."""
    names: dict[str, str]
    """The model's own name of each tensor, by its name in the file; counters of batches are left out."""
    classifier: tuple[str, ...]
    """Names in the file of what only a classifier has."""


def recognise(found: Iterable[str]) -> Recognised | None:
    """The model that names belong to; None for one that is not known.

    Raises:
        WeightsError: two tensors would have one name.
    """
    bare = {name: _WRAPPING.sub("", name) for name in found}
    bare = {name: short for name, short in bare.items() if short.rpartition(".")[2] not in _COUNTERS}
    names = set(bare.values())
    if CLASSIC_STEM in names:
        bare = dict(zip(bare, modern_names(list(bare.values())), strict=True))
        names = set(bare.values())
    for model, stem in _STEMS.items():
        if stem in names and (model == "efficientdet" or "layer1.0.conv1.weight" in names):
            classifier = tuple(name for name, short in bare.items() if short.startswith(_CLASSIFIERS[model]))
            prefixed = {name: TRUNKS[model] + short for name, short in bare.items() if name not in classifier}
            return Recognised(model, "trunk", _distinct(prefixed), classifier)
        if TRUNKS[model] + stem in names or any(name.startswith(_HEADS[model]) for name in names):
            current = {name: _current(short) for name, short in bare.items()}
            trunk = not any(name.startswith(_HEADS[model]) for name in current.values())
            return Recognised(model, "trunk" if trunk else "model", _distinct(current), ())
    return None


def _current(name: str) -> str:
    """Spell a name as torchvision does now."""
    for pattern, present in _OLD:
        name = pattern.sub(present, name)
    return _OLD_MASK.sub(lambda match: f"roi_heads.mask_head.{int(match[1]) - 1}.0.{match[2]}", name)


def _distinct(names: dict[str, str]) -> dict[str, str]:
    taken: dict[str, str] = {}
    for name, short in names.items():
        if short in taken:
            raise WeightsError(f"holds {taken[short]!r} and {name!r}, which are one tensor of the model, {short!r}")
        taken[short] = name
    return names


def in_part(names: Iterable[str], model: Model, part: Part) -> Iterator[str]:
    """The names that belong to a part."""
    return (name for name in names if part == "model" or name.startswith(TRUNKS[model]))
