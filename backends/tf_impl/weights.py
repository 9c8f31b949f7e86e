"""Weights by name: a file of either framework into a model's variables, and the variables into a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from numpy.typing import NDArray

from backends.tf_impl.layers import named_variables
from harness.weights import Model, WeightsError, fit, load_for, write_tensors


def assign(model: tf.Module, tensors: Mapping[str, NDArray[Any]], *, prefix: str = "", strict: bool = True) -> int:
    """Copy tensors of TensorFlow's layout into variables by name and return how many fitted.

    Args:
        model: whose variables.
        tensors: by the names of `named_variables`.
        prefix: what the names of the part to fill begin with.
        strict: refuse names that are missing or left over, not only shapes that differ.

    Raises:
        ValueError: the names or shapes do not fit; nothing has been assigned.
    """
    variables = {name: value for name, value in named_variables(model).items() if name.startswith(prefix)}
    found = fit(
        {name: tuple(variable.shape) for name, variable in variables.items()},
        {name: value.shape for name, value in tensors.items()},
    )
    if found.reshaped or (strict and not found.exact):
        raise ValueError(found.line())
    for name in found.fits:
        variables[name].assign(tensors[name])
    return len(found.fits)


def load(model: tf.Module, path: Path, of: Model, *, trunk: str | None = None, strict: bool = True) -> int:
    """Read a file and copy its tensors into the model, see `assign`; how many fitted.

    Args:
        model: whose variables.
        path: safetensors in either layout, or a state dict of `torch.save`.
        of: which model it is.
        trunk: what the names of the trunk begin with, to fill it alone; None for the whole model.
        strict: refuse names that are missing or left over, not only shapes that differ.

    Raises:
        ValueError: the file cannot be read, or its tensors do not fit.
    """
    try:
        tensors = load_for(path, layout="tf", model=of, part="model" if trunk is None else "trunk")
        return assign(model, tensors, prefix=trunk or "", strict=strict)
    except (WeightsError, ValueError) as error:
        message = str(error)
        raise ValueError(message if str(path) in message else f"{path}: {message}") from error


def save(model: tf.Module, path: Path, of: Model) -> None:
    """Write every variable, as safetensors in TensorFlow's layout; `harness weights convert` makes PyTorch's of it.

    Raises:
        WeightsError: the file cannot be written.
    """
    tensors = {name: variable.numpy() for name, variable in named_variables(model).items()}
    write_tensors(path, tensors, {"layout": "tf", "model": of})
