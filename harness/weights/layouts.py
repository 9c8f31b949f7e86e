"""The order of a tensor's dimensions in either framework. Names are the same; only kernels and matrices differ.

| tensor | PyTorch | TensorFlow |
|---|---|---|
| convolution | out, in, rows, columns | rows, columns, in, out |
| depthwise convolution | channels, 1, rows, columns | rows, columns, channels, 1 |
| transposed convolution | in, out, rows, columns | rows, columns, out, in |
| dense | out, in | in, out |
| dense over pooled features | out, (channels, rows, columns) | (rows, columns, channels), out |

Which of these a tensor is follows from its name alone: a shape may fit two of them.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.errors import WeightsError
from harness.weights.shapes import Shape

Layout = Literal["torch", "tf"]
Kind = Literal["convolution", "depthwise", "transposed", "dense", "pooled", "plain"]

POOLED = "box_head.fc6.weight"
"""The dense layer over RoIAlign's bins, whose inputs each framework flattens in its own order."""
BINS = 7
"""Rows and columns of those bins."""

_TO_TF: Mapping[Kind, Shape] = {
    "convolution": (2, 3, 1, 0),
    "depthwise": (2, 3, 0, 1),
    "transposed": (2, 3, 1, 0),
    "dense": (1, 0),
    "plain": (),
}


def kind_of(name: str, dimensions: int) -> Kind:
    """What a tensor is, by its name and how many dimensions it has; vectors and strangers are plain."""
    if dimensions == 2:
        return "pooled" if name.endswith(POOLED) else "dense"
    if dimensions == 4 and name.endswith("conv5_mask.weight"):
        return "transposed"
    if dimensions == 4:
        return "depthwise" if name.endswith("conv_dw.weight") else "convolution"
    return "plain"


def relayout(name: str, array: NDArray[Any], source: Layout, target: Layout) -> NDArray[Any]:
    """One tensor in another layout, in C order; the values are the same to the bit.

    Raises:
        WeightsError: its shape cannot be a tensor of that name.
    """
    kind = kind_of(name, array.ndim)
    if source == target or kind == "plain":
        return array
    if kind == "pooled":
        return _pooled(name, array, target)
    if kind == "depthwise" and array.shape[1 if source == "torch" else 3] != 1:
        raise WeightsError(f"{name!r} has shape {array.shape}; a depthwise kernel of layout {source} is needed")
    axes = _TO_TF[kind] if target == "tf" else tuple(np.argsort(_TO_TF[kind]).tolist())
    return np.ascontiguousarray(array.transpose(axes))


def _pooled(name: str, array: NDArray[Any], target: Layout) -> NDArray[Any]:
    inputs = array.shape[1 if target == "tf" else 0]
    channels, rest = divmod(inputs, BINS * BINS)
    if rest:
        raise WeightsError(f"{name!r} has {inputs} inputs; a multiple of the {BINS * BINS} bins is needed")
    if target == "tf":
        return array.reshape(-1, channels, BINS, BINS).transpose(2, 3, 1, 0).reshape(inputs, -1)
    return array.reshape(BINS, BINS, channels, -1).transpose(3, 2, 0, 1).reshape(-1, inputs)


def to_layout(tensors: Mapping[str, NDArray[Any]], source: Layout, target: Layout) -> dict[str, NDArray[Any]]:
    """All tensors in another layout, by the names of Mask R-CNN and EfficientDet.

    Raises:
        WeightsError: a tensor has a shape that its name cannot have.
    """
    return {name: relayout(name, array, source, target) for name, array in tensors.items()}


def shape_in(name: str, shape: Shape, target: Layout) -> Shape:
    """PyTorch's shape of a tensor in another layout."""
    kind = kind_of(name, len(shape))
    if target == "torch" or kind == "plain":
        return shape
    if kind == "pooled":
        return (math.prod(shape[1:]), shape[0])
    return tuple(shape[axis] for axis in _TO_TF[kind])
