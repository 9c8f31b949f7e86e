"""Weights of a known model: a file's tensors under the model's own names, in the layout that is wanted."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType

import numpy as np

from harness.errors import WeightsError
from harness.weights import efficientdet, maskrcnn
from harness.weights.files import Contents, read_contents
from harness.weights.fitting import Fit, fit
from harness.weights.layouts import Layout, to_layout
from harness.weights.names import Model, Part, Recognised, in_part, recognise
from harness.weights.shapes import Shapes
from harness.weights.tensors import Tensors

_SPECS: Mapping[Model, ModuleType] = {"maskrcnn": maskrcnn, "efficientdet": efficientdet}
_KNOWN = "Mask R-CNN, EfficientDet, and the ResNets and EfficientNets under them"


@dataclass(frozen=True)
class Weights:
    """A file of weights whose model is known."""

    path: Path
    contents: Contents
    recognised: Recognised

    @property
    def model(self) -> Model:
        """Whose weights these are."""
        return self.recognised.model

    @property
    def part(self) -> Part:
        """What the file holds of it."""
        return self.recognised.part

    @cached_property
    def layout(self) -> Layout:
        """As the file's metadata say; files that others wrote have PyTorch's."""
        named = self.contents.metadata.get("layout", "torch")
        if named not in ("torch", "tf"):
            raise WeightsError(f"{self.path} says its layout is {named!r}; torch or tf is needed")
        return "tf" if named == "tf" else "torch"

    def tensors(self, layout: Layout, part: Part = "model") -> Tensors:
        """By the model's names, fractions as float32."""
        names = {short: name for name, short in self.recognised.names.items()}
        taken = {short: self.contents.tensors[names[short]] for short in in_part(names, self.model, part)}
        try:
            moved = to_layout(taken, self.layout, layout)
        except WeightsError as error:
            raise WeightsError(f"{self.path}: {error}") from error
        return {
            name: array.astype(np.float32) if array.dtype.kind == "f" and array.dtype != np.float32 else array
            for name, array in moved.items()
        }

    @cached_property
    def shapes(self) -> Shapes:
        """Of every tensor, in PyTorch's layout."""
        return {name: array.shape for name, array in self.tensors("torch").items()}

    @cached_property
    def kind(self) -> str:
        """Which of the models of its family it is, in words."""
        if self.part == "trunk" and self.model == "maskrcnn":
            return f"the trunk {maskrcnn.resnet_of(self.shapes)}"
        name = _SPECS[self.model].kind_of(self.shapes).name
        return f"the trunk of {name}" if self.part == "trunk" else str(name)

    def fit(self, part: Part) -> Fit:
        """Against all tensors that a model of this kind has, see the modules `maskrcnn` and `efficientdet`."""
        spec = _SPECS[self.model]
        wanted: Shapes = spec.tensors(spec.kind_of(self.shapes))
        return fit(
            {name: wanted[name] for name in in_part(wanted, self.model, part)},
            {name: self.shapes[name] for name in in_part(self.shapes, self.model, part)},
        )


def open_weights(path: Path) -> Weights:
    """Read a file and recognise its model by its names.

    Raises:
        WeightsError: it cannot be read, or the model is not known.
    """
    contents = read_contents(path)
    return Weights(path, contents, recognised_in(path, contents))


def recognised_in(path: Path, contents: Contents) -> Recognised:
    """The model of a file.

    Raises:
        WeightsError: it is not known, or two tensors have one name.
    """
    try:
        found = recognise(contents.tensors)
    except WeightsError as error:
        raise WeightsError(f"{path} {error}") from error
    if found is None:
        first = next(iter(contents.tensors), "none")
        raise WeightsError(f"{path} holds the tensors of no model that is known ({first!r} …); known are {_KNOWN}")
    return found


def load_for(path: Path, *, layout: Layout, model: Model, part: Part = "model") -> Tensors:
    """The tensors of a file for a model, by the model's names and in the framework's layout.

    Args:
        path: safetensors or a file of `torch.save`, in either layout.
        layout: the one wanted.
        model: the one that they are for.
        part: `trunk` leaves out all other tensors; a classifier's own file will do then.

    Raises:
        WeightsError: the file cannot be read, or holds another model.
    """
    weights = open_weights(path)
    if weights.model != model:
        raise WeightsError(f"{path} holds {weights.kind}; weights of {model} are needed")
    if part == "model" and weights.part == "trunk":
        raise WeightsError(f"{path} holds {weights.kind} alone; the whole model is needed, or the part trunk")
    return weights.tensors(layout, part)
